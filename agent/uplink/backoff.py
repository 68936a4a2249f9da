"""How long to wait before the next attempt: exponential, with full jitter. Pure.

Full jitter (a uniform draw between 0 and the ceiling) spreads a fleet that lost its
broker at one instant best (Brooker, "Exponential Backoff and Jitter", AWS 2015).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

BASE_S: Final = 0.5
CEILING_S: Final = 60.0
STEADY_S: Final = 30.0  # a connection that lived this long clears the count
FLOOR_S: Final = 0.05  # a draw of 0 must not become a busy loop


class Backoff:
    """Counts failures; ``draw`` gives uniform numbers in [0, 1)."""

    def __init__(
        self,
        draw: Callable[[], float],
        base_s: float = BASE_S,
        ceiling_s: float = CEILING_S,
    ) -> None:
        """Start with no failure counted."""
        self._draw = draw
        self._base_s = base_s
        self._ceiling_s = ceiling_s
        self._failures = 0

    def next_s(self) -> float:
        """Count a failure and return the seconds to wait."""
        # 2**32 is past every ceiling; the bound keeps the power finite.
        ceiling = min(self._ceiling_s, self._base_s * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return max(FLOOR_S, self._draw() * ceiling)

    def lived(self, seconds: float) -> None:
        """Tell how long a connection lived; only a steady one clears the count.

        A broker that accepts and drops at once is not hammered.
        """
        if seconds >= STEADY_S:
            self._failures = 0
