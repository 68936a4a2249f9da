"""Endpoints that open another connection than the one they had, by their SYN.

A SYN alone proves nothing: whoever sends one into a live connection does not end it
(RFC 9293, 3.5.2; RFC 5961). It counts where the old connection has ended, else when the
other side has accepted it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.capture.ethernet import ACK, FIN, RST, SYN

if TYPE_CHECKING:
    from protocols.capture.ethernet import SegmentBatch
    from protocols.frames import I64
    from protocols.modbus.connections import Connections

PASSES_MAX: Final = 8  # connections of the same endpoints in one batch
IGNORED: Final = -1
_WRAP: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Restart:
    """A row of the table that begins anew, and in which pass."""

    row: int
    number: int  # of the pass, from 1
    slot: int  # of the side whose position is known; -1 none
    sequence: int  # of its SYN


def find_restarts(
    segments: SegmentBatch, slot: I64, table: Connections
) -> tuple[I64, list[Restart]]:
    """Return in which pass each segment [N] is taken (IGNORED never), and restarts.

    A loop over SYN segments, which are few: connections, not what passes in them.
    """
    passes = np.zeros(len(slot), np.int64)
    syn = np.flatnonzero((segments.flags & SYN) != 0)
    if not len(syn):
        return passes, []
    row = slot >> 1
    rows, first = np.unique(row, return_index=True)
    begins = dict(zip(rows.tolist(), first.tolist(), strict=True))
    closing = np.flatnonzero((segments.flags & (FIN | RST)) != 0)
    finder = _Finder(table, begins, row[closing].tolist(), closing.tolist())
    found: list[Restart] = []
    numbers: dict[int, int] = {}  # row -> of its last pass
    for at in syn.tolist():
        one = int(slot[at])
        acks = bool(segments.flags[at] & ACK)
        verdict = finder.judge(at, one, int(segments.sequence[at]), acks=acks)
        if verdict is _SAME:
            continue
        if verdict is _IGNORE:
            passes[at] = IGNORED
            continue
        number = 1 + numbers.get(int(row[at]), 0)
        if number > PASSES_MAX:
            passes[at] = IGNORED
            continue
        numbers[int(row[at])] = number
        passes[at:][(row[at:] == row[at]) & (passes[at:] != IGNORED)] = number
        other, sequence = -1, 0
        if acks:
            other = one ^ 1
            sequence = (int(segments.acknowledged[at]) - 1) % _WRAP
            finder.begun[other] = sequence
        found.append(Restart(int(row[at]), number, other, sequence))
    return passes, found


_SAME, _IGNORE, _ANEW = "same", "ignore", "anew"


class _Finder:
    """What is known of each side's SYN while a batch is walked through."""

    def __init__(
        self,
        table: Connections,
        begins: dict[int, int],
        closing_rows: list[int],
        closing: list[int],
    ) -> None:
        self._table = table
        self._begins = begins
        self._closed: dict[int, list[int]] = {}
        for row, at in zip(closing_rows, closing, strict=True):
            self._closed.setdefault(row, []).append(at)
        self.begun: dict[int, int] = {}  # slot -> sequence of its SYN, in this batch
        self._since: dict[int, int] = {}  # row -> where it began anew

    def judge(self, at: int, slot: int, sequence: int, *, acks: bool) -> str:
        table, row = self._table, slot >> 1
        since = self._since.get(row, -1)
        have = self.begun.get(slot)
        if have is None and since < 0 and table.known[slot]:
            have = int(table.begun[slot])  # -1: seen from the middle on
        if have is None:
            # A side that was silent so far; or its first bytes stand before the SYN.
            middle = since < 0 and not table.known[slot] and self._begins[row] < at
            middle = middle and slot ^ 1 not in self.begun and not acks
            middle = middle and not table.known[slot ^ 1]
            if not middle:
                self.begun[slot] = sequence
                return _SAME
        if have == sequence:
            return _SAME
        if not acks and not self._has_ended(row, at, since):
            return _IGNORE
        self._since[row] = at
        self.begun.pop(slot ^ 1, None)
        self.begun[slot] = sequence
        return _ANEW

    def _has_ended(self, row: int, at: int, since: int) -> bool:
        slots = slice(2 * row, 2 * row + 2)
        if since < 0 and bool(self._table.ended[slots].any()):
            return True
        return any(since < one < at for one in self._closed.get(row, ()))
