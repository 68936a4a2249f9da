"""Bounds on a broker that keeps no rule: what is collected of it, how it is left.

Maximum Packet Size (MQTT 5.0, 3.1.2.11.4) binds the broker; paho collects up to 256 MiB
for one that does not care. What is larger than we said and still bearable is refused
by who reads it: ended for that, the connection would be sent the same again, for ever.

agent/adapters/mqtt_bounds.py does the same: agent and fleet share no code, and
`protocols` opens nothing. tests/test_bounds_agree.py holds them to each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Final

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

if TYPE_CHECKING:
    import paho.mqtt.client as paho


COLLECTED_BYTES_MAX: Final = 16 * 1024 * 1024
# Who is left so did not say goodbye: a will of ours, where there is one, is told.
WITH_WILL: Final = "Disconnect with will message"


class PacketTooLargeError(Exception):
    """What aiomqtt then says the connection was lost for."""


def bound(client: paho.Client) -> None:
    """Let ``client`` collect nothing of a packet of more than COLLECTED_BYTES_MAX."""
    receive = client._sock_recv  # noqa: SLF001  # paho has no other place between a packet's length and its bytes

    def bounded(size: int) -> bytes:
        if size > COLLECTED_BYTES_MAX:  # it asks for all that a packet still lacks
            raise PacketTooLargeError(f"the broker began a packet of {size} bytes")
        return receive(size)

    client._sock_recv = bounded  # type: ignore[assignment, method-assign]  # noqa: SLF001  # as above


async def enter(client: aiomqtt.Client) -> None:
    """Connect; MqttError says why not.

    Also where the connection ended right behind its CONNACK, before aiomqtt looked:
    that it forgets, and takes for connected what is not.
    """
    lost = client._disconnected  # noqa: SLF001  # it is another one afterwards
    await client.__aenter__()
    if lost.done():
        raise aiomqtt.MqttError(str(lost.exception() or "the broker hung up"))


async def hang_up(client: paho.Client) -> None:
    """Close what aiomqtt leaves open: it would be read on, at every turn of the loop.

    What the broker does not take at once is not waited for: it may never read again.
    """
    if client.socket() is None:
        return
    # What it reads from now on nobody would hear of.
    asyncio.get_running_loop().remove_reader(client.socket())  # type: ignore[arg-type]  # a socket, or paho's wrapper of one
    client.disconnect(ReasonCode(PacketTypes.DISCONNECT, WITH_WILL))
    await asyncio.sleep(0)  # aiomqtt waits until it can be written only from then on
    client.loop_write()  # closes behind it
    if isinstance(left := client.socket(), socket.socket):
        with contextlib.suppress(OSError):  # it is gone already
            left.shutdown(socket.SHUT_RDWR)
        client.loop_write()
