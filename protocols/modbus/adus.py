"""ADUs in the bytes of many directions at once, and the search for the next one.

Mostly every segment is one ADU, which is verified for all of them at once. Else the
lengths are followed one by one; where none can be followed, the next place is sought at
which an ADU can begin: protocol 0, a length in 2..254 that fits the function, and
behind it another ADU or nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.capture.columns import windows
from protocols.modbus.exchanges import Problem
from protocols.modbus.mbap import (
    ADU_BYTES_MAX,
    HEADER_BYTES,
    LENGTH_MAX,
    LENGTH_MIN,
)
from protocols.modbus.rtu import reply_size, request_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from protocols.frames import I64, U8, Bool
    from protocols.modbus.connections import Connections
    from protocols.modbus.reassembly import Pieces, StreamCounts

    _SizeOf: TypeAlias = Callable[[bytes, int], int]

TAIL: Final = 260  # zeros behind the bytes, as PairBatch has them
_HEAD: Final = 6  # transaction, protocol, length
_RTU_MORE: Final = 2  # an RTU frame has unit and CRC; the MBAP length counts the unit
_SEQUENCE: Final = 0xFFFFFFFF
_PROTOCOL: Final = int(Problem.PROTOCOL)
_LENGTH: Final = int(Problem.LENGTH)


@dataclass(frozen=True, slots=True)
class Adus:
    """N ADUs, by direction and then in order. ``at``, ``size``: of the PDU."""

    chars: U8  # with TAIL zeros behind
    slot: I64  # [N]
    at: I64  # [N]
    size: I64  # [N] 1..253; 0 where a broken header has nothing behind it
    unit: I64  # [N]
    tid: I64  # [N]
    problems: I64  # [N]
    time_ns: I64  # [N] of the segment with its last byte
    order: I64  # [N] place of that segment in the batch
    until: I64  # [N] sequence number behind its last byte
    acked: I64  # [N] what its sender had of the other side's bytes; -1 not told

    def __len__(self) -> int:
        """Return the number of ADUs."""
        return len(self.slot)


@dataclass(slots=True)
class _Found:
    """Places in the text, and problems there, of the ADUs of some extents."""

    start: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    problems: list[int] = field(default_factory=list)


class Framing:
    """Holds less than one ADU for a direction between two calls."""

    def __init__(self, connections: Connections, counts: StreamCounts) -> None:
        """Begin with nothing held."""
        self._table = connections
        self._counts = counts
        self._held: dict[int, bytes] = {}

    def forget(self, row: int) -> None:
        """Drop what is held of a connection."""
        for slot in (2 * row, 2 * row + 1):
            self._counts.skipped += len(self._held.pop(slot, b""))

    def finish(self) -> None:
        """Drop what is not whole: nothing more will come."""
        self._counts.skipped += sum(map(len, self._held.values()))
        self._held.clear()

    def feed(self, pieces: Pieces) -> Adus:
        """Return the ADUs that ``pieces`` complete."""
        if not len(pieces.slot):
            return _no_adus()
        text, start, slot, piece = self._stitch(pieces)
        end = np.append(start, len(text) - TAIL)[1:]
        broken = np.zeros(len(start), np.bool_)
        broken[piece >= 0] = pieces.broken[piece[piece >= 0]]
        first = np.ones(len(start), np.bool_)
        np.not_equal(slot[1:], slot[:-1], out=first[1:])
        extent = np.flatnonzero(first | broken)
        exact = _is_exact(text, start, end)
        whole = np.logical_and.reduceat(exact, extent)
        begins = start[extent]
        ends = np.append(begins[1:], len(text) - TAIL)
        last = np.append(slot[extent][1:] != slot[extent][:-1], True)
        self._table.synced[slot[extent][whole]] = True
        found = _Found()
        for at in np.flatnonzero(~whole).tolist():  # directions that are not regular
            one = int(slot[extent[at]])
            data = text[begins[at] : ends[at]].tobytes()
            self._follow(one, data, int(begins[at]), found, keep=bool(last[at]))
        regular = np.repeat(whole, np.diff(np.append(extent, len(start))))
        return self._adus(pieces, text, (start, slot, piece), end, regular, found)

    def _stitch(self, pieces: Pieces) -> tuple[U8, I64, I64, I64]:
        """Return bytes by direction; start, slot and index (-1 held) of each piece."""
        held = [slot for slot in np.unique(pieces.slot).tolist() if slot in self._held]
        data = [self._held.pop(slot) for slot in held]
        slot = np.concatenate([np.array(held, np.int64), pieces.slot])
        size = np.concatenate([np.array([len(d) for d in data], np.int64), pieces.size])
        before = np.cumsum(size[: len(held)]) - size[: len(held)]
        at = np.concatenate([before + len(pieces.chars), pieces.at])
        index = np.concatenate([np.full(len(held), -1), np.arange(len(pieces.slot))])
        chars = pieces.chars
        if held:
            joined = np.frombuffer(b"".join(data), np.uint8)
            chars = np.concatenate([chars, joined])
            order = np.argsort(slot, kind="stable")
            slot, size, at, index = slot[order], size[order], at[order], index[order]
        start = np.cumsum(size) - size
        total = int(size.sum())
        text = np.zeros(total + TAIL, np.uint8)
        text[:total] = chars[np.repeat(at - start, size) + np.arange(total)]
        return text, start, slot, index

    def _adus(
        self,
        pieces: Pieces,
        text: U8,
        columns: tuple[I64, I64, I64],
        end: I64,
        regular: Bool,
        found: _Found,
    ) -> Adus:
        start, slot, index = columns
        begins = np.concatenate([start[regular], np.array(found.start, np.int64)])
        ends = np.concatenate([end[regular], np.array(found.end, np.int64)])
        problems = np.zeros(len(begins), np.int64)
        problems[len(begins) - len(found.problems) :] = found.problems
        if found.start:
            order = np.argsort(begins, kind="stable")
            begins, ends, problems = begins[order], ends[order], problems[order]
        piece = np.searchsorted(start, ends - 1, side="right") - 1
        which = index[piece]
        head = windows(text, begins, HEADER_BYTES).astype(np.int64)
        size = ends - begins - HEADER_BYTES
        return Adus(
            text, slot[piece], begins + HEADER_BYTES, np.maximum(size, 0),
            np.where(size < 0, 0, head[:, 6]), head[:, 0] << 8 | head[:, 1],
            problems, pieces.time_ns[which], pieces.order[which],
            (pieces.sequence[which] + ends - start[piece]) & _SEQUENCE,
            pieces.acked[which],
        )  # fmt: skip

    def _follow(
        self, slot: int, data: bytes, base: int, found: _Found, *, keep: bool
    ) -> None:
        """Find the ADUs of one extent; hold what is not whole, where more can come."""
        counts, table = self._counts, self._table
        side = int(table.client_side[slot >> 1])
        size_of = request_size if slot & 1 == side else reply_size
        synced = bool(table.synced[slot])
        at, end = 0, len(data)
        seeker: _Seeker | None = None
        while True:
            if not synced:
                seeker = seeker or _Seeker(data, size_of)
                place, synced = seeker.seek(at)
                counts.resyncs += synced
                counts.skipped += place - at
                at = place
                if not synced:
                    break
            at, lost = _chain(data, at, base, found)
            if not lost:
                break
            problems, behind = _broken_header(data, at)
            found.start.append(base + at)
            found.end.append(base + behind)
            found.problems.append(problems)
            synced = False
            at = min(at + 1, end)
            counts.skipped += 1
        table.synced[slot] = synced
        if keep and end - at <= ADU_BYTES_MAX:
            if at < end:
                self._held[slot] = data[at:]
        else:
            counts.skipped += end - at


def _no_adus() -> Adus:
    none = np.empty(0, np.int64)
    text = np.zeros(TAIL, np.uint8)
    return Adus(text, none, none, none, none, none, none, none, none, none, none)


def _chain(data: bytes, at: int, base: int, found: _Found) -> tuple[int, bool]:
    """Follow lengths from ``at``; return where that ends, and whether it is lost."""
    end = len(data)
    start, stop, problems = found.start, found.end, found.problems
    while end - at >= _HEAD:
        length = data[at + 4] << 8 | data[at + 5]
        if not LENGTH_MIN <= length <= LENGTH_MAX:
            return at, True
        behind = at + _HEAD + length
        foreign = data[at + 2] | data[at + 3]
        if foreign and not (behind == end or _is_header(data, behind)):
            return at, True
        if behind > end:
            break
        start.append(base + at)
        stop.append(base + behind)
        problems.append(_PROTOCOL if foreign else 0)
        at = behind
    return at, False


def _is_header(data: bytes, at: int) -> bool:
    """Tell whether an ADU can begin at ``at``, as far as its header is there."""
    if len(data) - at < _HEAD:
        return not any(data[at + 2 : at + 5])
    length = data[at + 4] << 8 | data[at + 5]
    return not (data[at + 2] | data[at + 3]) and LENGTH_MIN <= length <= LENGTH_MAX


def _broken_header(data: bytes, at: int) -> tuple[int, int]:
    """Return what is wrong with a header, and where what is told of it ends."""
    length = data[at + 4] << 8 | data[at + 5]
    problems = _PROTOCOL if data[at + 2] | data[at + 3] else 0
    if not LENGTH_MIN <= length <= LENGTH_MAX:
        problems |= _LENGTH
    return problems, min(at + ADU_BYTES_MAX, len(data))


class _Seeker:
    """Looks for the next ADU in bytes of which nobody knows where they begin."""

    def __init__(self, data: bytes, size_of: _SizeOf) -> None:
        chars = np.frombuffer(data + bytes(_HEAD), np.uint8)
        here = chars[: len(data)]
        low = chars[5 : len(data) + 5]
        mark = (chars[2 : len(data) + 2] | chars[3 : len(data) + 3]) == 0
        mark &= chars[4 : len(data) + 4] == 0
        mark &= (low >= LENGTH_MIN) & (low <= LENGTH_MAX)
        self._places: list[int] = np.flatnonzero(mark[: max(len(here) - 7, 0)]).tolist()
        self._data = data
        self._size_of = size_of

    def seek(self, at: int) -> tuple[int, bool]:
        """Return where an ADU begins, at or behind ``at``, and whether that is sure.

        Not sure: the place from which on more bytes are needed.
        """
        data, end = self._data, len(self._data)
        for place in self._places[bisect_left(self._places, at) :]:
            behind = place + _HEAD + data[place + 5]
            size = self._size(place)
            fits = size == data[place + 5] + _RTU_MORE
            if behind > end:
                if fits or size > end - place - _HEAD:
                    return place, False
            elif (fits or (place == 0 and behind == end)) and _is_header(data, behind):
                return place, True
        return max(at, end - HEADER_BYTES), False

    def _size(self, place: int) -> int:
        """Return the size of the RTU frame of such a PDU, as `rtu` tells it."""
        return self._size_of(self._data[place : place + ADU_BYTES_MAX], _HEAD)


def _is_exact(text: U8, start: I64, end: I64) -> Bool:
    """Tell [N] pieces that are one ADU each, and no more."""
    head = windows(text, start, _HEAD)
    size = end - start
    length = head[:, 4].astype(np.int64) << 8 | head[:, 5]
    exact: Bool = (head[:, 2] | head[:, 3]) == 0
    exact &= (length == size - _HEAD) & (length >= LENGTH_MIN) & (length <= LENGTH_MAX)
    return exact
