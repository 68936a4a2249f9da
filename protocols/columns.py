"""Columns of samples as bytes: deltas in byte planes, made for a general compressor.

Per column the exact raw integers as zigzag differences (floats: XOR with the previous
bit pattern); the signals of one message share one time column. Element widths are per
column, and byte p of all elements stands together, so that zstd sees planes of alike
bytes. Byte by byte in docs/formats/envelope.md section 6. No Python loop over samples
or columns; planes (at most eight) are the only loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.errors import WireError

if TYPE_CHECKING:
    from protocols.frames import I64, U8, U32, U64, Bool, Index

ROWS_MAX: Final = 262_144  # 64 signals of each frame of the largest batch
WIDTH_MASK: Final = 0x0F
XOR_FLAG: Final = 0x10
_PLANES: Final = 8
_EXPONENTS: Final = (9, 6, 3)  # s, ms, us: the resolutions that captures have
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, odd


@dataclass(frozen=True, slots=True)
class Rows:
    """N samples: ``column`` numbers a definition (one item, statistic, purpose)."""

    time_ns: I64  # [N]
    column: U32  # [N]
    raw: I64  # [N] as in SampleBatch.raw; float64 bits in columns of kind FLOAT

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.time_ns)

    def take(self, rows: Index | Bool | slice) -> Rows:
        """Return the samples that ``rows`` selects."""
        return Rows(self.time_ns[rows], self.column[rows], self.raw[rows])


@dataclass(frozen=True, slots=True)
class Packed:
    """The columns section and the four numbers that a reader needs beside it."""

    columns: int
    groups: int  # distinct time columns
    base_ns: int  # earliest first time
    exponent: int  # times are multiples of 10**exponent ns from ``base_ns``
    section: bytes


def empty_rows() -> Rows:
    """Return no samples."""
    return Rows(np.empty(0, np.int64), np.empty(0, np.uint32), np.empty(0, np.int64))


# --- writing --------------------------------------------------------------------------


def pack_columns(rows: Rows, is_float: Bool) -> Packed:
    """Encode 1..ROWS_MAX samples.

    Args:
        rows: samples in any order of columns; their order within a column is kept.
        is_float: [definitions] whether ``raw`` of a column is float64 bits.
    """
    order = np.argsort(_narrow(rows.column), kind="stable")
    column, time_ns, raw = rows.column[order], rows.time_ns[order], rows.raw[order]
    is_first = np.empty(len(column), np.bool_)
    is_first[0] = True
    np.not_equal(column[1:], column[:-1], out=is_first[1:])
    start = np.flatnonzero(is_first)
    count = np.diff(start, append=len(column))
    place = np.arange(len(column)) - np.repeat(start, count)

    group, leader = _time_groups(time_ns, place, start, count)
    names = column[start].astype(np.uint64)
    parts = [
        _packed(np.diff(names, prepend=np.uint64(0))),
        _packed(group.astype(np.uint64)),
    ]
    base_ns, exponent, times = _pack_times(time_ns, start[leader], count[leader])
    parts += times
    parts += _pack_raw(raw, is_float[names.astype(np.intp)], start, count)
    return Packed(len(start), len(leader), base_ns, exponent, b"".join(parts))


def _narrow(column: U32) -> U32:
    """Return the same numbers as uint16 where they fit: numpy then sorts by radix."""
    if int(column.max()) < 1 << 16:
        return column.astype(np.uint16)
    return column


def _time_groups(
    time_ns: I64, place: Index, start: Index, count: Index
) -> tuple[Index, Index]:
    """Return the group of each column, and each group's first column.

    Columns of one length and checksum are compared with the first of them, value by
    value; one that differs after all becomes its own group.
    """
    weight = (place.view(np.uint64) * np.uint64(2) + np.uint64(1)) * _MIX
    mixed = time_ns.view(np.uint64) * weight
    checksum = np.add.reduceat(mixed, start) ^ (count.view(np.uint64) * _MIX)
    _, first, which = np.unique(checksum, return_index=True, return_inverse=True)
    leader = first[which]
    leader = np.where(count[leader] == count, leader, np.arange(len(start)))
    same = time_ns == time_ns[np.repeat(start[leader], count) + place]
    is_equal = np.logical_and.reduceat(same, start)
    leader = np.where(is_equal, leader, np.arange(len(start)))
    leaders, group = np.unique(leader, return_inverse=True)
    return group, leaders


def _pack_times(
    time_ns: I64, start: Index, count: Index
) -> tuple[int, int, list[bytes]]:
    """Return base, exponent and the byte strings of the groups' times."""
    begin = np.cumsum(count) - count
    source = np.arange(int(count.sum())) + np.repeat(start - begin, count)
    times = time_ns[source]
    first = times[begin]
    base = first.min()
    # Differences wrap modulo 2**64, and so does the reader's sum: any time is exact.
    offset = (first - base).view(np.uint64)
    step = np.diff(times, prepend=times[:1])
    is_inner = np.ones(len(times), np.bool_)
    is_inner[begin] = False
    step[begin] = 0
    exponent = next(
        (
            e
            for e in _EXPONENTS
            if not (step % 10**e).any() and not (offset % np.uint64(10**e)).any()
        ),
        0,
    )
    if exponent:
        step //= 10**exponent
        offset //= np.uint64(10**exponent)
    least = np.where(is_inner, step, np.iinfo(np.int64).max)
    period = np.where(count > 1, np.minimum.reduceat(least, begin), 0)
    rest = (step - np.repeat(period, count)).view(np.uint64)
    rest[begin] = 0
    width = _widths(np.maximum.reduceat(rest, begin))
    parts = [
        _packed(count.view(np.uint64)),
        _packed(offset),
        _packed(zigzag(period)),
        width.tobytes(),
        *_planes(rest[is_inner], np.repeat(width, count)[is_inner]),
    ]
    return int(base), exponent, parts


def _pack_raw(raw: I64, is_float: Bool, start: Index, count: Index) -> list[bytes]:
    """Return the byte strings of the values, one row of ``is_float`` per column."""
    coded = zigzag(np.diff(raw, prepend=raw[:1]))
    first = zigzag(raw[start])
    if is_float.any():
        bits = raw.view(np.uint64)
        mask = np.repeat(is_float, count)
        coded[1:] = np.where(mask[1:], bits[1:] ^ bits[:-1], coded[1:])
        first = np.where(is_float, bits[start], first)
    coded[start] = 0
    width = _widths(np.maximum.reduceat(coded, start))
    is_inner = np.ones(len(raw), np.bool_)
    is_inner[start] = False
    return [
        (width + is_float * np.uint8(XOR_FLAG)).astype(np.uint8).tobytes(),
        _packed(first),
        *_planes(coded[is_inner], np.repeat(width, count)[is_inner]),
    ]


def zigzag(values: I64) -> U64:
    """Return 2v for v >= 0 and -2v - 1 for v < 0, as uint64 (modulo 2**64)."""
    return ((values << 1) ^ (values >> 63)).view(np.uint64)


def unzigzag(coded: U64) -> I64:
    """Return what ``zigzag`` was given."""
    one = np.uint64(1)
    return ((coded >> one) ^ (~(coded & one) + one)).view(np.int64)


def _widths(values: U64) -> U8:
    """Return how many bytes each value needs: 0 for 0, up to 8."""
    width = np.zeros(len(values), np.uint8)
    for plane in range(_PLANES):
        width += (values >> np.uint64(8 * plane)) > 0
    return width


def _packed(values: U64) -> bytes:
    """Return one width byte and the planes of all values at that width."""
    width = (int(values.max()).bit_length() + 7) // 8
    octets = np.ascontiguousarray(values, "<u8").view(np.uint8).reshape(-1, _PLANES)
    return bytes([width]) + octets[:, :width].T.tobytes()


def _planes(values: U64, width: U8) -> list[bytes]:
    """Return plane p, for each p: byte p of every value that is wider than p."""
    octets = np.ascontiguousarray(values, "<u8").view(np.uint8).reshape(-1, _PLANES)
    planes: list[bytes] = []
    for plane in range(_PLANES):
        is_wide = width > plane
        if not is_wide.any():
            break
        planes.append(octets[is_wide, plane].tobytes())
    return planes


# --- reading --------------------------------------------------------------------------


def unpack_columns(packed: Packed) -> Rows:
    """Decode a columns section; rows come back sorted by column.

    WireError where it is cut short, too long, or names more than ROWS_MAX samples.
    """
    reader = _Reader(packed.section)
    columns, groups = packed.columns, packed.groups
    if not 1 <= groups <= columns <= ROWS_MAX:
        raise WireError("columns", "number of columns or groups out of range")
    if not 0 <= packed.exponent <= _EXPONENTS[0]:
        raise WireError("columns", "time exponent out of range")
    steps = reader.packed(columns)
    if (steps[1:] == 0).any() or int(steps.max()) >= 1 << 32:
        raise WireError("columns", "column numbers do not rise")
    names = np.cumsum(steps)
    if int(names[-1]) >= 1 << 32:
        raise WireError("columns", "column number out of range")
    group = reader.packed(columns)
    if int(group.max()) >= groups:
        raise WireError("columns", "no such time group")
    count = reader.packed(groups)
    if int(count.min()) < 1 or int(count.max()) > ROWS_MAX:
        raise WireError("columns", "rows of a time group out of range")
    member = group.astype(np.intp)
    rows = count.astype(np.intp)
    if int(rows.sum()) > ROWS_MAX or int(rows[member].sum()) > ROWS_MAX:
        raise WireError("columns", f"more than {ROWS_MAX} rows")

    times = _times(reader, rows, packed.base_ns, packed.exponent)
    begin = np.cumsum(rows) - rows
    lengths = rows[member]
    start = np.cumsum(lengths) - lengths
    source = np.arange(int(lengths.sum())) + np.repeat(begin[member] - start, lengths)
    raw = _raw(reader, lengths, start)
    reader.end()
    return Rows(times[source], np.repeat(names.astype(np.uint32), lengths), raw)


def _times(reader: _Reader, rows: Index, base_ns: int, exponent: int) -> I64:
    unit = np.uint64(10**exponent)
    offset = reader.packed(len(rows))
    period = unzigzag(reader.packed(len(rows))).view(np.uint64)
    width = reader.widths(len(rows))
    begin = np.cumsum(rows) - rows
    is_inner = np.ones(int(rows.sum()), np.bool_)
    is_inner[begin] = False
    step = np.repeat(period, rows)
    step[is_inner] += reader.planes(np.repeat(width, rows)[is_inner])
    step[begin] = offset
    step *= unit
    total = np.cumsum(step, dtype=np.uint64)
    total -= np.repeat(total[begin] - step[begin], rows)
    return total.view(np.int64) + base_ns


def _raw(reader: _Reader, lengths: Index, start: Index) -> I64:
    kind = reader.octets(len(lengths))
    if (kind & ~np.uint8(WIDTH_MASK | XOR_FLAG)).any():
        raise WireError("columns", "unknown flags of a column")
    width = kind & np.uint8(WIDTH_MASK)
    if int(width.max()) > _PLANES:
        raise WireError("columns", "a width above 8 bytes")
    is_float = (kind & np.uint8(XOR_FLAG)) != 0
    first = reader.packed(len(lengths))
    is_inner = np.ones(int(lengths.sum()), np.bool_)
    is_inner[start] = False
    coded = np.zeros(len(is_inner), np.uint64)
    coded[is_inner] = reader.planes(np.repeat(width, lengths)[is_inner])
    coded[start] = first

    step = unzigzag(coded)
    total = np.cumsum(step)
    total -= np.repeat(total[start] - step[start], lengths)
    if not is_float.any():
        return total
    # Within a column every prefix XOR holds that of the columns before it: take it out.
    mixed = np.bitwise_xor.accumulate(coded)
    mixed ^= np.repeat(mixed[start] ^ coded[start], lengths)
    return np.where(np.repeat(is_float, lengths), mixed.view(np.int64), total)


class _Reader:
    """Takes the parts of a section from front to back; WireError where they end."""

    def __init__(self, section: bytes) -> None:
        self._octets = np.frombuffer(section, np.uint8)
        self._at = 0

    def octets(self, count: int) -> U8:
        if count > len(self._octets) - self._at:
            raise WireError("columns", "cut short", self._at)
        self._at += count
        return self._octets[self._at - count : self._at]

    def widths(self, count: int) -> U8:
        width = self.octets(count)
        if int(width.max()) > _PLANES:
            raise WireError("columns", "a width above 8 bytes", self._at)
        return width

    def packed(self, count: int) -> U64:
        """Return ``count`` values behind one width byte."""
        width = int(self.octets(1)[0])
        if width > _PLANES:
            raise WireError("columns", "a width above 8 bytes", self._at)
        octets = np.zeros((count, _PLANES), np.uint8)
        octets[:, :width] = self.octets(width * count).reshape(width, count).T
        return octets.view("<u8").reshape(count).astype(np.uint64)

    def planes(self, width: U8) -> U64:
        """Return one value per row of ``width``."""
        octets = np.zeros((len(width), _PLANES), np.uint8)
        for plane in range(_PLANES):
            is_wide = width > plane
            octets[is_wide, plane] = self.octets(int(is_wide.sum()))
        return octets.view("<u8").reshape(len(width)).astype(np.uint64)

    def end(self) -> None:
        if self._at != len(self._octets):
            raise WireError("columns", "bytes behind the end", self._at)
