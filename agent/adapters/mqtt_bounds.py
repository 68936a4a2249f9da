"""Ends a connection whose broker begins a packet that is larger than we said we take.

Maximum Packet Size (MQTT 5.0, 3.1.2.11.4) binds the broker; paho collects up to 256 MiB
for one that does not care, which is more than the whole daemon may have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import paho.mqtt.client as paho
    from paho.mqtt.enums import MQTTErrorCode


class PacketTooLargeError(Exception):
    """What aiomqtt then says the connection was lost for."""


def bound(client: paho.Client, bytes_max: int) -> None:
    """Let ``client`` read no packet of more than ``bytes_max`` bytes."""
    read = client.loop_read

    def bounded(max_packets: int = 1) -> MQTTErrorCode:
        _check(client, bytes_max)
        code = read(max_packets)
        _check(client, bytes_max)
        return code

    client.loop_read = bounded  # type: ignore[method-assign]  # aiomqtt calls it by name


def _check(client: paho.Client, bytes_max: int) -> None:
    told = client._in_packet["remaining_length"]  # noqa: SLF001  # paho tells it nowhere else before it has all of it
    if told > bytes_max:
        raise PacketTooLargeError(f"the broker began a packet of {told} bytes")
