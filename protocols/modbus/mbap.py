"""Modbus TCP framing: a stream of bytes to ADUs, however TCP cut it. Sans I/O.

MBAP header (MODBUS Messaging on TCP/IP Implementation Guide V1.0b, clause 3.1.3):
transaction identifier u16, protocol identifier u16 (0), length u16 (unit and PDU:
2..254), unit u8; then the PDU.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

import msgspec

from protocols.errors import WireError

HEADER: Final = Struct(">HHHB")
HEADER_BYTES: Final = 7
LENGTH_MIN: Final = 2
LENGTH_MAX: Final = 254
ADU_BYTES_MAX: Final = 6 + LENGTH_MAX
_pack, _unpack = HEADER.pack, HEADER.unpack_from


class Adu(msgspec.Struct, frozen=True, gc=False):
    """One ADU. ``problems``: bits of ``exchanges.Problem``; 0 from this framer."""

    tid: int
    unit: int
    pdu: bytes
    problems: int = 0


class MbapFramer:
    """One direction of one connection. Holds less than one ADU between two calls."""

    def __init__(self) -> None:
        """Begin at the first byte of a connection."""
        self.rest = b""  # of an ADU that is not whole yet

    def forget(self) -> None:
        """Begin anew, with a new connection."""
        self.rest = b""

    @property
    def pending(self) -> int:
        """Return the bytes of an ADU that is not whole yet."""
        return len(self.rest)

    def feed(self, data: bytes) -> list[Adu]:
        """Return the ADUs that ``data`` completes, in order.

        WireError where no ADU can begin: nothing behind that place can be trusted, and
        the connection is to be closed. The ADUs before it are lost with it.
        """
        if not self.rest and (adu := single(data)) is not None:
            return [adu]
        found, rest, lost = split(self.rest + data)
        if lost:
            self.rest = b""
            raise WireError("MBAP header", lost)
        self.rest = rest
        return found


def single(data: bytes) -> Adu | None:
    """Return the ADU where ``data`` is exactly one, as it mostly is; else None."""
    size = len(data)
    if HEADER_BYTES < size <= ADU_BYTES_MAX:
        tid, protocol, length, unit = _unpack(data)
        if length == size - 6 and not protocol:
            return Adu(tid, unit, data[HEADER_BYTES:])
    return None


def split(data: bytes) -> tuple[list[Adu], bytes, str]:
    """Return the whole ADUs, what is left behind them, and why framing is lost.

    "" where it is not. A header is judged as soon as its six bytes are there, so that a
    length that lies is not waited for.
    """
    found: list[Adu] = []
    end = len(data)
    at = 0
    while end - at >= HEADER_BYTES - 1:
        protocol = data[at + 2] << 8 | data[at + 3]
        length = data[at + 4] << 8 | data[at + 5]
        if protocol:
            return found, data[at:], "the protocol identifier is not 0"
        if not LENGTH_MIN <= length <= LENGTH_MAX:
            return found, data[at:], "the length is not in 2..254"
        behind = at + 6 + length
        if behind > end:
            break
        tid = data[at] << 8 | data[at + 1]
        found.append(Adu(tid, data[at + 6], data[at + 7 : behind]))
        at = behind
    return found, data[at:], ""


def build_adu(tid: int, unit: int, pdu: bytes) -> bytes:
    """Return a PDU with its MBAP header; ValueError where its length is no PDU's."""
    length = len(pdu) + 1
    if not LENGTH_MIN <= length <= LENGTH_MAX:
        raise ValueError("a PDU has 1 to 253 bytes")
    return _pack(tid, 0, length, unit) + pdu
