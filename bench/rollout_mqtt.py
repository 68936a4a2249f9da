"""A lean MQTT 5 client for thousands of connections in one process. For benches only.

One asyncio protocol a connection: CONNECT, SUBSCRIBE, PUBLISH at QoS 1, PUBACK, PINGREQ
(OASIS MQTT 5.0, sections 3.1 to 3.12). Properties are skipped, sessions are clean.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONNECT, CONNACK, PUBLISH, PUBACK = 0x10, 0x20, 0x30, 0x40
SUBSCRIBE, SUBACK, PINGREQ = 0x82, 0x90, 0xC0
RETAIN: Final = 0x01
QOS1: Final = 0x02
CLEAN_START: Final = 0x02
RECEIVE_MAXIMUM: Final = 0x21
KEEPALIVE_S: Final = 1200
PACKET_BYTES_MAX: Final = 4 * 1024 * 1024


def varint(number: int) -> bytes:
    """Return a variable byte integer (1.5.5)."""
    out = bytearray()
    while True:
        number, digit = divmod(number, 128)
        out.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(out)


def text(value: str) -> bytes:
    """Return a UTF-8 string with its length (1.5.4)."""
    body = value.encode()
    return struct.pack(">H", len(body)) + body


def packet(kind: int, *parts: bytes) -> bytes:
    """Return a control packet: fixed header and body (2.1)."""
    body = b"".join(parts)
    return bytes((kind,)) + varint(len(body)) + body


def read_varint(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """Return (number, place behind it), None where it is not whole yet."""
    number = 0
    for shift in range(4):
        if at + shift >= len(data):
            return None
        digit = data[at + shift]
        number |= (digit & 0x7F) << 7 * shift
        if not digit & 0x80:
            return number, at + shift + 1
    raise ValueError("a length of more than 4 bytes")


class Client(asyncio.Protocol):
    """One connection. ``message`` is called for each PUBLISH, before its PUBACK."""

    def __init__(
        self,
        name: str,
        topics: Sequence[str],
        message: Callable[[str, bytes], None],
        acknowledged: Callable[[], None],
    ) -> None:
        """Connect as ``name``, subscribe at QoS 1; ``ready`` is done after SUBACK."""
        self._name = name
        self._topics = topics
        self._message = message
        self._acknowledged = acknowledged
        self._data = bytearray()
        self._next = 0
        self._transport: asyncio.Transport | None = None
        self.unacknowledged = 0
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send CONNECT (3.1)."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        properties = struct.pack(">BH", RECEIVE_MAXIMUM, 20)
        self._send(
            packet(
                CONNECT, text("MQTT"), bytes((5, CLEAN_START)),
                struct.pack(">H", KEEPALIVE_S), varint(len(properties)), properties,
                text(self._name),
            )
        )  # fmt: skip

    def connection_lost(self, error: Exception | None) -> None:
        """Tell who waits."""
        self._transport = None
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(str(error or "closed")))

    def data_received(self, data: bytes) -> None:
        """Take whole packets out of what came."""
        self._data += data
        while True:
            size = read_varint(self._data, 1) if len(self._data) > 1 else None
            if size is None:
                return
            length, start = size
            if length > PACKET_BYTES_MAX:
                raise ValueError("a packet larger than we take")
            if len(self._data) < start + length:
                return
            kind, body = self._data[0], bytes(self._data[start : start + length])
            del self._data[: start + length]
            self._take(kind, body)

    def _take(self, kind: int, body: bytes) -> None:
        match kind & 0xF0:
            case 0x20:
                self._connected(body)
            case 0x90:
                if not self.ready.done():
                    self.ready.set_result(None)
            case 0x30:
                self._published(kind, body)
            case 0x40:
                self.unacknowledged -= 1
                self._acknowledged()

    def _connected(self, body: bytes) -> None:
        if body[1]:
            self.ready.set_exception(ConnectionError(f"CONNACK {body[1]:#x}"))
            return
        subscriptions = b"".join(text(topic) + b"\x01" for topic in self._topics)
        self._send(packet(SUBSCRIBE, self._number(), b"\0", subscriptions))

    def _published(self, kind: int, body: bytes) -> None:
        size = int.from_bytes(body[:2], "big")
        topic, at = body[2 : 2 + size].decode(), 2 + size
        number = b""
        if kind >> 1 & 3:
            number, at = body[at : at + 2], at + 2
        properties = read_varint(body, at)
        if properties is None:
            raise ValueError("a PUBLISH that is cut off")
        self._message(topic, body[properties[1] + properties[0] :])
        if number:
            self._send(packet(PUBACK, number))

    def publish(self, topic: str, body: bytes) -> None:
        """Send a retained message at QoS 1 (3.3)."""
        self.unacknowledged += 1
        kind = PUBLISH | QOS1 | RETAIN
        self._send(packet(kind, text(topic), self._number(), b"\0", body))

    def ping(self) -> None:
        """Send PINGREQ (3.12)."""
        self._send(packet(PINGREQ))

    @property
    def is_lost(self) -> bool:
        """Tell whether there is no connection."""
        return self._transport is None

    def close(self) -> None:
        """Close without a word."""
        if self._transport is not None:
            self._transport.close()

    def _number(self) -> bytes:
        self._next = self._next % 0xFFFF + 1
        return struct.pack(">H", self._next)

    def _send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
