"""When a certificate is to be renewed, and when its end is a trouble. Pure.

At two thirds of its validity the next one is asked for; from there on it is asked for
again, ever the same, until it comes. With a third of that last third gone, people are
told. A device that was off wakes up late and asks at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SECOND_NS: Final = 1_000_000_000
DAY_NS: Final = 86_400 * SECOND_NS
PAUSE_NS: Final = (60 * SECOND_NS, DAY_NS)  # between two requests: at least, at most
PAUSES: Final = 100  # of one validity; 90 days: every 22 hours


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Of one certificate; ns since the epoch, as its issuer wrote them."""

    not_before_ns: int
    not_after_ns: int

    @property
    def whole_ns(self) -> int:
        """Return the validity, never negative."""
        return max(self.not_after_ns - self.not_before_ns, 0)

    @property
    def renew_ns(self) -> int:
        """Return from when on the next one is asked for: two thirds."""
        return self.not_before_ns + self.whole_ns * 2 // 3

    @property
    def worry_ns(self) -> int:
        """Return from when on it is a trouble that none has come: seven ninths."""
        return self.not_before_ns + self.whole_ns * 7 // 9

    @property
    def pause_ns(self) -> int:
        """Return how long to wait for an answer before asking again."""
        return min(max(self.whole_ns // PAUSES, PAUSE_NS[0]), PAUSE_NS[1])

    def days_left(self, now_ns: int) -> float:
        """Return days until it ends; negative where it has."""
        return (self.not_after_ns - now_ns) / DAY_NS

    def trouble(self, now_ns: int, why: str) -> str:
        """Return what people are told, "" while all is well; ``why``: none has come."""
        if now_ns >= self.not_after_ns:
            return f"has expired: {why}"
        if now_ns >= self.worry_ns:
            return f"{self.days_left(now_ns):.1f} days left: {why}"
        return ""
