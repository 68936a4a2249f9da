"""Opening the store: create, check cheaply, set a damaged file aside and go on.

The quick check reads header, schema, sums and the tree's frontier, never the blobs, so
that 2 GB open in the time of one index. What it cannot see is found when it is read:
the writer then leaves a mark, and the next open checks everything.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.adapters.sqlite_aside import mark_whole, tidy
from agent.adapters.sqlite_check import check_deep, check_identity, check_quick
from agent.adapters.sqlite_connection import (
    STORE,
    Connection,
    Damaged,
    suspect_mark,
    translated,
)
from agent.adapters.sqlite_files import (
    FileLock,
    companion,
    finish_swap,
    free_name,
    remove,
    swap_in,
)
from agent.adapters.sqlite_salvage import salvage
from agent.adapters.sqlite_store import SqliteStore
from agent.errors import Unavailable
from agent.store.aside import is_whole
from agent.store.schema import (
    APPLICATION_ID,
    PAGE_BYTES,
    SCHEMA_VERSION,
    STATE_COLUMNS,
    TABLES,
)
from protocols.tlog.tree import EMPTY_ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.adapters.sqlite_change import Witness
    from agent.store.salvage import Break

LOG_ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """Caps, and how the store says what it lost (it cannot encode entries itself)."""

    spool_bytes_max: int
    retained_bytes_max: int
    witness: Witness  # (cause, evictions) -> encoded entry
    broken: Callable[[Break], bytes]  # what was found damaged -> encoded entry


def open_store(path: Path, options: StoreOptions) -> SqliteStore:
    """Open or make the store at ``path``; one process at a time.

    Raises:
        Unavailable: locked, read-only, no space, no folder: nothing was changed.
        BadInput: a database of another program, or of a newer version of ours.
    """
    with contextlib.ExitStack() as undo:
        lock = FileLock(path)
        undo.callback(lock.release)
        store = _open(path, options, lock)
        undo.pop_all()
    return store


def _open(path: Path, options: StoreOptions, lock: FileLock) -> SqliteStore:
    new = companion(path, ".new")
    if not finish_swap(path):
        remove(new)
    if not path.exists():
        create(new, secrets.token_bytes(LOG_ID_BYTES)).close()
        swap_in(new, path, free_name(path))
    found: Break | None = None
    try:
        store = _load(path, options, lock)
    except Damaged as damage:
        aside = free_name(path)
        log_id = secrets.token_bytes(LOG_ID_BYTES)
        fresh = create(new, log_id)
        try:
            found = salvage(path, fresh, str(damage), aside.name, options.broken)
        finally:
            fresh.close()
        swap_in(new, path, aside)
        if is_whole(found):
            mark_whole(aside)
        try:
            store = _load(path, options, lock)
        except Damaged as again:
            raise Unavailable(STORE, f"a new database is damaged: {again}") from None
    with contextlib.suppress(OSError):  # checked twice does no harm
        suspect_mark(path).unlink(missing_ok=True)
    store.broken = found
    with contextlib.suppress(Unavailable):  # no room to tell it: the next start will
        tidy(path, store)
    return store


def _load(path: Path, options: StoreOptions, lock: FileLock) -> SqliteStore:
    check_identity(path)
    with contextlib.ExitStack() as undo:
        connection = Connection(path)
        undo.callback(connection.close)
        state, growth = check_quick(connection)
        if suspect_mark(path).exists():
            _refuse(check_deep(connection.raw))
        undo.pop_all()
    caps = (options.spool_bytes_max, options.retained_bytes_max)
    return SqliteStore(connection, state, growth, caps, options.witness, lock)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise Damaged(problems[0])


def create(path: Path, log_id: bytes) -> Connection:
    """Make an empty database at ``path``, readable by its owner only."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise Unavailable(STORE, f"{path.name}: {error.strerror}") from None
    raw = sqlite3.connect(path)
    try:
        raw.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        raw.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        raw.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except sqlite3.Error as error:
        raise Unavailable(STORE, f"create: {error}") from None
    finally:
        raw.close()
    try:
        connection = Connection(path)
        with connection.writing("create") as database:
            for statement in TABLES:
                database.execute(statement)
            values = dict.fromkeys(STATE_COLUMNS, 0) | {
                "log_id": log_id,
                "root": EMPTY_ROOT,
                "next_row": 1,
            }
            marks = ", ".join("?" for _ in STATE_COLUMNS)
            database.execute(
                f"INSERT INTO state VALUES (1, {marks})",  # noqa: S608  # marks only
                list(values.values()),
            )
        connection.raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise translated(error, "create") from None
    except Damaged as error:
        raise Unavailable(STORE, f"create: {error}") from None
    return connection
