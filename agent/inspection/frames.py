"""D1 unknown identifier and D2 wrong length or frame kind (inspection.md 2.2).

Both compare columns with the compiled database: no learning, no state but the 60 s
window that turns a notice into an alert.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from agent.inspection.findings import CanId, Finding, Level
from agent.limits import EVENT_KEYS_MAX
from protocols.can.plan import BUSES_MAX, FrameKind
from protocols.frames import CAN_ERR_FLAG, CAN_RTR_FLAG, CANFD_FDF

if TYPE_CHECKING:
    from agent.inspection.findings import View
    from protocols.frames import I32, U8, Bool, Index

ALERT_FRAMES: Final = 3  # D1: this many within WINDOW_NS is an alert, fewer a notice
WINDOW_NS: Final = 60 * 10**9
UNKNOWN: Final = -1


class UnknownIdentifier:
    """D1. Alert from three frames of one id in 60 s on, a notice below."""

    def __init__(self, watched: frozenset[int]) -> None:
        """Watch the buses that have a database; on others every id would be unknown."""
        self._watched = _table(watched)
        # (bus, ident) -> (window start, frames in it). Written by inspect() only.
        self._seen: dict[tuple[int, int], tuple[int, int]] = {}

    def inspect(self, view: View) -> list[Finding]:
        """Return one finding per unknown identifier of the batch."""
        odd = view.message == UNKNOWN
        if not odd.any():
            return []
        odd &= self._watched[view.frames.bus]
        return [
            self._judge(bus, ident, count, first, last)
            for bus, ident, count, first, last in subjects(view, odd)
        ]

    def _judge(
        self, bus: int, ident: int, count: int, first: int, last: int
    ) -> Finding:
        start, seen = self._seen.get((bus, ident), (first, 0))
        if first - start > WINDOW_NS:
            start, seen = first, 0
        seen += count
        if len(self._seen) >= EVENT_KEYS_MAX and (bus, ident) not in self._seen:
            # A fuzzing attack walks through all ids: forget the oldest, bounded memory.
            self._seen.pop(next(iter(self._seen)))
        self._seen[bus, ident] = (start, seen)
        level = Level.ALERT if seen >= ALERT_FRAMES else Level.NOTICE
        return Finding("D1", level, CanId(bus, ident), count, first, last)


class WrongShape:
    """D2. A known identifier with another length, or as another kind of frame."""

    def __init__(self, length: I32, kind: U8, watched: frozenset[int]) -> None:
        """Take per message row the length in bytes and the ``FrameKind``.

        No database declares remote frames, so on a ``watched`` bus each is one.
        """
        self._length = length
        self._kind = kind
        self._watched = _table(watched)

    def inspect(self, view: View) -> list[Finding]:
        """Return one finding per identifier that is not shaped as declared."""
        frames = view.frames
        odd = (frames.ident & np.uint32(CAN_RTR_FLAG)) != 0
        if odd.any():
            odd &= self._watched[frames.bus]
        known = np.flatnonzero(view.message >= 0)
        row = view.message[known]
        fd = (frames.flags[known] & np.uint8(CANFD_FDF)) != 0
        kind = self._kind[row]
        wrong = frames.size[known] != self._length[row]
        wrong |= (kind != FrameKind.ANY.value) & (fd != (kind == FrameKind.FD.value))
        odd[known[wrong]] = True
        if not odd.any():
            return []
        return [
            Finding("D2", Level.ALERT, CanId(bus, ident), count, first, last)
            for bus, ident, count, first, last in subjects(view, odd)
        ]


def _table(buses: frozenset[int]) -> Bool:
    """Return for every number that a bus can have whether it is one of these."""
    table = np.zeros(BUSES_MAX, np.bool_)
    table[sorted(buses)] = True
    return table


def subjects(view: View, odd: Bool) -> list[tuple[int, int, int, int, int]]:
    """Return (bus, ident, count, first ns, last ns) per identifier among ``odd``."""
    rows: Index = np.flatnonzero(odd)
    frames = view.frames
    rows = rows[(frames.ident[rows] & np.uint32(CAN_ERR_FLAG)) == 0]
    key = frames.bus[rows].astype(np.uint64) << np.uint64(32)
    key |= frames.ident[rows].astype(np.uint64)
    unique, first, count = np.unique(key, return_index=True, return_counts=True)
    last = np.zeros(len(unique), np.int64)
    np.maximum.at(last, np.searchsorted(unique, key), frames.time_ns[rows])
    start = frames.time_ns[rows][first] if len(rows) else last
    return [
        (int(k >> 32), int(k & 0xFFFFFFFF), int(n), int(t0), int(t1))
        for k, n, t0, t1 in zip(
            unique.tolist(), count.tolist(), start.tolist(), last.tolist(), strict=True
        )
    ]
