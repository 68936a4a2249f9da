"""What can be taken over from a damaged database into a new one.

Evidence goes on as the same log only under the rule of ``agent/store/salvage.py``.
Spooled and retained records are taken over one by one where their checksums hold, so
what was committed and can still be read is not lost; the rest is counted.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent.adapters.sqlite_change import Change
from agent.adapters.sqlite_check import read_state, retained_of
from agent.adapters.sqlite_connection import Connection, Damaged, connect
from agent.adapters.sqlite_prune import beginning_of
from agent.adapters.sqlite_sending import record_of
from agent.errors import Unavailable
from agent.store.documents import AGES, CHECKED, is_whole
from agent.store.salvage import UNKNOWN, Anchor, Break, may_continue
from agent.store.schema import RETAINED_COLUMNS, SPOOL_COLUMNS
from protocols.tlog.tree import EMPTY_ROOT, Growth, leaf_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agent.records import Eviction
    from agent.store.accounting import State

PAGE: Final = 32  # rows of up to 1 MiB in memory at a time
ENTRIES_A_PAGE: Final = 1024
STRIDE: Final = 1024  # rows tried one by one behind an unreadable one
# Every name that is kept, so that one unreadable row costs that row only.
DOCUMENTS: Final = ("run", "boots", "policy", *sorted(CHECKED))
NO_CAP: Final = 2**62  # the caps bite at the next commit, which also says so


def salvage(
    path: Path,
    fresh: Connection,
    reason: str,
    aside: str,
    broken: Callable[[Break], bytes],
) -> Break:
    """Fill ``fresh`` (new and empty) from the damaged ``path``; return what happened.

    The first entry behind what was kept is ``broken(result)``. One transaction:
    Unavailable (disk full) leaves the damaged file where it is, for the next start.
    """
    source = _Source(path)
    with contextlib.closing(source), fresh.writing("salvage") as database:
        state = read_state(database)
        change = Change(database, state, Growth(0, {}), _silent)
        old = source.state()
        continued, why = _take_entries(source, old, change)
        if not continued:
            _forget_entries(database, change)
        elif old is not None:
            change.state = replace(change.state, log_id=old.log_id)
        spool_kept, retained_kept = _take_records(source, old, change)
        if old is not None:
            _take_sums(source, old, change)
        result = Break(
            reason,
            aside,
            continued,
            why,
            change.state.log_id,
            change.growth.size,
            UNKNOWN if old is None else old.evidence_size - change.growth.size,
            spool_kept,
            UNKNOWN if old is None else old.spool_records - spool_kept,
            retained_kept,
            UNKNOWN if old is None else old.retained_records - retained_kept,
        )
        change.testify([broken(result)])
        if not continued:
            change.state = replace(change.state, evidence_sent=0)
        change.save()
    with fresh.reading("salvage") as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return result


def _silent(cause: str, lost: tuple[Eviction, ...]) -> bytes:
    """Stand in for the witness: nothing is evicted under no cap."""
    raise AssertionError(cause, lost)


def _take_entries(
    source: _Source, old: State | None, change: Change
) -> tuple[bool, str]:
    anchors = source.anchors()
    newest = max((a.size for a in anchors or ()), default=0)
    pruned = source.pruned(b"" if old is None else old.log_id)
    change.begin(pruned)
    roots = {0: EMPTY_ROOT, pruned.size: pruned.root()}
    for page in source.entries(pruned.size, newest):
        change.testify(page)
        roots[change.growth.size] = change.growth.root()
    receipted = None if old is None else old.evidence_sent
    return may_continue(change.growth.size, roots, anchors, receipted)


def _forget_entries(database: sqlite3.Connection, change: Change) -> None:
    database.execute("DELETE FROM entries")
    database.execute("DELETE FROM nodes")
    change.growth = Growth(0, {})
    change.state = replace(
        change.state, evidence_size=0, evidence_bytes=0, root=EMPTY_ROOT
    )


def _take_records(
    source: _Source, old: State | None, change: Change
) -> tuple[int, int]:
    last = NO_CAP if old is None else old.next_row
    for row in source.rows(f"SELECT row, {SPOOL_COLUMNS} FROM spool", last):  # noqa: S608  # our own column names
        record = record_of(row[1:])
        if record is not None:
            change.spool([record], NO_CAP)
    for row in source.rows(f"SELECT row, {RETAINED_COLUMNS} FROM retained", last):  # noqa: S608  # our own column names
        kept = retained_of(row[1:])
        if kept is not None:
            change.retain([kept], NO_CAP)
    return change.state.spool_records, change.state.retained_records


def _take_sums(source: _Source, old: State, change: Change) -> None:
    change.state = replace(
        change.state,
        evidence_sent=min(old.evidence_sent, change.growth.size),
        evicted_records=old.evicted_records,
        classified=old.classified,
        unclassified=old.unclassified,
        held=old.held,
        clock_floor_ns=old.clock_floor_ns,
    )
    documents = source.documents()
    if old.evidence_size != change.growth.size:  # what comes now is not as old as that
        documents.pop(AGES, None)
    change.keep(documents)
    tables = ["counters", "losses"]
    if change.growth.size:
        tables.append("checkpoints")
    for table in tables:
        source.copy(table, change)


class _Source:
    """A damaged database that is asked politely: what cannot be read is None."""

    def __init__(self, path: Path) -> None:
        self._database: sqlite3.Connection | None = None
        with contextlib.suppress(Damaged, Unavailable):
            self._database = connect(path, read_only=True)

    def close(self) -> None:
        if self._database is not None:
            self._database.close()

    def _ask(
        self, query: str, values: tuple[int | str, ...] = ()
    ) -> list[tuple[object, ...]] | None:
        """Return all rows, or None where one of them cannot be read."""
        if self._database is None:
            return None
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error:
            return None

    def state(self) -> State | None:
        if self._database is None:
            return None
        try:
            return read_state(self._database)
        except (sqlite3.Error, Damaged, TypeError):
            return None

    def anchors(self) -> list[Anchor] | None:
        rows = self._ask("SELECT size, root FROM checkpoints")
        if rows is None:
            return None
        return [
            Anchor(size, root)
            for size, root in rows
            if isinstance(size, int) and isinstance(root, bytes)
        ]

    def pruned(self, log_id: bytes) -> Growth:
        """Return the tree of what was pruned; of nothing where that cannot be told.

        Only the newest signed root vouches for it.
        """
        if self._database is not None and log_id:
            with contextlib.suppress(sqlite3.Error, Damaged):
                return beginning_of(self._database, log_id)
        return Growth(0, {})

    def entries(self, start: int, newest: int) -> Iterator[list[bytes]]:
        """Yield entries from ``start`` on without a gap; a page ends at ``newest``.

        Behind the newest signed size nothing vouches for an entry but its own leaf
        hash in the tree's table, so there that must be readable and right.
        """
        while True:
            end = start + ENTRIES_A_PAGE
            if start < newest:
                end = min(end, newest)
            page = self._entries(start, end, checked=start >= newest)
            if page:
                yield page
            if len(page) < end - start:
                return
            start = end

    def _entries(self, start: int, end: int, *, checked: bool) -> list[bytes]:
        page: list[bytes] = []
        for position in range(start, end):
            rows = self._ask("SELECT body FROM entries WHERE position = ?", (position,))
            if not rows or not isinstance(rows[0][0], bytes):
                break
            body = rows[0][0]
            if checked:
                query = "SELECT hash FROM nodes WHERE level = 0 AND position = ?"
                if self._ask(query, (position,)) != [(leaf_hash(body),)]:
                    break
            page.append(body)
        return page

    def rows(self, query: str, last: int) -> Iterator[tuple[object, ...]]:
        """Yield every row of ``query`` that can be read, by row number."""
        start = 0
        while start < last:
            page = self._ask(
                f"{query} WHERE row > ? ORDER BY row LIMIT {PAGE}", (start,)
            )
            if page is not None:
                yield from page
                if len(page) < PAGE:
                    return
                start = int(str(page[-1][0]))
                continue
            if last == NO_CAP:
                return  # nobody knows how far the rows go
            for row in range(start + 1, min(start + STRIDE, last) + 1):
                yield from self._ask(f"{query} WHERE row = ?", (row,)) or ()
            start += STRIDE

    def documents(self) -> dict[str, bytes]:
        """Return the documents that can be read and are what was kept, one by one."""
        found: dict[str, bytes] = {}
        others = self._ask("SELECT name FROM documents") or []
        for name in dict.fromkeys([*DOCUMENTS, *(str(row[0]) for row in others)]):
            rows = self._ask("SELECT body FROM documents WHERE name = ?", (name,))
            for (body,) in rows or ():
                if isinstance(body, bytes) and is_whole(name, body):
                    found[name] = body
        return found

    def copy(self, table: str, change: Change) -> None:
        """Copy a small table as a whole, or not at all."""
        rows = self._ask(f"SELECT * FROM {table}")  # noqa: S608  # one of three names
        if rows:
            change.insert(table, rows)
