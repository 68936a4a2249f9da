"""The system's clock, and how far it may be believed.

``ClockConfidence`` is pure: numbers in, a verdict out. A gateway without a battery
behind its clock starts in 1970; one with a wrong clock may start years ahead, where
every policy has expired and every retention is over. Neither is believed.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from agent.adapters.timekeeping import Timekeeping

SECOND_NS: Final = 1_000_000_000
DAY_NS: Final = 86_400 * SECOND_NS
BUILD_FLOOR_NS: Final = 1_767_225_600 * SECOND_NS  # 2026-01-01T00:00:00Z
AHEAD_OF_BUILD_NS: Final = 5 * 365 * DAY_NS  # a first start later than this is odd
AHEAD_OF_FLOOR_NS: Final = 400 * DAY_NS  # a gateway that stood still for a year
JUMP_NS: Final = 2 * SECOND_NS  # slewing stays below 500 ppm; this is a step
JUMP_BELIEVED_NS: Final = DAY_NS  # without a time server, a larger step is not


class SystemClock:
    """Implements ``agent.ports.Clock``."""

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self._timekeeping = Timekeeping()

    def now_ns(self) -> int:
        """Return wall-clock ns since the epoch."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return monotonic ns; goes on while the machine sleeps."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def cpu_ns(self) -> int:
        """Return the CPU time of this process, ns."""
        return time.process_time_ns()

    async def sleep(self, seconds: float) -> None:
        """Wait; cancelled like any await."""
        await asyncio.sleep(seconds)

    def is_synchronised(self) -> bool:
        """Tell whether a time daemon (any) keeps the kernel's clock right."""
        return self._timekeeping.is_kept()


@dataclass(frozen=True, slots=True)
class ClockVerdict:
    """How far the wall clock is believed, and what it just did."""

    believed: bool
    reason: str  # one of a few fixed words: goes into telemetry
    jump_ns: int  # step since the last look, 0 where there was none

    @property
    def level(self) -> str:
        """Return what the state message says: ``high`` or ``low``."""
        return "high" if self.believed else "low"


class ClockConfidence:
    """Compares the wall clock with what is known to be past, and with itself."""

    def __init__(self, persisted_floor_ns: int) -> None:
        """``persisted_floor_ns``: the last believed time in the store, 0 for none."""
        self._floor_ns = max(BUILD_FLOOR_NS, persisted_floor_ns)
        self._ceiling_ns = (
            persisted_floor_ns + AHEAD_OF_FLOOR_NS
            if persisted_floor_ns >= BUILD_FLOOR_NS
            else BUILD_FLOOR_NS + AHEAD_OF_BUILD_NS
        )
        self._last: tuple[int, int] | None = None
        self._stepped = False  # a step that nobody has vouched for yet

    def look(
        self, now_ns: int, monotonic_ns: int, *, synchronised: bool
    ) -> ClockVerdict:
        """Return the verdict at this moment; call it once per batch or so.

        A time server is believed about where in the future we are, never about a
        time that is known to be past: that would open expired permissions again.
        """
        jump_ns = self._jump(now_ns, monotonic_ns)
        self._last = (now_ns, monotonic_ns)
        if abs(jump_ns) > JUMP_BELIEVED_NS:
            self._stepped = True
        if synchronised:
            self._stepped = False
        if now_ns < self._floor_ns:
            return ClockVerdict(False, "before known past", jump_ns)
        if now_ns > self._ceiling_ns and not synchronised:
            return ClockVerdict(False, "far in the future", jump_ns)
        if self._stepped:
            return ClockVerdict(False, "stepped", jump_ns)
        # What was believed is past now; small steps back stay within the tolerance.
        self._floor_ns = max(self._floor_ns, now_ns - JUMP_BELIEVED_NS)
        self._ceiling_ns = max(self._ceiling_ns, now_ns + AHEAD_OF_FLOOR_NS)
        return ClockVerdict(True, "plausible", jump_ns)

    def _jump(self, now_ns: int, monotonic_ns: int) -> int:
        if self._last is None:
            return 0
        wall, monotonic = self._last
        drift = (now_ns - wall) - (monotonic_ns - monotonic)
        return drift if abs(drift) > JUMP_NS else 0
