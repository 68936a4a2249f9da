"""Marks that tasks leave behind them, so that the pulse sees who still moves.

A task says once which part of the daemon it is; tasks that it starts are the same part.
While it waits for another part (the store's thread, a turn, a pause) it is not judged:
the one that it waits for is.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from agent.vitals import Sign

if TYPE_CHECKING:
    from collections.abc import Iterator

PART: Final[ContextVar[str]] = ContextVar("part", default="")


class Moves:
    """Steps and waits of all parts; used in the event loop's thread only."""

    def __init__(self) -> None:
        """Nobody has moved yet."""
        self._steps: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()

    def step(self) -> None:
        """Say that the part of the running task has done something."""
        self._steps[PART.get()] += 1

    @contextlib.contextmanager
    def waits(self) -> Iterator[None]:
        """Say that the part of the running task waits for another; then it moves."""
        part = PART.get()
        self._waiting[part] += 1
        try:
            yield
        finally:
            self._waiting[part] -= 1
            self._steps[part] += 1

    def sign(self, part: str, patience_s: float, *, due: bool = True) -> Sign:
        """Return what a part shows now; ``due``: it has something to do at all."""
        is_due = due and not self._waiting[part]
        return Sign(part, self._steps[part], is_due, patience_s)


def begin(part: str) -> None:
    """Say which part of the daemon the running task is."""
    PART.set(part)
