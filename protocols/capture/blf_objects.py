"""Objects of a Vector BLF stream (inflated): where they are, and what CAN ones hold.

Vector publishes no specification; the layouts are those of Toby Lorenz' Vector_BLF and
of python-can's reader. Every object begins with a base header::

    "LOBJ"  header size u16  header version u16  object size u32  type u32
    flags u32 (1: time in 10 us, 2: in ns)  ...  time u64 at byte 24 (versions 1 and 2)

and is followed by ``size % 4`` bytes of padding.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.capture.columns import (
    DLC_BYTES,
    BusTable,
    join_by_order,
    masked_payload,
    windows,
)
from protocols.errors import WireError
from protocols.frames import (
    CAN_EFF_FLAG,
    CAN_EFF_MASK,
    CAN_ERR_FLAG,
    CAN_RTR_FLAG,
    CANFD_BRS,
    CANFD_ESI,
    CANFD_FDF,
    CLASSIC_BYTES_MAX,
    FD_BYTES_MAX,
    FrameBatch,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from protocols.frames import I64, U8, U32, Bool, Index

OBJECT_BYTES_MAX: Final = 16 * 1024 * 1024  # CAN objects have at most some 200 bytes
BASE_BYTES: Final = 16
HEADER_BYTES: Final = 32  # the shortest header with a time
PADDING_MAX: Final = 4
TAIL: Final = 128  # fixed windows at the last object may end behind it

CAN_MESSAGE: Final = 1
CAN_ERROR: Final = 2
CAN_ERROR_EXT: Final = 73
CAN_MESSAGE2: Final = 86
CAN_FD_MESSAGE: Final = 100
CAN_FD_MESSAGE_64: Final = 101
CAN_ERR_BUSERROR: Final = 0x80  # linux/can/error.h; the class candump would show

_TIME_TEN_US: Final = 1
_TIME_MAX: Final = 2**62  # ns; 146 years

_BASE = np.dtype(
    [
        ("signature", "S4"), ("header", "<u2"), ("version", "<u2"), ("size", "<u4"),
        ("type", "<u4"), ("flags", "<u4"), ("rest", "<u4"), ("time", "<u8"),
    ]
)  # fmt: skip
_CLASSIC = np.dtype(
    [
        ("channel", "<u2"), ("flags", "u1"), ("dlc", "u1"), ("ident", "<u4"),
        ("data", "u1", (8,)),
    ]
)  # fmt: skip
_FD = np.dtype(
    [
        ("channel", "<u2"), ("flags", "u1"), ("dlc", "u1"), ("ident", "<u4"),
        ("length", "<u4"), ("bits", "u1"), ("fd", "u1"), ("valid", "u1"),
        ("reserved", "u1", (5,)), ("data", "u1", (64,)),
    ]
)  # fmt: skip
_FD_64 = np.dtype(
    [
        ("channel", "u1"), ("dlc", "u1"), ("valid", "u1"), ("sent", "u1"),
        ("ident", "<u4"), ("length", "<u4"), ("flags", "<u4"), ("rates", "<u4", (2,)),
        ("offsets", "<u4", (2,)), ("bits", "<u2"), ("direction", "u1"),
        ("extension", "u1"), ("crc", "<u4"), ("data", "u1", (64,)),
    ]
)  # fmt: skip
_FIXED: Final = {
    CAN_MESSAGE: 16,
    CAN_MESSAGE2: 16,
    CAN_FD_MESSAGE: 20,
    CAN_FD_MESSAGE_64: 40,
    CAN_ERROR: 2,
    CAN_ERROR_EXT: 2,
}


@dataclass(frozen=True, slots=True)
class Objects:
    """N whole objects: places and base headers."""

    chars: U8  # the bytes, with TAIL zeros behind
    at: Index  # [N] place of each object
    base: NDArray[np.void]  # [N] of _BASE
    consumed: int  # bytes that need not be seen again
    needed: int  # bytes of data with which a torn last object would be whole
    broken: tuple[int, str] | None  # place and reason where the chain of objects ends


def find_objects(data: bytes) -> Objects:
    """Find the objects of ``data``, which begins with an object or its padding.

    All signatures are found at once. In a sound stream each one stands where the object
    before it ends, which is checked for all at once; only where that fails (a payload
    that contains the signature) the chain is followed step by step.
    """
    chars = np.frombuffer(data + bytes(TAIL), np.uint8)
    at = np.flatnonzero(chars == ord("L"))
    for offset, byte in enumerate(b"OBJ", 1):
        at = at[chars[at + offset] == byte]
    base = windows(chars, at, _BASE.itemsize).view(_BASE)[:, 0]
    # A header that is itself cut off says nothing yet but where it would end.
    size = np.where(at + BASE_BYTES > len(data), BASE_BYTES, base["size"])
    end = at + size
    gap = at[1:] - end[:-1]
    sound = len(at) > 0 and bool(at[0] <= PADDING_MAX and size.min() >= BASE_BYTES)
    sound = sound and bool(((gap >= 0) & (gap <= PADDING_MAX)).all())
    broken: tuple[int, str] | None = None
    if not sound:
        kept, broken = _follow(at.tolist(), end.tolist())
        at, base, end = at[kept], base[kept], end[kept]
    if len(at) and end[-1] > len(data):  # goes on in the next container
        if end[-1] - at[-1] > OBJECT_BYTES_MAX:
            broken = int(at[-1]), f"object is larger than {OBJECT_BYTES_MAX} bytes"
        return Objects(chars, at[:-1], base[:-1], int(at[-1]), int(end[-1]), broken)
    consumed = int(end[-1]) if len(at) else 0
    if broken is None and len(data) - consumed >= 2 * PADDING_MAX:
        broken = consumed, "no object where one must begin"
    return Objects(chars, at, base, consumed, consumed, broken)


def _follow(at: list[int], end: list[int]) -> tuple[list[int], tuple[int, str] | None]:
    """Follow the chain from the first object; return the true ones, and a break."""
    kept: list[int] = []
    place = row = 0
    while row < len(at):
        if at[row] - place > PADDING_MAX:
            return kept, (place, "no object where one must begin")
        if end[row] - at[row] < BASE_BYTES:
            return kept, (at[row], "object is shorter than its header")
        kept.append(row)
        place = end[row]
        row = bisect_left(at, place)
    return kept, None


class ObjectReader:
    """Turns found objects into frames; knows the start time and the buses."""

    def __init__(self, start_ns: int, buses: BusTable, skipped: dict[str, int]) -> None:
        """Share the bus table and the tally of skipped objects with the parser."""
        self._start_ns = start_ns
        self._buses = buses
        self._skipped = skipped

    def read(self, found: Objects) -> tuple[FrameBatch, WireError | None]:
        """Return the frames of ``found`` in order, up to a malformed object."""
        kinds, counts = np.unique(found.base["type"], return_counts=True)
        error: WireError | None = None
        fault = self._faults(found)
        stop = len(found.at)
        if len(fault):
            stop = int(fault[0])
            error = WireError(
                "BLF object", "too short for its type, or its time is out of range",
                int(found.at[stop]),
            )  # fmt: skip
        parts: list[tuple[Index, FrameBatch]] = []
        for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
            if kind not in _FIXED:
                cause = f"object type {kind}"
                self._skipped[cause] = self._skipped.get(cause, 0) + count
                continue
            rows = np.flatnonzero(found.base["type"][:stop] == kind)
            if len(rows):
                parts.append((rows, self._frames(kind, found, rows)))
        return join_by_order(parts), error

    def _faults(self, found: Objects) -> Index:
        """Return the rows of CAN objects that cannot be what they claim."""
        base = found.base
        need = np.zeros(len(base), np.int64)
        for kind, fixed in _FIXED.items():
            need[base["type"] == kind] = fixed + HEADER_BYTES
        header = base["header"].astype(np.int64)
        short = base["size"] < need - HEADER_BYTES + np.maximum(header, HEADER_BYTES)
        short |= header < HEADER_BYTES
        scale = np.where(base["flags"] == _TIME_TEN_US, 10_000, 1)
        late = base["time"] > (_TIME_MAX // scale).astype(np.uint64)
        return np.flatnonzero((need > 0) & (short | late))

    def _frames(self, kind: int, found: Objects, rows: Index) -> FrameBatch:
        base = found.base[rows]
        scale = np.where(base["flags"] == _TIME_TEN_US, 10_000, 1)
        time_ns: I64 = base["time"].astype(np.int64) * scale + self._start_ns
        body = found.at[rows] + base["header"]
        room = base["size"].astype(np.int64) - base["header"]
        if kind in (CAN_MESSAGE, CAN_MESSAGE2):
            return self._classic(time_ns, _gather(found.chars, body, _CLASSIC))
        if kind == CAN_FD_MESSAGE:
            return self._fd(time_ns, _gather(found.chars, body, _FD), room - 20)
        if kind == CAN_FD_MESSAGE_64:
            record = _gather(found.chars, body, _FD_64)
            extension = record["extension"].astype(np.int64)
            room = np.where(extension, extension - base["header"], room)
            return self._fd_64(time_ns, record, np.maximum(room - 40, 0))
        channel = windows(found.chars, body, 2).view("<u2")[:, 0]
        none = np.zeros(len(rows), np.uint8)
        ident = np.full(len(rows), CAN_ERR_FLAG | CAN_ERR_BUSERROR, np.uint32)
        payload = np.zeros((len(rows), CLASSIC_BYTES_MAX), np.uint8)
        return FrameBatch(time_ns, self._bus(channel), ident, none, none, payload)

    def _bus(self, channel: NDArray[np.unsignedinteger]) -> U8:
        return self._buses.of_channels(channel.astype(np.int64), first=1)

    def _classic(self, time_ns: I64, record: NDArray[np.void]) -> FrameBatch:
        remote = (record["flags"] & 0x80) != 0
        size = np.minimum(record["dlc"], CLASSIC_BYTES_MAX)
        return FrameBatch(
            time_ns,
            self._bus(record["channel"]),
            _ident(record["ident"], remote),
            size,
            np.zeros(len(record), np.uint8),
            masked_payload(
                record["data"].copy(), np.where(remote, 0, size).astype("u1")
            ),
        )

    def _fd(self, time_ns: I64, record: NDArray[np.void], room: I64) -> FrameBatch:
        fd = (record["fd"] & 0x1) != 0
        return self._wide(
            time_ns, record, room, fd, (record["flags"] & 0x80) != 0,
            (record["fd"] & 0x2) != 0, (record["fd"] & 0x4) != 0,
        )  # fmt: skip

    def _fd_64(self, time_ns: I64, record: NDArray[np.void], room: I64) -> FrameBatch:
        flags = record["flags"]
        return self._wide(
            time_ns, record, room, (flags & 0x1000) != 0, (flags & 0x10) != 0,
            (flags & 0x2000) != 0, (flags & 0x4000) != 0,
        )  # fmt: skip

    def _wide(
        self, time_ns: I64, record: NDArray[np.void], room: I64, fd: Bool, remote: Bool,
        brs: Bool, esi: Bool,
    ) -> FrameBatch:  # fmt: skip
        limit = np.where(fd, FD_BYTES_MAX, CLASSIC_BYTES_MAX)
        asked = np.minimum(DLC_BYTES[record["dlc"] & 0xF], CLASSIC_BYTES_MAX)
        size = np.where(remote, asked, np.minimum(record["valid"], limit)).astype("u1")
        # Writers may claim more valid bytes than the object holds; the rest is zero.
        held = np.where(remote, 0, np.minimum(size, room)).astype("u1")
        flags = np.where(fd, CANFD_FDF | brs * CANFD_BRS | esi * CANFD_ESI, 0)
        wide = bool((size > CLASSIC_BYTES_MAX).any())
        width = FD_BYTES_MAX if wide else CLASSIC_BYTES_MAX
        return FrameBatch(
            time_ns,
            self._bus(record["channel"]),
            _ident(record["ident"], remote),
            size,
            flags.astype(np.uint8),
            masked_payload(record["data"][:, :width].copy(), held),
        )


def _gather(chars: U8, at: Index, layout: np.dtype[np.void]) -> NDArray[np.void]:
    """Return records [N] of ``layout`` from each place of ``at``."""
    return windows(chars, at, layout.itemsize).view(layout)[:, 0]


def _ident(raw: NDArray[np.uint32], remote: Bool) -> U32:
    """Return SocketCAN identifiers: BLF keeps the extended flag in bit 31 too."""
    ident = raw & np.uint32(CAN_EFF_FLAG | CAN_EFF_MASK)
    ident[remote] |= np.uint32(CAN_RTR_FLAG)
    return ident
