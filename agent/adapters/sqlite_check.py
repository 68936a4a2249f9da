"""Is this our database, and is it whole? A quick check for every start, a deep one.

``check_quick`` costs one pass over the narrow indexes. ``check_deep`` reads every byte
(``sluicegate doctor``, and the start after damage was met).
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from agent.adapters.sqlite_change import retained_checksum
from agent.adapters.sqlite_connection import Damaged, connect, translated
from agent.adapters.sqlite_prune import beginning_of, first_entry, tree_of
from agent.adapters.sqlite_sending import record_of
from agent.errors import BadInput, Unavailable
from agent.records import RetainedRecord
from agent.store.accounting import State
from agent.store.documents import is_whole
from agent.store.schema import (
    APPLICATION_ID,
    RETAINED_COLUMNS,
    SCHEMA_VERSION,
    SPOOL_COLUMNS,
    STATE_COLUMNS,
    TABLES,
)
from protocols.tlog.tree import frontier, leaf_hash

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.adapters.sqlite_connection import Connection
    from protocols.tlog.tree import Growth

_STATE = f"SELECT {', '.join(STATE_COLUMNS)} FROM state WHERE id = 1"  # noqa: S608  # our own column names
# Answered from the narrow indexes alone: no blob page is read.
_SPOOL_SUM = (
    "SELECT count(*), ifnull(sum(size), 0), ifnull(max(row), 0)"
    " FROM spool INDEXED BY spool_order WHERE rank >= 0"
)
_RETAINED_SUM = (
    "SELECT count(*), ifnull(sum(size), 0), ifnull(max(row), 0)"
    " FROM retained INDEXED BY retained_order WHERE row >= 0"
)


@contextlib.contextmanager
def _finding() -> Iterator[None]:
    """Tell an unreadable page from a disk or a lock that is in the way."""
    try:
        yield
    except sqlite3.Error as error:
        ours = translated(error, "check")
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if code in {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_IOERR_SHORT_READ}:
            raise Damaged(f"check: {error}") from None
        raise ours from None


def check_quick(connection: Connection) -> tuple[State, Growth]:
    """Return the sums and the tree's frontier of a database that looks whole.

    Raises:
        Damaged: with the first thing that is wrong.
    """
    database = connection.raw
    with _finding():
        _check_size(database, connection.path)
        state = read_state(database)
        _check_sums(database, state)
        return state, _check_tree(database, state)


def check_identity(path: Path) -> None:
    """Refuse a file that is not ours before anything writes to it.

    Raises:
        Damaged: it was ours, or never a database.
        BadInput: it is another program's, or a newer version's.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise Unavailable("store", f"{path.name}: {error.strerror}") from None
    if size == 0:  # SQLite would take it for a new database
        raise Damaged("the file is empty")
    with _finding(), contextlib.closing(connect(path, read_only=True)) as database:
        _identify(database, path)


def _identify(database: sqlite3.Connection, path: Path) -> None:
    found = {
        row[0]
        for row in database.execute("SELECT sql FROM sqlite_schema WHERE sql NOTNULL")
    }
    application = _number(database, "PRAGMA application_id")
    version = _number(database, "PRAGMA user_version")
    ours = found == set(TABLES)
    if application != APPLICATION_ID:
        if found and not found & set(TABLES):
            raise BadInput(str(path), "", "a database of another program")
        raise Damaged("the application id is not ours")
    if version != SCHEMA_VERSION:
        if version > SCHEMA_VERSION and not ours:
            reason = f"schema {version}; this version knows {SCHEMA_VERSION}"
            hint = "install the newer version again; the file is as it was"
            raise BadInput(str(path), "", reason, hint)
        raise Damaged(f"schema version {version}")
    if not ours:
        raise Damaged("the schema is not ours")


def _check_size(database: sqlite3.Connection, path: Path) -> None:
    """Fold the log in, then compare the file's length with what it should hold."""
    busy, _, _ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    expected = _number(database, "PRAGMA page_count") * _number(
        database, "PRAGMA page_size"
    )
    try:
        size = path.stat().st_size
    except OSError as error:
        raise Unavailable("store", f"{path.name}: {error.strerror}") from None
    if not busy and size != expected:
        raise Damaged(f"{size} bytes long, not {expected}")


def _number(database: sqlite3.Connection, query: str) -> int:
    row = database.execute(query).fetchone()
    return int(row[0]) if row and isinstance(row[0], int) else -1


def read_state(database: sqlite3.Connection) -> State:
    """Return the row of sums; Damaged where it is absent or cannot be true."""
    row = database.execute(_STATE).fetchone()
    if row is None:
        raise Damaged("the row of sums is missing")
    state = State(*row)
    numbers = [value for value in row if isinstance(value, int)]
    lengths = (len(state.log_id), len(state.root))
    if len(numbers) != len(row) - 2 or min(numbers) < 0 or lengths != (8, 32):
        raise Damaged("the row of sums cannot be true")
    return state


def _check_sums(database: sqlite3.Connection, state: State) -> None:
    spool = database.execute(_SPOOL_SUM).fetchone()
    retained = database.execute(_RETAINED_SUM).fetchone()
    if spool[:2] != (state.spool_records, state.spool_bytes):
        raise Damaged(f"spool of {spool[:2]}, not {state.spool_records} records")
    if retained[:2] != (state.retained_records, state.retained_bytes):
        raise Damaged("retained data do not add up")
    if max(spool[2], retained[2]) >= state.next_row:
        raise Damaged("row numbers do not add up")


def _check_tree(database: sqlite3.Connection, state: State) -> Growth:
    last = database.execute("SELECT ifnull(max(position), -1) FROM entries").fetchone()
    if last[0] + 1 != state.evidence_size or state.evidence_sent > state.evidence_size:
        raise Damaged(f"{last[0] + 1} evidence entries, not {state.evidence_size}")
    first = first_entry(database, state.evidence_size)
    pruned = beginning_of(database, state.log_id).size
    if first != pruned:
        raise Damaged(f"the evidence log begins at entry {first}, not {pruned}")
    growth = tree_of(database, state.evidence_size)
    if growth.root() != state.root:
        raise Damaged("the tree's root is not the committed one")
    signed = database.execute(
        "SELECT size, root FROM checkpoints ORDER BY size DESC LIMIT 1"
    ).fetchone()
    if signed is not None:
        size, root = signed
        if size > state.evidence_size or tree_of(database, size).root() != root:
            raise Damaged(f"the tree does not hold the checkpoint of size {size}")
    return growth


def check_deep(database: sqlite3.Connection) -> list[str]:
    """Return all that is wrong: pages, indexes, every evidence entry and node.

    Changed bytes of a spooled message are not among it: they are found, counted and
    removed when the message is read (see `check_all` for those).
    """
    try:
        rows = database.execute("PRAGMA integrity_check(20)").fetchall()
        problems = [str(row[0]) for row in rows if row[0] != "ok"]
        return problems or _check_entries(database)
    except (sqlite3.Error, Damaged) as error:
        return [f"integrity check: {error}"]


def _check_entries(database: sqlite3.Connection) -> list[str]:
    state = read_state(database)
    growth = beginning_of(database, state.log_id)
    signed = dict(database.execute("SELECT size, root FROM checkpoints").fetchall())
    nodes = len(frontier(growth.size))
    if growth.size in signed and signed[growth.size] != growth.root():
        return [f"what is pruned has not the root signed at {growth.size}"]
    for position, body in database.execute(
        "SELECT position, body FROM entries ORDER BY position"
    ):
        if position != growth.size:
            return [f"evidence entry {growth.size} is missing"]
        for level, place, digest in growth.append([leaf_hash(body)]):
            nodes += 1
            found = database.execute(
                "SELECT hash FROM nodes WHERE level = ? AND position = ?",
                (level, place),
            ).fetchone()
            if found is None or found[0] != digest:
                return [f"evidence entry {position}: tree node {level, place} differs"]
        if growth.size in signed and signed[growth.size] != growth.root():
            return [f"the entries do not give the root signed at {growth.size}"]
    if growth.root() != state.root:
        return ["the entries do not give the committed root"]
    stored = _number(database, "SELECT count(*) FROM nodes")
    return [] if stored == nodes else [f"{stored} tree nodes, not {nodes}"]


def check_all(path: Path) -> list[str]:
    """Check every byte of the store at ``path``.

    Reads only; may run while the daemon does. Returns one line per problem.
    """
    return check_pages(path) or check_records(path)


def check_pages(path: Path) -> list[str]:
    """Check what the next start would salvage: pages, sums, evidence, tree."""
    try:
        database = connect(path, read_only=True)
    except (Damaged, Unavailable) as error:
        return [str(error)]
    with contextlib.closing(database):
        return check_deep(database)


def check_records(path: Path) -> list[str]:
    """Check what is looked at when it is used: messages, retained data, documents."""
    try:
        with contextlib.closing(connect(path, read_only=True)) as database:
            return [
                *_changed_spool(database),
                *_changed_retained(database),
                *_changed_documents(database),
            ]
    except (Damaged, Unavailable) as error:
        return [str(error)]
    except sqlite3.Error as error:
        return [f"integrity check: {error}"]


class StoredDocuments:
    """The documents of a store that may be in use: read, and nothing else."""

    def __init__(self, path: Path) -> None:
        """Read all of them; Damaged or Unavailable where that cannot be."""
        with contextlib.closing(connect(path, read_only=True)) as database, _finding():
            rows = database.execute("SELECT name, body FROM documents").fetchall()
        self._bodies = {str(name): bytes(body) for name, body in rows}

    def document(self, name: str) -> bytes | None:
        """Return a document; None where there is none."""
        return self._bodies.get(name)


def _changed_spool(database: sqlite3.Connection) -> list[str]:
    bad = sum(
        record_of(row) is None
        for row in database.execute(f"SELECT {SPOOL_COLUMNS} FROM spool")  # noqa: S608  # our own column names
    )
    return [f"{bad} spooled messages have changed bytes"] if bad else []


def _changed_retained(database: sqlite3.Connection) -> list[str]:
    bad = sum(
        retained_of(row) is None
        for row in database.execute(f"SELECT {RETAINED_COLUMNS} FROM retained")  # noqa: S608  # our own column names
    )
    return [f"{bad} retained records have changed bytes"] if bad else []


def _changed_documents(database: sqlite3.Connection) -> list[str]:
    return [
        f"document {name} has changed bytes"
        for name, body in database.execute("SELECT name, body FROM documents")
        if not is_whole(name, bytes(body))
    ]


def retained_of(values: tuple[object, ...]) -> RetainedRecord | None:
    """Return the record of a row's ``RETAINED_COLUMNS``; None where its sum lies."""
    category, label, epoch, sequence, created, expires, samples, _, crc, body = values
    record = RetainedRecord(
        str(category),
        label if isinstance(label, int) else -1,
        epoch if isinstance(epoch, bytes) else b"",
        sequence if isinstance(sequence, int) else -1,
        created if isinstance(created, int) else -1,
        expires if isinstance(expires, int) else -1,
        body if isinstance(body, bytes) else b"",
        samples if isinstance(samples, int) else -1,
    )
    return record if retained_checksum(record) == crc else None
