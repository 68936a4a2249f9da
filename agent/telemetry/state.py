"""Hours of autonomy and the other figures that the retained state carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agent.records import StoreStatistics

RATE_WINDOW_S: Final = 300.0
RATE_MIN: Final = 1e-9  # bytes a second
HOURS_MAX: Final = 1e6  # a century


class Autonomy:
    """How long the spool lasts at the rate at which it was filled lately."""

    def __init__(self) -> None:
        """Start without a rate: autonomy is unknown (-1) until the first sample."""
        self._bytes = 0.0  # bytes made within the window; exponential forgetting
        self._seconds = 0.0

    def made(self, size_bytes: int, seconds: float) -> None:
        """Count what was committed in the last ``seconds``."""
        keep = max(0.0, 1.0 - seconds / RATE_WINDOW_S)
        self._bytes = self._bytes * keep + size_bytes
        self._seconds = self._seconds * keep + seconds

    def hours(self, store: StoreStatistics) -> float:
        """Return hours until the byte cap bites with the uplink gone; -1 unknown."""
        if self._bytes <= 0 or self._seconds <= 0:
            return -1.0
        left = max(store.bytes_max - store.bytes_used, 0)
        # What is forgotten for days comes near zero, and no figure behind it is one.
        rate = max(self._bytes / self._seconds, RATE_MIN)
        return min(left / rate / 3600, HOURS_MAX)
