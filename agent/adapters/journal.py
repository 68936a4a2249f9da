"""Gives evidence entries their numbers, in the store's thread, at their transaction.

The flow, the clockwork, a reload and the store itself all make entries. Whichever is
committed first comes first; what a full disk rolled back leaves no gap. So the number
is not given where an entry is made but where it becomes durable: here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from agent.evidence import numbered

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.adapters.sqlite_store import SqliteStore
    from agent.evidence import Evidence
    from agent.ports import Clock
    from agent.records import Commit, Eviction
    from agent.store.retention import Pruning
    from agent.store.salvage import Break

P = ParamSpec("P")
T = TypeVar("T")


class Journal:
    """The entries of one boot. All but ``attach`` is called in the store's thread."""

    def __init__(self, evidence: Evidence, clock: Clock) -> None:
        """Start before the store is open: opening may have something to tell."""
        self._evidence = evidence
        self._clock = clock
        self._next = 0
        self._base = 0  # entries of earlier boots
        self._store: SqliteStore | None = None

    def attach(self, store: SqliteStore) -> None:
        """Take the open store; what opening told (a break) is this boot's first."""
        self._store = store
        self._base = store.root()[0] - self._next

    def witness(self, cause: str, lost: tuple[Eviction, ...]) -> bytes:
        """Return the entry of what the store lets go of, within its transaction."""
        self._next += 1
        now_ns = self._clock.now_ns()
        return self._evidence.let_go(now_ns, cause, lost, self._next - 1)

    def pruned(self, gone: Pruning, keep_days: int) -> bytes:
        """Return the entry of what was pruned, within its transaction."""
        self._next += 1
        now_ns = self._clock.now_ns()
        return self._evidence.pruned(now_ns, gone, keep_days, self._next - 1)

    def broken(self, found: Break) -> bytes:
        """Return the entry of a damaged store; called while it is opened."""
        self._next = 1
        return self._evidence.broken(self._clock.now_ns(), found)

    def size(self) -> int:
        """Return the size of the log: the position of the next entry."""
        assert self._store is not None
        return self._store.root()[0]

    def commit(self, commit: Commit) -> None:
        """Make a pass durable, its entries numbered; raises as ``Store.commit``."""
        assert self._store is not None
        first = self.size() - self._base
        self._next = first + len(commit.evidence)
        entries = numbered(commit.evidence, first)
        self._store.commit(replace(commit, evidence=entries))

    def call(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call something of the store that may tell a loss; raises as it does."""
        self._next = self.size() - self._base
        return call(*args, **kwargs)
