"""How much of something may happen in a time: a bucket of tokens. Pure."""

from __future__ import annotations


class Budget:
    """``burst`` at once, and one more every ``refill_ns``."""

    def __init__(self, burst: int, refill_ns: int) -> None:
        """Start with a full bucket."""
        self._burst = burst
        self._refill_ns = refill_ns
        self._left = burst
        self._filled_ns: int | None = None  # monotonic: when the last token came
        self.refused = 0  # since the last one that was granted

    def spend(self, now_ns: int) -> bool:
        """Take a token at ``now_ns`` (monotonic); False where there is none."""
        since_ns = now_ns if self._filled_ns is None else self._filled_ns
        fresh = (now_ns - since_ns) // self._refill_ns
        self._left = min(self._burst, self._left + fresh)
        self._filled_ns = since_ns + fresh * self._refill_ns
        if not self._left:
            self.refused += 1
            return False
        self._left -= 1
        return True
