"""Modbus RTU frames: the CRC, one frame between two silences, and RTU over TCP.

Source: MODBUS over Serial Line V1.02, clauses 2.5.1.1 (at most 256 bytes) and 2.5.1.2
(CRC, low byte first). RTU over TCP has neither silence nor length: what a frame's
length must be follows from its function and byte count, and its CRC confirms it.
"""

from __future__ import annotations

from typing import Final

from protocols.modbus.exchanges import Problem
from protocols.modbus.functions import (
    DIAGNOSTICS,
    ENCAPSULATED,
    EXCEPTION_BIT,
    MEI_IDENTIFICATION,
    READ_FIFO,
)
from protocols.modbus.mbap import Adu

ADU_BYTES_MIN: Final = 4  # unit, function, CRC
RTU_BYTES_MAX: Final = 256

# Bytes of the whole frame, or where its byte count lies and what comes to it.
_REQUEST_FIXED: Final = {
    **dict.fromkeys((1, 2, 3, 4, 5, 6, DIAGNOSTICS), 8),
    **dict.fromkeys((7, 11, 12, 17), 4), 22: 10, READ_FIFO: 6,
}  # fmt: skip
_REQUEST_COUNTED: Final = {15: (6, 9), 16: (6, 9), 20: (2, 5), 21: (2, 5), 23: (10, 13)}
_REPLY_FIXED: Final = {
    **dict.fromkeys((5, 6, DIAGNOSTICS, 11, 15, 16), 8), 7: 5, 22: 10,
}  # fmt: skip
_REPLY_COUNTED: Final = dict.fromkeys((1, 2, 3, 4, 12, 17, 20, 21, 23), (2, 5))


def _table() -> tuple[int, ...]:
    made = []
    for value in range(256):
        crc = value
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
        made.append(crc)
    return tuple(made)


_TABLE: Final = _table()


def crc16(data: bytes) -> int:
    """Return CRC-16/MODBUS (reflected 8005, from FFFF); 0 over a frame with its CRC."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc


def build_rtu(unit: int, pdu: bytes) -> bytes:
    """Return the frame of a PDU; ValueError where its length is no PDU's."""
    if not 1 <= len(pdu) <= RTU_BYTES_MAX - 3:
        raise ValueError("a PDU has 1 to 253 bytes")
    body = bytes((unit,)) + pdu
    return body + crc16(body).to_bytes(2, "little")


def parse_rtu(frame: bytes) -> Adu:
    """Return what lay between two silences; LENGTH or CHECKSUM where it is no frame."""
    unit = frame[0] if frame else 0
    if not ADU_BYTES_MIN <= len(frame) <= RTU_BYTES_MAX:
        return Adu(0, unit, b"", int(Problem.LENGTH))
    problems = int(Problem.CHECKSUM) if crc16(frame) else 0
    return Adu(0, unit, frame[1:-2], problems)


class RtuFramer:
    """One direction of RTU over TCP. Holds less than 256 bytes between two calls.

    Where no frame begins it goes on by one byte, and counts it in ``skipped``; until
    it has found one again it believes no length, and takes the first whole frame. A
    function whose length nobody knows (vendors' codes, 43/13, 8/0 with more than two
    bytes) cannot be framed without silence: its bytes are skipped.
    """

    def __init__(self, *, replies: bool, synced: bool = True) -> None:
        """Begin; ``replies``: they come from the device; ``synced``: at a frame."""
        self._synced = synced
        self._size = reply_size if replies else request_size
        self._rest = b""
        self._before = 0  # bytes of the stream before ``_rest``
        self._none: set[int] = set()  # places in the stream where no frame begins
        self.skipped = 0

    @property
    def pending(self) -> int:
        """Return the bytes of a frame that is not whole yet."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[Adu]:
        """Return the frames that ``data`` completes, in order; any bytes will do."""
        held = self._rest + data
        found: list[Adu] = []
        at = 0
        while len(held) - at >= 2:
            size = self._size(held, at)
            if at + size > len(held):
                ahead = 0 if self._synced else self._ahead(held, at + 1)
                if not ahead:
                    break
                self.skipped += ahead - at
                at = ahead
            elif self._is_frame(held, at, size):
                found.append(Adu(0, held[at], held[at + 1 : at + size - 2]))
                at += size
                self._synced = True
                self._none.clear()
            else:
                self.skipped += 1
                at += 1
                self._synced = False
        self._rest = held[at:]
        self._before += at
        return found

    def _ahead(self, held: bytes, begin: int) -> int:
        """Return where the next whole frame lies, 0 where none does."""
        for at in range(begin, len(held) - ADU_BYTES_MIN + 1):
            size = self._size(held, at)
            if at + size <= len(held) and self._is_frame(held, at, size):
                return at
        return 0

    def _is_frame(self, held: bytes, at: int, size: int) -> bool:
        """Check the CRC, once per place: bytes that come one by one are no burden."""
        place = self._before + at
        if not size or place in self._none:
            return False
        if not crc16(held[at : at + size]):
            return True
        if not self._synced:
            self._none.add(place)
        if len(self._none) > 2 * RTU_BYTES_MAX:
            self._none = {one for one in self._none if one >= place}
        return False


def is_reply_sized(pdu: bytes) -> bool:
    """Tell whether a PDU has the length that a reply of its function has."""
    return reply_size(b"\0" + pdu + b"\0\0", 0) == len(pdu) + 3


def _counted(held: bytes, at: int, place: int, more: int) -> int:
    """Return the size by the byte count at ``place``; what reaches it, if not there."""
    if at + place >= len(held):
        return place + 1
    size = held[at + place] + more
    return size if size <= RTU_BYTES_MAX else 0


def request_size(held: bytes, at: int) -> int:
    """Return a request's size, more than there is where it is open, 0 where unknown."""
    function = held[at + 1]
    fixed = _REQUEST_FIXED.get(function)
    if fixed is not None:
        return fixed
    if function in _REQUEST_COUNTED:
        return _counted(held, at, *_REQUEST_COUNTED[function])
    if function == ENCAPSULATED:
        if len(held) - at < 3:
            return 3
        return 7 if held[at + 2] == MEI_IDENTIFICATION else 0
    return 0


def reply_size(held: bytes, at: int) -> int:
    """Return a reply's size, more than there is where it is open, 0 where unknown."""
    function = held[at + 1]
    if function & EXCEPTION_BIT:
        return 5
    fixed = _REPLY_FIXED.get(function)
    if fixed is not None:
        return fixed
    if function in _REPLY_COUNTED:
        return _counted(held, at, *_REPLY_COUNTED[function])
    if function == READ_FIFO:  # clause 6.18: a byte count of two bytes
        if len(held) - at < 4:
            return 4
        size = (held[at + 2] << 8 | held[at + 3]) + 6
        return size if size <= RTU_BYTES_MAX else 0
    if function == ENCAPSULATED:
        return _identification_size(held, at)
    return 0


def _identification_size(held: bytes, at: int) -> int:
    """Return the size of a 43/14 reply: its objects are a linked list (clause 6.21)."""
    there = len(held) - at
    if there >= 3 and held[at + 2] != MEI_IDENTIFICATION:
        return 0
    if there < 8:
        return 8
    size = 8
    for _ in range(held[at + 7]):
        if size + 2 > RTU_BYTES_MAX - 2:
            return 0
        if there < size + 2:
            return size + 2
        size += 2 + held[at + size + 1]
    return size + 2 if size + 2 <= RTU_BYTES_MAX else 0
