"""How a device is spoken to: ADUs built anew from their parts, so none leaves half."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from protocols.modbus.mbap import MbapFramer, build_adu
from protocols.modbus.rtu import RtuFramer, build_rtu

if TYPE_CHECKING:
    from agent.adapters.modbus.link import LinkConfig
    from protocols.modbus.mbap import Adu

SILENCE_BITS: Final = 3.5 * 11  # V1.02, 2.5.1.1: 3.5 characters of 11 bits
SILENCE_NS_MIN: Final = 1_750_000  # ... above 19,200 baud always so


class DeviceWire(Protocol):
    """How the device is spoken to."""

    has_tid: bool
    is_serial: bool  # unit 0 is a broadcast: nobody answers
    resets: bool  # after a timeout, only a new connection is sure of what comes
    silence_ns: int  # between a reply and the next request
    skipped: int  # bytes that began no frame

    def request(self, tid: int, unit: int, pdu: bytes) -> bytes:
        """Return the ADU to send."""

    def feed(self, data: bytes) -> list[Adu]:
        """Return the ADUs that are whole now; WireError where framing is lost."""

    def forget(self) -> None:
        """Begin anew: a new connection, or (RTU) a request whose time is over."""


class TcpWire:
    """Modbus TCP, with TLS or without."""

    has_tid = True
    is_serial = False
    resets = False
    silence_ns = 0
    skipped = 0

    request = staticmethod(build_adu)

    def __init__(self) -> None:
        """Begin with a new connection."""
        self.framer = framer = MbapFramer()
        self.feed, self.forget = framer.feed, framer.forget


class RtuWire:
    """RTU: on a serial line, or over TCP. One request at a time; no identifiers."""

    has_tid = False
    is_serial = True

    def __init__(self, device: LinkConfig) -> None:
        """Begin with a new connection."""
        self.skipped = 0
        # On a line, a late reply ends before the next request begins. Over TCP it may
        # lie in some gateway's buffer: only a new connection cannot deliver it.
        self.resets = device.kind == "rtu-tcp"
        line_ns = int(SILENCE_BITS * 1e9 / device.baudrate)
        self.silence_ns = 0 if self.resets else max(SILENCE_NS_MIN, line_ns)
        self._framer = RtuFramer(replies=True)

    def request(self, tid: int, unit: int, pdu: bytes) -> bytes:
        """Return the frame to send."""
        del tid
        return build_rtu(unit, pdu)

    def feed(self, data: bytes) -> list[Adu]:
        """Return the replies that are whole now; what is none is skipped."""
        before = self._framer.skipped
        adus = self._framer.feed(data)
        self.skipped += self._framer.skipped - before
        return adus

    def forget(self) -> None:
        """Begin anew."""
        self.skipped += self._framer.pending
        self._framer = RtuFramer(replies=True)


def wire_of(device: LinkConfig) -> DeviceWire:
    """Return the wire of a link's kind."""
    return TcpWire() if device.kind == "tcp" else RtuWire(device)
