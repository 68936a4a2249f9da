"""The evidence log within the store: its transactions, and where it begins.

What is older than its retention is pruned from the front (``agent/store/retention.py``
says what may go). The tree stays: of what is gone the roots of its perfect subtrees are
kept, from which every later root and proof is made (RFC 6962).
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.adapters.sqlite_change import Change
from agent.adapters.sqlite_evidence import entries_since, root_of, stored_nodes
from agent.adapters.sqlite_prune import first_entry, prune

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence

    from agent.adapters.sqlite_change import Witness
    from agent.adapters.sqlite_connection import Connection
    from agent.records import Eviction
    from agent.store.accounting import State
    from agent.store.retention import Pruning
    from protocols.tlog.tree import Growth, Place


class Logbook:
    """What of the store is the log; ``SqliteStore`` is one."""

    def __init__(
        self,
        connection: Connection,
        state: State,
        growth: Growth,
        witness: Witness,
    ) -> None:
        """Take an opened, checked database."""
        self._connection = connection
        self._state = state
        self._growth = growth
        self._witness = witness
        self._clock_floor_ns = state.clock_floor_ns
        with connection.reading("oldest") as database:
            self._oldest_ns = _oldest_ns(database)
            self._first = first_entry(database, state.evidence_size)

    @contextlib.contextmanager
    def _changing(self, doing: str) -> Iterator[Change]:
        with self._connection.writing(doing) as database:
            change = Change(database, self._state, self._growth.copy(), self._witness)
            yield change
            floor = max(self._clock_floor_ns, change.state.clock_floor_ns)
            change.state = replace(change.state, clock_floor_ns=floor)
            change.save()
            oldest_ns = _oldest_ns(database)
        self._state, self._growth = change.state, change.growth
        self._oldest_ns = oldest_ns

    @property
    def clock_floor_ns(self) -> int:
        """Return the latest believed wall time that is known; 0 where none."""
        return self._clock_floor_ns

    def remember_time(self, now_ns: int) -> None:
        """Raise the clock floor (a believed wall time) with the next transaction."""
        self._clock_floor_ns = max(self._clock_floor_ns, now_ns)

    @property
    def log_id(self) -> bytes:
        """Return the 8 bytes that tell this log from one before a break."""
        return self._state.log_id

    def root(self) -> tuple[int, bytes]:
        """Return (size, RFC 6962 root) of what is committed."""
        return self._state.evidence_size, self._state.root

    @property
    def first(self) -> int:
        """Return the position of the first entry that is not pruned."""
        return self._first

    def evidence_since(self, start: int, limit: int) -> list[bytes]:
        """Return entries [start, start + limit); see `entries_since`.

        None where ``start`` is pruned.
        """
        if start < self._first:
            return []
        return entries_since(self._connection, start, limit)

    def evidence_receipted(self, size: int, root: bytes) -> bool:
        """Remember that the collector has the first ``size`` entries.

        False where it has another history than ours: ``root`` is not what our first
        ``size`` entries give, or there are not so many. Then nothing changes. Of what
        is pruned nobody can say; a collector had it once.
        """
        if size < self._first:
            return True
        if size > self._state.evidence_size or self.root_at(size) != root:
            return False
        if size > self._state.evidence_sent:
            with self._changing("evidence receipt") as change:
                change.state = replace(change.state, evidence_sent=size)
        return True

    def nodes(self, places: Sequence[Place]) -> dict[Place, bytes]:
        """Return the hashes of stored (level, index) nodes, without absent ones."""
        return stored_nodes(self._connection, places)

    def root_at(self, size: int) -> bytes:
        """Return the root of the first ``size`` entries: from `first` to all."""
        return root_of(self._connection, size)

    def tell(self, cause: str, gone: tuple[Eviction, ...]) -> None:
        """Put into evidence what goes beside the database, before it goes."""
        with self._changing("tell") as change:
            change.testify([self._witness(cause, gone)])

    def add_checkpoint(self, size: int, root: bytes, note: bytes) -> None:
        """Keep a signed checkpoint before it is published."""
        with self._changing("checkpoint"), self._connection.reading("checkpoint") as db:
            db.execute(
                "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?)",
                (size, root, note),
            )

    def last_checkpoint(self) -> tuple[int, bytes, bytes] | None:
        """Return (size, root, signed note) of the newest checkpoint."""
        with self._connection.reading("checkpoint") as database:
            row = database.execute(
                "SELECT size, root, note FROM checkpoints ORDER BY size DESC LIMIT 1"
            ).fetchone()
        return None if row is None else (int(row[0]), bytes(row[1]), bytes(row[2]))

    def prune(
        self, below: int, rows_max: int, told: Callable[[Pruning], bytes]
    ) -> Pruning | None:
        """Delete the oldest entries below position ``below``, one bounded step.

        Only up to a signed checkpoint whose entries a collector has receipted; at most
        ``rows_max`` entries. ``told``: the entry that says so, in this transaction.
        None where nothing may go.
        """
        below = self._signed_below(min(below, self._state.evidence_sent))
        end = min(below, self._first + rows_max)
        if end <= self._first:
            return None
        root = self.root_at(end)
        with self._changing("prune") as change, self._connection.reading("prune") as db:
            gone = prune(db, self._state.log_id, self._first, end, root)
            left = change.state.evidence_bytes - gone.size
            change.state = replace(change.state, evidence_bytes=left)
            change.testify([told(gone)])
        self._first = end
        return gone

    def _signed_below(self, size: int) -> int:
        with self._connection.reading("checkpoint") as database:
            row = database.execute(
                "SELECT ifnull(max(size), 0) FROM checkpoints WHERE size <= ?", (size,)
            ).fetchone()
        return int(row[0])


def _oldest_ns(database: sqlite3.Connection) -> int:
    row = database.execute("SELECT created_ns FROM spool ORDER BY row LIMIT 1")
    found = row.fetchone()
    return 0 if found is None else int(found[0])
