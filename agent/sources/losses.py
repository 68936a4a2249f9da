"""What the sources lost so far, by cause, and what of it no record has told yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Losses:
    """Gathers rising counters; ``grown`` gives what to record as evidence."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._counters: dict[str, Callable[[], int]] = {}
        self._told: dict[str, int] = {}

    def watch(self, cause: str, counter: Callable[[], int]) -> None:
        """Watch a counter that only rises."""
        self._counters[cause] = counter

    def totals(self) -> dict[str, int]:
        """Return every counter above zero."""
        now = {cause: counter() for cause, counter in self._counters.items()}
        return {cause: count for cause, count in now.items() if count}

    def total(self) -> int:
        """Return the sum over all causes."""
        return sum(self.totals().values())

    def grown(self) -> list[tuple[str, int]]:
        """Return (cause, growth) since the last call."""
        rows = []
        for cause, count in self.totals().items():
            more = count - self._told.get(cause, 0)
            if more > 0:
                rows.append((cause, more))
                self._told[cause] = count
        return rows
