"""Looks at the clock and at polled links, and says what is wrong with them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from agent.ports import Clock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.adapters.clock import ClockConfidence
    from agent.adapters.modbus.poll import ModbusPoller
    from agent.adapters.outside import Now
    from agent.adapters.sqlite_store import SqliteStore
    from agent.records import Commit


class WallClock(Clock, Protocol):
    """A clock that can say whether somebody keeps it right."""

    def cpu_ns(self) -> int:
        """Return the CPU time of this process, ns."""

    def is_synchronised(self) -> bool:
        """Tell whether a time daemon keeps the kernel's clock right."""


class ClockWatch:
    """Whether the wall clock is believed, and what time it is where it is not."""

    def __init__(
        self, clock: WallClock, confidence: ClockConfidence, store: SqliteStore
    ) -> None:
        """Believe nothing before the first look."""
        self.ok = False
        self.level = "low"
        self._clock = clock
        self._confidence = confidence
        self._store = store
        # Wall and monotonic time when the wall was last believed; at first, the latest
        # time that is known to be past.
        self._believed_ns = (store.clock_floor_ns, clock.monotonic_ns())
        self._told_ns: tuple[int, int] | None = None  # by the fleet, at which monotonic

    def look(self, now: Now) -> None:
        """Look at the clock, and say in ``now`` what was seen."""
        wall_ns, mono_ns = self._clock.now_ns(), self._clock.monotonic_ns()
        verdict = self._confidence.look(
            wall_ns, mono_ns, synchronised=self._clock.is_synchronised()
        )
        self.ok, now.clock_level = verdict.believed, verdict.level
        if verdict.believed:
            self._store.remember_time(wall_ns)
            self._believed_ns = (wall_ns, mono_ns)
            now.troubles.pop("clock", None)
        else:
            now.troubles["clock"] = f"not believed: {verdict.reason}"

    def cards_ns(self) -> int:
        """Return the time that cards must be good at; a clock set back opens none."""
        return max(self._clock.now_ns(), self.past_ns())

    def told(self, time_ns: int) -> None:
        """Take the fleet's word for what time it is, or later: it was signed for us."""
        self._told_ns = (time_ns, self._clock.monotonic_ns())
        if not self.ok:
            self._believed_ns = self._told_ns

    def forget(self) -> None:
        """Take the fleet's word back: the keys that gave it are its keys no more."""
        self._told_ns = None
        if not self.ok:
            self._believed_ns = (self.own_ns(), self._clock.monotonic_ns())

    def known_ns(self) -> int | None:
        """Return a time that may be believed, at least; None where there is none."""
        if not self.ok and self._told_ns is None:
            return None
        return max(self.own_ns(), self.fleet_ns())

    def past_ns(self) -> int:
        """Return the latest time that is known to be past, believed or not."""
        return max(self._store.clock_floor_ns, self.fleet_ns())

    def own_ns(self) -> int:
        """Return the latest time known to be past without the fleet's word."""
        floor_ns = self._store.clock_floor_ns
        return max(self._clock.now_ns(), floor_ns) if self.ok else floor_ns

    def fleet_ns(self) -> int:
        """Return the time that the fleet told, and what passed since; 0: none."""
        if self._told_ns is None:
            return 0
        time_ns, mono_ns = self._told_ns
        return time_ns + self._clock.monotonic_ns() - mono_ns

    def dated(self, commit: Commit) -> Commit:
        """Let retained data expire by a time that is believed, not by a wrong clock."""
        if self.ok or not commit.retained:
            return commit
        wall_ns, mono_ns = self._believed_ns
        estimate_ns = wall_ns + self._clock.monotonic_ns() - mono_ns
        wrong_ns = estimate_ns - self._clock.now_ns()
        moved = (
            replace(r, expires_ns=r.expires_ns + wrong_ns) for r in commit.retained
        )
        return replace(commit, retained=tuple(moved))


class LinkWatch:
    """Says which polled links do not answer."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._seen: dict[str, tuple[int, int]] = {}

    def look(self, pollers: Iterable[ModbusPoller], now: Now) -> None:
        """Compare each link's counts with the last look."""
        for poller in pollers:
            told = poller.statistics()
            answers = told.replies + told.exceptions
            silences = told.timeouts + told.malformed + told.connects_failed
            before = self._seen.get(poller.name, (0, 0))
            self._seen[poller.name] = (answers, silences)
            if answers > before[0]:
                now.troubles.pop(poller.name, None)
            elif silences > before[1]:
                now.troubles[poller.name] = "no answer"
