"""When to read what: deadlines that keep their phase, and a breaker per device.

Decides only; time and chance are arguments, so that a test owns both.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from protocols.modbus.plan import Read

SILENCES_MAX: Final = 3  # unanswered requests in a row before a device is left alone
BACKOFF_FIRST_NS: Final = 1_000_000_000
BACKOFF_MAX_NS: Final = 60_000_000_000


class Breaker:
    """Leaves a silent device alone: exponential backoff with jitter, then one probe."""

    def __init__(
        self, chance: Callable[[], float], silences_max: int = SILENCES_MAX
    ) -> None:
        """``chance`` gives [0, 1), so that devices do not return all at once."""
        self._chance = chance
        self._silences_max = silences_max
        self._silences = 0
        self._backoff_ns = 0
        self.until_ns = 0  # left alone until then; past: closed, or time for a probe

    @property
    def is_open(self) -> bool:
        """Tell whether the last thing heard of the device was too long a silence."""
        return self._backoff_ns > 0

    def answered(self) -> None:
        """Close: the device is there (an exception is an answer too)."""
        self._silences = 0
        self._backoff_ns = 0
        self.until_ns = 0

    def was_silent(self, now_ns: int) -> None:
        """Count a request without answer; open, or open for twice as long."""
        self._silences += 1
        if self._silences < self._silences_max:
            return
        doubled = min(self._backoff_ns * 2, BACKOFF_MAX_NS)
        self._backoff_ns = doubled or BACKOFF_FIRST_NS
        # Between half and all of it ("equal jitter").
        self.until_ns = now_ns + int(self._backoff_ns * (0.5 + self._chance() / 2))


@dataclass(frozen=True, slots=True, order=True)
class _Due:
    """A job and its deadline; ``rank`` keeps the plan's order among equals."""

    due_ns: int
    rank: int


class Schedule:
    """The reads of one link, earliest deadline first."""

    def __init__(self, chance: Callable[[], float]) -> None:
        """Start without reads."""
        self._chance = chance
        self._heap: list[_Due] = []
        self._reads: tuple[Read, ...] = ()
        self._breakers: dict[int, Breaker] = {}
        self.missed = 0  # deadlines that passed unserved

    def set_reads(self, reads: Sequence[Read], now_ns: int) -> None:
        """Replace the reads; those that stay keep their deadlines, new ones are due."""
        due = {self._reads[entry.rank]: entry.due_ns for entry in self._heap}
        self._reads = tuple(reads)
        self._heap = [
            _Due(due.get(read, now_ns), rank) for rank, read in enumerate(reads)
        ]
        heapq.heapify(self._heap)

    def breaker(self, unit: int) -> Breaker:
        """Return the breaker of a unit, made when first asked for."""
        if unit not in self._breakers:
            self._breakers[unit] = Breaker(self._chance)
        return self._breakers[unit]

    def breakers_open(self) -> int:
        """Return how many units are left alone now."""
        return sum(breaker.is_open for breaker in self._breakers.values())

    def next_ns(self) -> int | None:
        """Return the earliest deadline; None where there is nothing to read."""
        return self._heap[0].due_ns if self._heap else None

    def is_ready(self, now_ns: int) -> bool:
        """Tell whether a read is due whose unit is not left alone.

        Due reads of units that are left alone move on, and are counted as missed.
        """
        while self._heap and self._heap[0].due_ns <= now_ns:
            entry = self._heap[0]
            read = self._reads[entry.rank]
            resume_ns = self.breaker(read.unit).until_ns
            if resume_ns <= now_ns:
                return True
            self._renew(entry, read.period_ns, resume_ns, own=0)
        return False

    def take(self, now_ns: int) -> Read | None:
        """Return the most urgent read that is ready; None where none is.

        Its next deadline is set: a whole number of periods on, so that the cadence
        keeps its phase; periods that passed meanwhile are counted as missed.
        """
        if not self.is_ready(now_ns):
            return None
        entry = self._heap[0]
        read = self._reads[entry.rank]
        self._renew(entry, read.period_ns, now_ns + 1, own=1)
        return read

    def _renew(self, entry: _Due, period_ns: int, after_ns: int, *, own: int) -> None:
        """Move the first entry to its first deadline not before ``after_ns``."""
        periods = max(-((entry.due_ns - after_ns) // period_ns), 1)
        self.missed += periods - own
        due_ns = entry.due_ns + periods * period_ns
        heapq.heapreplace(self._heap, _Due(due_ns, entry.rank))
