"""TCP segments to the bytes of each direction, in order and each byte once.

All directions are checked at once against where they stand. What repeats bytes that
were there is cut off (retransmission, overlap, a second tap): the first copy counts.
Only a direction with a hole takes the careful path: it waits for what is missing, until
the other side has acknowledged it, or too long, or for too much; then goes on behind
the hole. RFC 9293, RFC 1982 for the arithmetic of sequence numbers.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.capture.ethernet import ACK, FIN, RST, SYN

if TYPE_CHECKING:
    from protocols.capture.ethernet import SegmentBatch
    from protocols.frames import I64, U8, Bool
    from protocols.modbus.connections import Connections

WAITING_BYTES_MAX: Final = 65_536  # of one direction, behind its hole
WAITING_SEGMENTS_MAX: Final = 256
WAITING_TOTAL_MAX: Final = 16 * 1024 * 1024  # of all directions
WINDOW: Final = 1 << 20  # what lies farther away is no part of the conversation
GRACE_NS: Final = 200_000_000  # acknowledged, and yet not seen
HOLE_NS: Final = 5_000_000_000  # not seen at all
_WRAP: Final = 1 << 32
_HALF: Final = 1 << 31
_APART: Final = 1 << 33  # more than two distances of one direction


@dataclass(slots=True)
class StreamCounts:
    """What happened to the bytes, since the start. Every loss is here by its cause."""

    segments: int = 0  # with payload, of connections that are followed
    other: int = 0  # of no Modbus port
    repeated: int = 0  # segments that brought nothing new
    overlaps: int = 0  # segments of which a part was new
    reordered: int = 0  # segments that waited for others before them
    gaps: int = 0  # holes that were given up
    missed: int = 0  # bytes in them
    strays: int = 0  # segments far outside of the window, not taken
    resyncs: int = 0  # times that the search for the next ADU began
    skipped: int = 0  # bytes that belong to no ADU
    evicted: int = 0  # connections forgotten to make room before they ended
    overdue: int = 0  # requests given up because too many waited
    crowded: int = 0  # exchanges of RTU beyond what one batch may have


@dataclass(frozen=True, slots=True)
class Pieces:
    """N pieces of payload, by direction and then in order of their bytes."""

    chars: U8  # what ``at`` points into
    slot: I64  # [N]
    at: I64  # [N]
    size: I64  # [N]
    time_ns: I64  # [N]
    order: I64  # [N] place of the segment in the batch
    sequence: I64  # [N] of its first byte
    acked: I64  # [N] what its sender had of the other side's bytes; -1 not told
    broken: Bool  # [N] bytes before it are missing


@dataclass(slots=True)
class _Waiting:
    """What came behind a hole. Rows: sequence, time, place in the batch, ack, bytes."""

    since_ns: int
    rows: list[tuple[int, int, int, int, bytes]] = field(default_factory=list)
    size: int = 0


@dataclass(slots=True)
class _Out:
    """Pieces of the careful path, column by column."""

    slot: list[int] = field(default_factory=list)
    time_ns: list[int] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    sequence: list[int] = field(default_factory=list)
    acked: list[int] = field(default_factory=list)
    broken: list[bool] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)


class Reassembly:
    """Where each direction stands is in ``Connections``; what waits is here."""

    def __init__(self, connections: Connections, counts: StreamCounts) -> None:
        """Begin with nothing that waits."""
        self._table = connections
        self._counts = counts
        self._waiting: dict[int, _Waiting] = {}
        self._total = 0

    def feed(self, segments: SegmentBatch, slot: I64, now_ns: int) -> Pieces:
        """Return the bytes that are in order now; ``slot`` [N] as the table says."""
        table = self._table
        answers = (segments.flags & ACK) != 0
        table.acked[slot[answers] ^ 1] = segments.acknowledged[answers]
        syn = (segments.flags & SYN) != 0
        fin = (segments.flags & FIN) != 0
        rows = np.flatnonzero((segments.size > 0) | syn | fin)
        rows = rows[np.argsort(slot[rows], kind="stable")]
        reset = slot[(segments.flags & RST) != 0]
        out = _Out()
        regular = self._regular(segments, slot, rows, syn, fin)
        careful = regular.careful
        for one in np.unique(slot[rows[careful]]).tolist():  # directions with a hole
            mine = rows[careful][slot[rows[careful]] == one]
            self._careful(segments, one, mine, fin, out)
        for one in list(self._waiting):
            self._give_up(one, now_ns, out)
        for waiting in self._waiting.values():  # places of this batch end with it
            if any(row[2] >= 0 for row in waiting.rows):
                waiting.rows = [(*row[:2], -1, *row[3:]) for row in waiting.rows]
        table.ended[reset] = table.ended[reset ^ 1] = True
        return _joined(segments, slot, regular, out)

    def forget(self, row: int) -> None:
        """Drop what waits on a connection."""
        self._drop(2 * row)
        self._drop(2 * row + 1)

    def _regular(
        self, segments: SegmentBatch, slot: I64, rows: I64, syn: Bool, fin: Bool
    ) -> _Regular:
        """Check all directions at once; move those on that have no hole."""
        table, counts = self._table, self._counts
        mine = slot[rows]
        sequence = segments.sequence[rows].astype(np.int64)
        first = np.ones(len(rows), np.bool_)
        np.not_equal(mine[1:], mine[:-1], out=first[1:])
        starts = np.flatnonzero(first)
        group = np.cumsum(first) - 1
        slots = mine[starts]
        known = table.known[slots]
        base = np.where(known, table.next[slots], sequence[starts])
        begun = syn[rows]
        table.begun[mine[begun]] = sequence[begun]
        is_new = ~known
        if is_new.any():
            table.synced[slots[is_new]] = begun[starts][is_new]
            table.known[slots] = True
            middle = slots[is_new & ~begun[starts]]
            table.lost_ns[middle] = segments.time_ns[rows[starts]][
                is_new & ~begun[starts]
            ]
        away = _distance(sequence, base[group])
        end = away + segments.size[rows] + begun + fin[rows]
        apart = group * _APART
        reach = np.maximum.accumulate(np.maximum(end, 0) + apart) - apart
        before = np.zeros(len(rows), np.int64)
        before[1:] = reach[:-1]
        before[first] = 0
        odd = (away > before) | (away < -WINDOW) | (away > WINDOW)
        careful = np.zeros(len(slots), np.bool_)
        careful[group[odd]] = True
        if self._waiting:
            careful |= np.isin(slots, np.array(list(self._waiting), np.int64))
        table.next[slots[is_new]] = base[is_new]
        good = ~careful
        fresh = (end > before) & (segments.size[rows] > 0)
        table.ended[mine[fresh]] = False  # what still talks has not ended
        last = np.append(starts, len(rows))[1:] - 1
        table.next[slots[good]] = (base + reach[last])[good] % _WRAP
        closes = fin[rows] & good[group]
        table.ended[mine[closes]] = True
        use = good[group]
        size = segments.size[rows]
        counts.segments += int(np.count_nonzero(size[use] > 0))
        cut = np.clip(before - away - begun, 0, size)
        filled = size > 0
        counts.repeated += int(np.count_nonzero(use & filled & (cut == size)))
        partly = use & (cut > 0) & (cut < size)
        counts.overlaps += int(np.count_nonzero(partly))
        keep = use & (cut < size)
        return _Regular(rows[keep], cut[keep], begun[keep], careful[group])

    def _careful(
        self, segments: SegmentBatch, slot: int, rows: I64, fin: Bool, out: _Out
    ) -> None:
        """Take the segments of one direction one by one, in the order of capture."""
        counts = self._counts
        for row in rows.tolist():
            at, size = int(segments.at[row]), int(segments.size[row])
            sequence = int(segments.sequence[row])
            flags = int(segments.flags[row])
            if flags & SYN:
                if not self._ahead(slot, sequence):
                    self._table.next[slot] = (sequence + 1) % _WRAP
                sequence = (sequence + 1) % _WRAP
            data = segments.chars[at : at + size].tobytes()
            time_ns = int(segments.time_ns[row])
            acked = int(segments.acknowledged[row]) if flags & ACK else -1
            counts.segments += size > 0
            if slot in self._waiting:
                self._give_up(slot, time_ns, out)
            piece = (sequence, time_ns, row, acked, data)
            if self._is_stray(slot, sequence, size, time_ns, out):
                continue
            if self._ahead(slot, sequence) > 0:
                self._wait(slot, piece, out)
            else:
                self._deliver(slot, piece, out, is_broken=False)
                self._drain(slot, (time_ns, row), out)
            if fin[row]:
                self._table.ended[slot] = True

    def _ahead(self, slot: int, sequence: int) -> int:
        return _signed(sequence - int(self._table.next[slot]))

    def _is_stray(
        self, slot: int, sequence: int, size: int, time_ns: int, out: _Out
    ) -> bool:
        """Tell what is far outside; go there where the other side says so."""
        if abs(self._ahead(slot, sequence)) <= WINDOW:
            return False
        acked = int(self._table.acked[slot])
        if acked >= 0 and abs(_signed(sequence - acked)) > WINDOW:
            self._counts.strays += size > 0
            return True
        self._drop(slot)
        self._jump(slot, sequence, time_ns, missed=0)
        out.slot.append(slot)
        out.time_ns.append(time_ns)
        out.order.append(0)
        out.sequence.append(sequence)
        out.acked.append(-1)
        out.broken.append(True)
        out.data.append(b"")
        return False

    def _deliver(
        self,
        slot: int,
        piece: tuple[int, int, int, int, bytes],
        out: _Out,
        *,
        is_broken: bool,
    ) -> None:
        """Append what is new of a piece that begins at or before ``next``."""
        sequence, time_ns, order, acked, data = piece
        old = -self._ahead(slot, sequence)
        counts = self._counts
        if old >= len(data):
            counts.repeated += bool(data)
            return
        counts.overlaps += old > 0
        self._table.next[slot] = (sequence + len(data)) % _WRAP
        out.slot.append(slot)
        out.time_ns.append(time_ns)
        out.order.append(order)
        out.sequence.append((sequence + old) % _WRAP)
        out.acked.append(acked)
        out.broken.append(is_broken)
        out.data.append(data[old:])

    def _wait(
        self, slot: int, piece: tuple[int, int, int, int, bytes], out: _Out
    ) -> None:
        """Keep what lies behind a hole; give the hole up where that is too much."""
        if not piece[4]:
            return  # a FIN behind a hole tells where the end is, and nothing else
        waiting = self._waiting.get(slot)
        if waiting is None:
            waiting = self._waiting[slot] = _Waiting(piece[1])
        place = bisect_right(
            waiting.rows,
            self._ahead(slot, piece[0]),
            key=lambda row: self._ahead(slot, row[0]),
        )
        same = waiting.rows[place - 1] if place else None
        if same is not None and (same[0], same[4]) == (piece[0], piece[4]):
            self._counts.repeated += 1
            return
        waiting.rows.insert(place, piece)
        waiting.size += len(piece[4])
        self._total += len(piece[4])
        self._counts.reordered += 1
        while (
            len(waiting.rows) > WAITING_SEGMENTS_MAX
            or waiting.size > WAITING_BYTES_MAX
            or self._total > WAITING_TOTAL_MAX
        ) and waiting.rows:
            self._skip_hole(slot, piece[1], out)

    def _drain(self, slot: int, filled: tuple[int, int] | None, out: _Out) -> None:
        """Append what waited and has no hole before it any more.

        ``filled``: time and place of what filled the hole, which is when all of it
        reached its reader; None where nothing did.
        """
        waiting = self._waiting.get(slot)
        if waiting is None:
            return
        done = 0
        for sequence, at_ns, place, acked, data in waiting.rows:
            if self._ahead(slot, sequence) > 0:
                break
            done += 1
            waiting.size -= len(data)
            self._total -= len(data)
            time_ns, order = filled or (at_ns, place)
            piece = (sequence, time_ns, order, acked, data)
            self._deliver(slot, piece, out, is_broken=False)
        del waiting.rows[:done]
        if not waiting.rows:
            del self._waiting[slot]
        elif done:
            waiting.since_ns = max(waiting.since_ns, waiting.rows[0][1])

    def _give_up(self, slot: int, now_ns: int, out: _Out) -> None:
        """Go on behind a hole that will not be filled any more."""
        while (waiting := self._waiting.get(slot)) is not None:
            acked = int(self._table.acked[slot])
            have = acked >= 0 and _signed(acked - waiting.rows[0][0]) >= 0
            if now_ns - waiting.since_ns < (GRACE_NS if have else HOLE_NS):
                return
            self._skip_hole(slot, now_ns, out)

    def _skip_hole(self, slot: int, now_ns: int, out: _Out) -> None:
        waiting = self._waiting[slot]
        piece = waiting.rows.pop(0)
        sequence, _, _, _, data = piece
        waiting.size -= len(data)
        self._total -= len(data)
        self._jump(slot, sequence, now_ns, missed=self._ahead(slot, sequence))
        self._deliver(slot, piece, out, is_broken=True)
        if waiting.rows:
            waiting.since_ns = max(waiting.since_ns, waiting.rows[0][1])
            self._drain(slot, None, out)
        else:
            del self._waiting[slot]

    def _jump(self, slot: int, sequence: int, now_ns: int, missed: int) -> None:
        self._counts.gaps += 1
        self._counts.missed += missed
        self._table.next[slot] = sequence
        self._table.synced[slot] = False
        self._table.lost_ns[slot] = now_ns

    def _drop(self, slot: int) -> None:
        waiting = self._waiting.pop(slot, None)
        if waiting is not None:
            self._total -= waiting.size
            self._counts.missed += waiting.size


@dataclass(frozen=True, slots=True)
class _Regular:
    """Rows that follow one another, and which of all rows do not."""

    rows: I64
    cut: I64  # bytes at the front that were there before
    begun: Bool  # it is a SYN, which takes a number
    careful: Bool


def _joined(segments: SegmentBatch, slot: I64, regular: _Regular, out: _Out) -> Pieces:
    rows, cut = regular.rows, regular.cut
    acks = (segments.flags[rows] & ACK) != 0
    columns = [
        slot[rows], segments.at[rows] + cut, segments.size[rows] - cut,
        segments.time_ns[rows], rows,
        (segments.sequence[rows].astype(np.int64) + regular.begun + cut) % _WRAP,
        np.where(acks, segments.acknowledged[rows].astype(np.int64), -1),
        np.zeros(len(rows), np.bool_),
    ]  # fmt: skip
    if not out.slot:
        return Pieces(segments.chars, *columns)
    data = np.frombuffer(b"".join(out.data), np.uint8)
    size = np.array([len(one) for one in out.data], np.int64)
    at = np.cumsum(size) - size + len(segments.chars)
    careful = [
        np.array(out.slot, np.int64), at, size, np.array(out.time_ns, np.int64),
        np.array(out.order, np.int64), np.array(out.sequence, np.int64),
        np.array(out.acked, np.int64), np.array(out.broken, np.bool_),
    ]  # fmt: skip
    both = [np.concatenate(pair) for pair in zip(columns, careful, strict=True)]
    order = np.argsort(both[0], kind="stable")
    chars = np.concatenate([segments.chars, data])
    return Pieces(chars, *(column[order] for column in both))


def _distance(sequence: I64, base: I64) -> I64:
    """Return how far each sequence number lies behind ``base``, signed."""
    distance: I64 = (sequence - base + _HALF) % _WRAP - _HALF
    return distance


def _signed(distance: int) -> int:
    return (distance + _HALF) % _WRAP - _HALF
