"""One SQLite connection, its pragmas, and SQLite's errors told in ours.

Contract kept here: what raises ``Unavailable`` has not happened (the transaction was
rolled back); what raises ``Fatal`` may have, or the file is damaged. Only recovery, the
next open, can tell.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, Final

from agent.errors import Fatal, Unavailable
from agent.limits import WAL_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STORE: Final = "store"
BUSY_MS: Final = 2000
CACHE_KIB: Final = 8192  # memory stays flat whatever the backlog
WAL_PAGES: Final = 1024  # 8 MiB of log before it is folded in
DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
# After a failed fsync nobody knows what is on the disk (fsync(2), PostgreSQL 2018).
UNKNOWN: Final = (
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_DIR_FSYNC,
)
NO_SPACE: Final = "no space left on the device"
BROKEN: Final = "the disk failed to read or write"
REASONS: Final = {
    sqlite3.SQLITE_FULL: NO_SPACE,
    sqlite3.SQLITE_BUSY: "in use by another process",
    sqlite3.SQLITE_LOCKED: "in use by another connection",
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened or created",
    sqlite3.SQLITE_PERM: "no permission",
    sqlite3.SQLITE_NOMEM: "no memory",
    sqlite3.SQLITE_IOERR: BROKEN,
}


class Damaged(Exception):  # said like Refused and Unavailable
    """What is in the file is not what was written; caught by the opener."""


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open ``path`` (which exists); Unavailable or Damaged where it cannot be."""
    mode = "ro" if read_only else "rw"
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,  # BEGIN and COMMIT are ours alone
            check_same_thread=False,  # made at start, then used by one worker thread
            timeout=BUSY_MS / 1000,
            cached_statements=256,
        )
    except sqlite3.Error as error:
        raise translated(error, "open") from None
    # A flipped bit in a text must reach the row's checksum, not end in a decode error.
    connection.text_factory = _text
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("PRAGMA mmap_size = 0")
        connection.execute("PRAGMA temp_store = MEMORY")  # what is held on a trial
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            # zeroes within pages that are written anyway; `expire` zeroes all it frees
            connection.execute("PRAGMA secure_delete = FAST")
            connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_MAX}")
    except UnicodeDecodeError:  # the message quotes a name of a damaged schema
        connection.close()
        raise Damaged("open: the schema is damaged") from None
    except sqlite3.Error as error:
        connection.close()
        raise translated(error, "open") from None
    return connection


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "replace")


def translated(error: sqlite3.Error, doing: str) -> Unavailable | Damaged:
    """Return ours for SQLite's; only for errors after which nothing has happened."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    primary = code & 0xFF
    if primary in DAMAGE or code == sqlite3.SQLITE_IOERR_SHORT_READ:
        return Damaged(f"{doing}: {error}")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    reason = REASONS.get(primary, str(error))
    return Unavailable(STORE, f"{doing}: {reason} ({name})")


class Connection:
    """The writer's connection: transactions that either happened or say so."""

    def __init__(self, path: Path) -> None:
        """Open the database at ``path``; Unavailable, Damaged as `connect`."""
        self.path = path
        self.raw = connect(path)
        self._fatal: Fatal | None = None  # once our state is unknown it stays unknown

    @contextlib.contextmanager
    def reading(self, doing: str) -> Iterator[sqlite3.Connection]:
        """Run queries; a damaged page raises Fatal and leaves a mark for the opener."""
        self._still_known()
        try:
            yield self.raw
        except sqlite3.Error as error:
            raise self._given(error, doing) from None

    @contextlib.contextmanager
    def writing(self, doing: str) -> Iterator[sqlite3.Connection]:
        """Run one transaction: committed and on the disk when the block is left."""
        self._still_known()
        try:
            self.raw.execute("BEGIN IMMEDIATE")
            yield self.raw
            self._commit(doing)
        except sqlite3.Error as error:
            raise self._given(error, doing) from None
        finally:
            self._rollback()  # of whatever ended before its COMMIT

    @contextlib.contextmanager
    def erasing(self) -> Iterator[None]:
        """Overwrite what is freed meanwhile; no old page image stays in the log."""
        with self.reading("erase") as database:
            database.execute("PRAGMA secure_delete = ON")
        try:
            yield
        finally:
            with self.reading("erase") as database:
                database.execute("PRAGMA secure_delete = FAST")
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def spare_bytes(self) -> tuple[int, int]:
        """Return bytes of the file's empty pages, and of the log's file."""
        with self.reading("measure") as database:
            pages: int = database.execute("PRAGMA freelist_count").fetchone()[0]
            size: int = database.execute("PRAGMA page_size").fetchone()[0]
        log = self.path.with_name(f"{self.path.name}-wal")
        try:
            return pages * size, log.stat().st_size
        except OSError:
            return pages * size, 0

    def _commit(self, doing: str) -> None:
        try:
            self.raw.execute("COMMIT")
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) in UNKNOWN:
                self._fatal = Fatal(f"{STORE}: {doing}: fsync failed: {error}")
                raise self._fatal from None
            raise

    def _given(self, error: sqlite3.Error, doing: str) -> Unavailable | Fatal:
        ours = translated(error, doing)
        if isinstance(ours, Unavailable):
            return ours
        return self.found_damaged(str(ours))

    def found_damaged(self, reason: str) -> Fatal:
        """Note damage for the next open; return the error that the caller raises."""
        mark_suspect(self.path)
        self._fatal = Fatal(f"{STORE}: {reason}; checked in full at the next start")
        return self._fatal

    def _still_known(self) -> None:
        if self._fatal is not None:
            raise Fatal(str(self._fatal))

    def _rollback(self) -> None:
        if self.raw.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # the first error is the one told
                self.raw.execute("ROLLBACK")

    def close(self) -> None:
        """Close; the log is folded in when nobody else reads."""
        with contextlib.suppress(sqlite3.Error):  # committed data is safe in the log
            self.raw.close()


def suspect_mark(path: Path) -> Path:
    """Return the file whose presence makes the next open check everything."""
    return path.with_name(f"{path.name}.suspect")


def mark_suspect(path: Path) -> None:
    """Ask for a full check at the next open; best effort on a failing disk."""
    with contextlib.suppress(OSError):
        suspect_mark(path).touch(mode=0o600)


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` durable; Unavailable where that fails."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise Unavailable(STORE, f"{folder.name}: {error.strerror}") from None
