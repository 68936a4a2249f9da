"""Counting by the second, in windows of some: the clock of M4, M5, M8 and M9.

Time is that of the exchanges. A second closes when an exchange of a later one comes;
what is late is counted in the second that is open. So it does not matter in which
batches exchanges arrive.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protocols.frames import I64, U64

NS: Final = 10**9
KEYS_MAX: Final = 4096  # conversations remembered; the one silent for longest goes


class SecondClock:
    """Cuts batches where a second ends."""

    def __init__(self) -> None:
        """Begin with the first exchange."""
        self.now: int | None = None  # the open second

    def parts(self, time_ns: I64) -> Iterator[tuple[int, int, int]]:
        """Yield (second, first row, row behind the last), in order, for [N] times."""
        if not len(time_ns):
            return
        second = time_ns // NS
        if self.now is not None:
            second = np.maximum(second, self.now)
        second = np.maximum.accumulate(second)
        cuts = [0, *(np.flatnonzero(np.diff(second)) + 1).tolist(), len(second)]
        for first, behind in pairwise(cuts):
            self.now = int(second[first])
            yield self.now, first, behind


class Slots:
    """Numbers keys 0 .. KEYS_MAX - 1; the key used longest ago makes room."""

    def __init__(self, keys_max: int = KEYS_MAX) -> None:
        """Begin empty."""
        self.key: U64 = np.zeros(keys_max, np.uint64)
        self.evicted = 0
        self._slots: dict[int, int] = {}
        self._max = keys_max

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._slots)

    def find(self, keys: U64) -> tuple[list[int], list[int]]:
        """Return the slot of every one of these unique keys, and which are new."""
        slots, fresh = [], []
        known = self._slots
        for key in keys.tolist():
            slot = known.pop(key, -1)
            if slot < 0:
                slot = self._room()
                self.key[slot] = key
                fresh.append(slot)
            known[key] = slot  # behind all others: used last
            slots.append(slot)
        return slots, fresh

    def _room(self) -> int:
        if len(self._slots) < self._max:
            return len(self._slots)
        self.evicted += 1
        return self._slots.pop(next(iter(self._slots)))


class Ring:
    """Counts per slot and second, over the last ``window`` seconds."""

    def __init__(self, window: int, keys_max: int = KEYS_MAX) -> None:
        """Begin with zeros."""
        self.counts: I64 = np.zeros((keys_max, window), np.int64)
        self._window = window

    def clear(self, slots: list[int]) -> None:
        """Forget what these slots counted: they have new keys."""
        self.counts[slots] = 0

    def add(self, second: int, slots: I64, counts: I64) -> None:
        """Add ``counts`` to unique ``slots``."""
        self.counts[slots, second % self._window] += counts

    def open(self, since: int, second: int) -> None:
        """Make room for the seconds behind ``since``, up to ``second``."""
        for one in range(max(since + 1, second - self._window + 1), second + 1):
            self.counts[:, one % self._window] = 0

    def total(self, used: int) -> I64:
        """Return the sum over the window for the first ``used`` slots."""
        total: I64 = self.counts[:used].sum(axis=1)
        return total
