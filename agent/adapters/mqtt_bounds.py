"""Ends a connection whose broker begins a packet that our memory would not bear.

Maximum Packet Size (MQTT 5.0, 3.1.2.11.4) binds the broker; paho collects up to 256 MiB
for one that does not care, which is more than the whole daemon may have. What is larger
than we said and still bearable is collected and dropped (``MqttLink.messages``): ended
for that, the connection would be sent the same again, for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import paho.mqtt.client as paho
    from paho.mqtt.enums import MQTTErrorCode


COLLECTED_BYTES_MAX: Final = 16 * 1024 * 1024


class PacketTooLargeError(Exception):
    """What aiomqtt then says the connection was lost for."""


def bound(client: paho.Client) -> None:
    """Let ``client`` collect no packet of more than COLLECTED_BYTES_MAX."""
    read = client.loop_read

    def bounded(max_packets: int = 1) -> MQTTErrorCode:
        _check(client)
        code = read(max_packets)
        _check(client)
        return code

    client.loop_read = bounded  # type: ignore[method-assign]  # aiomqtt calls it by name


def _check(client: paho.Client) -> None:
    told = client._in_packet["remaining_length"]  # noqa: SLF001  # paho tells it nowhere else before it has all of it
    if told > COLLECTED_BYTES_MAX:
        raise PacketTooLargeError(f"the broker began a packet of {told} bytes")
