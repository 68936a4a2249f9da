"""ADUs towards masters and devices, built anew from their parts: none leaves half."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, Protocol

from protocols.errors import WireError
from protocols.modbus.mbap import split

if TYPE_CHECKING:
    from agent.adapters.modbus.link import LinkConfig
    from protocols.modbus.mbap import Adu
    from protocols.modbus.pdu import Request

HEADER: Final = Struct(">HHHB")  # V1.0b, 3.1.3: identifier, protocol 0, length, unit
EXCEPTION: Final = Struct(">HHHBBB")
_header, _exception = HEADER.pack, EXCEPTION.pack


def reply_adu(tid: int, unit: int, pdu: bytes) -> bytes:
    """Return a PDU with its MBAP header."""
    return _header(tid, 0, len(pdu) + 1, unit) + pdu


def exception_adu(tid: int, unit: int, function: int, code: int) -> bytes:
    """Return an exception reply (V1.1b3, clause 7)."""
    return _exception(tid, 0, 3, unit, function | 0x80, code)


class DeviceWire(Protocol):
    """How the device is spoken to."""

    has_tid: bool
    is_serial: bool  # unit 0 is a broadcast: nobody answers
    resets: bool  # after a timeout, only a new connection is sure of what comes
    silence_ns: int  # between a reply and the next request

    def request(self, tid: int, unit: int, pdu: bytes, request: Request) -> bytes:
        """Return the ADU to send."""

    def feed(self, data: bytes) -> list[Adu]:
        """Return the ADUs that are whole now; WireError where framing is lost."""

    def forget(self) -> None:
        """Begin anew, with a new connection."""

    def forget_half(self) -> None:
        """Let go of half a reply: its time is over."""


class TcpWire:
    """Modbus TCP, with TLS or without."""

    has_tid = True
    is_serial = False
    resets = False
    silence_ns = 0

    def __init__(self) -> None:
        """Begin with a new connection."""
        self._rest = b""

    def feed(self, data: bytes) -> list[Adu]:
        """Return the ADUs that are whole now; WireError where framing is lost."""
        adus, self._rest, lost = split(self._rest + data if self._rest else data)
        if lost:
            raise WireError("MBAP header", lost)
        return adus

    def request(self, tid: int, unit: int, pdu: bytes, request: Request) -> bytes:
        """Return the ADU to send."""
        del request
        return _header(tid, 0, len(pdu) + 1, unit) + pdu

    def forget(self) -> None:
        """Begin anew, with a new connection."""
        self._rest = b""

    def forget_half(self) -> None:
        """Keep it: on a stream the other half must come."""


def wire_of(device: LinkConfig) -> DeviceWire:
    """Return the wire of a link's kind."""
    if device.kind == "tcp":
        return TcpWire()
    raise NotImplementedError
