"""The collector's ledger on SQLite: what came, what it said, what is missing.

One transaction per group of messages; receipts are made only from what is committed.
Every table is keyed by device, so that one ledger serves a fleet. ``batches`` holds
what was authenticated; ``unopened`` what could not be yet (its key did not come) or is
sealed to others, by digest, so that a forged one never stands in the way of a true one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from typing import TYPE_CHECKING, Final, TypeAlias

from fleet.errors import BadInput
from fleet.ledger_schema import APPLICATION_ID, SCHEMA, VERSION, Batch, Unopened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from fleet.opener import Column

FINDINGS_MAX: Final = 10_000  # beyond it, findings are counted under no device's name
SERIES_HELD: Final = 100_000  # ids in memory; the table has all of them
BUSY_MS: Final = 5_000

Series: TypeAlias = tuple[str, str, int, str, str, str, str, str, str]


class Ledger:
    """All that a collector knows. One writer; used by one thread at a time."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open or make the database; BadInput where the file is something else."""
        if read_only and not path.is_file():
            raise BadInput(str(path), "", "no such ledger")
        if not read_only:
            _create(path)
        try:
            name = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}"
            self._db = sqlite3.connect(
                name, isolation_level=None, uri=True, check_same_thread=False
            )
            self._prepare(str(path), read_only=read_only)
        except sqlite3.Error as error:
            raise BadInput(str(path), "", f"cannot be used: {error}") from None
        self._series: dict[Series, int] = {}

    def _prepare(self, path: str, *, read_only: bool) -> None:
        self._db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        (found,) = self._db.execute("PRAGMA application_id").fetchone()
        (tables,) = self._db.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
        if found != APPLICATION_ID and (found or tables or read_only):
            raise BadInput(path, "", "is a database, but no collector's ledger")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if tables and version != VERSION:
            raise BadInput(path, "", f"version {version} of the ledger, not {VERSION}")
        if read_only:
            return
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        if not tables:
            with self.transaction():
                for statement in SCHEMA:
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Close; everything committed stays."""
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Group writes: all or none."""
        self._db.execute("BEGIN IMMEDIATE")
        committed = False
        try:
            yield
            self._db.execute("COMMIT")
            committed = True
        finally:
            if not committed:
                self._series = {}
                if self._db.in_transaction:  # a full disk rolls back by itself
                    self._db.execute("ROLLBACK")

    # --- keys and batches -----------------------------------------------------------

    def enrol(self, devices: Mapping[str, bytes]) -> None:
        """Note which public keys devices were enrolled with, newest last."""
        self._db.executemany(
            "INSERT OR REPLACE INTO devices VALUES (?, ?)", devices.items()
        )

    def devices(self) -> dict[str, bytes]:
        """Return the public keys that the collector was given, by device."""
        return dict(self._db.execute("SELECT device, key FROM devices ORDER BY device"))

    def add_epoch(
        self, device: str, epoch: bytes, place: tuple[str, int, str], body: bytes,
        is_ours: bool,
    ) -> bool:  # fmt: skip
        """Keep an announcement; ``place``: destination, label, suite. False: known."""
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO epochs VALUES (?, ?, ?, ?, ?, ?, ?)",
            (device, epoch, *place, body, is_ours),
        )
        return cursor.rowcount > 0

    def own_epoch(self, device: str, epoch: bytes) -> None:
        """Note that a key of ours, new since, opens an epoch."""
        self._db.execute(
            "UPDATE epochs SET ours = 1 WHERE device = ? AND epoch = ?", (device, epoch)
        )

    def announcement(self, device: str, epoch: bytes) -> bytes | None:
        """Return the announcement of an epoch as it came; None where it did not."""
        return self._one(
            "SELECT body FROM epochs WHERE device = ? AND epoch = ?", (device, epoch)
        )

    def foreign(self) -> list[tuple[str, bytes]]:
        """Return (device, epoch) of every epoch that none of our keys opened."""
        rows = self._db.execute("SELECT device, epoch FROM epochs WHERE NOT ours")
        return list(rows)

    def batch_digest(self, device: str, epoch: bytes, sequence: int) -> bytes | None:
        """Return the SHA-256 of an authenticated batch; None where it is not here."""
        return self._one(
            "SELECT sha256 FROM batches"
            " WHERE device = ? AND epoch = ? AND sequence = ?",
            (device, epoch, sequence),
        )

    def _one(self, query: str, values: Sequence[object]) -> bytes | None:
        row = self._db.execute(query, values).fetchone()
        return None if row is None else bytes(row[0])

    def add_batch(self, batch: Batch, columns: Sequence[Column]) -> int:
        """Keep an authenticated batch and its rows; return how many rows."""
        rows = sum(len(column.time_ns) for column in columns)
        self._db.execute(
            "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                batch.device, batch.epoch, batch.sequence, batch.kind,
                batch.destination, batch.label, batch.policy, batch.created_ns,
                batch.sha256, batch.size, rows, batch.received_ns,
            ),
        )  # fmt: skip
        for column in columns:
            number = self._series_of(batch, column)
            times = column.time_ns.tolist()
            count = len(times)
            texts = column.texts or (None,) * count
            values = (None,) * count if column.texts else column.value.tolist()
            self._db.executemany(
                "INSERT INTO points VALUES (?, ?, ?, ?)",
                zip((number,) * count, times, values, texts, strict=True),
            )
        return rows

    def _series_of(self, batch: Batch, column: Column) -> int:
        said = column.definition
        key = (
            batch.device, batch.destination, batch.label, said.name, said.statistic,
            said.unit, said.category, said.purpose, said.source,
        )  # fmt: skip
        number = self._series.get(key)
        if number is None:
            self._db.execute(
                "INSERT OR IGNORE INTO series (device, destination, label, item,"
                " statistic, unit, category, purpose, source)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                key,
            )
            (number,) = self._db.execute(
                "SELECT id FROM series WHERE (device, destination, label, item,"
                " statistic, unit, category, purpose, source)"
                " = (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                key,
            ).fetchone()
            if len(self._series) >= SERIES_HELD:
                self._series.clear()
            self._series[key] = number
        return int(number)

    # --- what cannot be opened ------------------------------------------------------

    def add_unopened(self, batch: Batch, status: str, body: bytes) -> bool:
        """Keep a message that is not authenticated; False where it is here already."""
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO unopened VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                batch.device, batch.epoch, batch.sequence, batch.sha256, batch.kind,
                batch.destination, batch.label, batch.size, batch.received_ns, status,
                body,
            ),
        )  # fmt: skip
        return cursor.rowcount > 0

    def unopened_bytes(self, device: str) -> int:
        """Return how much is kept of a device without being opened."""
        (size,) = self._db.execute(
            "SELECT COALESCE(SUM(bytes), 0) FROM unopened WHERE device = ?", (device,)
        ).fetchone()
        return int(size)

    def unopened(self, device: str, epoch: bytes) -> list[Unopened]:
        """Return what came before its key, in order; bodies are read one by one."""
        rows = self._db.execute(
            "SELECT sequence, sha256, kind, received_ns FROM unopened"
            " WHERE device = ? AND epoch = ? ORDER BY sequence",
            (device, epoch),
        )
        return [Unopened(device, epoch, *row) for row in rows]

    def take_unopened(self, one: Unopened) -> bytes:
        """Return the message and delete it: it is opened now, or was forged."""
        (body,) = self._db.execute(
            "DELETE FROM unopened WHERE device = ? AND epoch = ? AND sequence = ?"
            " AND sha256 = ? RETURNING body",
            (one.device, one.epoch, one.sequence, one.sha256),
        ).fetchone()
        return bytes(body)

    def seal(self, device: str, epoch: bytes) -> None:
        """Tell that an epoch is sealed to others: what waits for it stays sealed."""
        self._db.execute(
            "UPDATE unopened SET status = 'sealed' WHERE device = ? AND epoch = ?",
            (device, epoch),
        )

    # --- evidence -------------------------------------------------------------------

    def add_entries(
        self, device: str, log: bytes, start: int, entries: Sequence[bytes]
    ) -> None:
        """Append entries; the caller has checked that they continue the log."""
        self._db.executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?)",
            ((device, log, start + i, body) for i, body in enumerate(entries)),
        )

    def drop_entries(self, device: str, log: bytes, size: int) -> None:
        """Forget entries from ``size`` on: nothing signed stands for them."""
        self._db.execute(
            "DELETE FROM entries WHERE device = ? AND log = ? AND position >= ?",
            (device, log, size),
        )

    def entries(
        self, device: str, log: bytes, start: int = 0, end: int = 2**62
    ) -> Iterator[bytes]:
        """Yield entries [start, end) in order."""
        for (body,) in self._db.execute(
            "SELECT body FROM entries WHERE device = ? AND log = ?"
            " AND position >= ? AND position < ? ORDER BY position",
            (device, log, start, end),
        ):
            yield body

    def add_checkpoint(
        self, device: str, log: bytes, head: tuple[int, bytes], note: bytes,
        cosigned: bytes,
    ) -> None:  # fmt: skip
        """Keep a signed note; ``cosigned`` is empty where it does not fit the log."""
        self._db.execute(
            "INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET note = excluded.note, cosigned = excluded.cosigned"
            " WHERE cosigned = x''",
            (device, log, *head, note, cosigned),
        )

    def checkpoints(
        self, device: str, log: bytes
    ) -> list[tuple[int, bytes, bytes, bytes]]:
        """Return (size, root, note, cosigned note) in order of size."""
        return list(
            self._db.execute(
                "SELECT size, root, note, cosigned FROM checkpoints"
                " WHERE device = ? AND log = ? ORDER BY size, root",
                (device, log),
            )
        )

    def logs(self, device: str) -> list[bytes]:
        """Return every log of a device, signed or not, in the order of arrival."""
        rows = self._db.execute(
            "SELECT log FROM logs WHERE device = ? ORDER BY number", (device,)
        )
        return [log for (log,) in rows]

    def add_log(self, device: str, log: bytes) -> None:
        """Note that a device has a log of this id."""
        self._db.execute(
            "INSERT OR IGNORE INTO logs (device, log) VALUES (?, ?)", (device, log)
        )

    # --- the rest -------------------------------------------------------------------

    def keep_state(
        self, device: str, number: int, received_ns: int, body: bytes
    ) -> bool:
        """Keep a state unless a newer one is here; False where it is older."""
        cursor = self._db.execute(
            "INSERT INTO states VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " number = excluded.number, received_ns = excluded.received_ns,"
            " body = excluded.body WHERE excluded.number > number",
            (device, number, received_ns, body),
        )
        return cursor.rowcount > 0

    def keep_telemetry(
        self, device: str, place: tuple[str, int], received_ns: int, body: bytes
    ) -> bool:
        """Keep counters; ``place``: boot, evidence index. False where it is known."""
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO telemetry VALUES (?, ?, ?, ?, ?)",
            (device, *place, received_ns, body),
        )
        return cursor.rowcount > 0

    def telemetry_body(self, device: str, place: tuple[str, int]) -> bytes | None:
        """Return counters as they came; None where they did not."""
        return self._one(
            "SELECT body FROM telemetry WHERE device = ? AND boot = ? AND number = ?",
            (device, *place),
        )

    def find(self, device: str, rule: str, reason: str, now_ns: int) -> None:
        """Count a refusal."""
        (known,) = self._db.execute("SELECT COUNT(*) FROM findings").fetchone()
        if known >= FINDINGS_MAX:  # a flood of names must not grow the ledger
            device, reason = "", "more"
        self._db.execute(
            "INSERT INTO findings VALUES (?, ?, ?, 1, ?, ?) ON CONFLICT DO UPDATE SET"
            " count = count + 1, last_ns = excluded.last_ns",
            (device, rule, reason[:200], now_ns, now_ns),
        )

    def query(
        self, statement: str, values: Sequence[object] = ()
    ) -> list[tuple[object, ...]]:
        """Run one statement of ours that only reads (tables, tests, the live view)."""
        return list(self._db.execute(statement, values))


def _create(path: Path) -> None:
    """Make the file for its owner alone: it will hold what was opened, in the clear.

    SQLite gives its log the mode of the database. A mode that somebody chose stays.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        os.close(os.open(path, flags, 0o600))
    except OSError as error:
        raise BadInput(str(path), "", f"cannot be used: {error.strerror}") from None


def digest(body: bytes) -> bytes:
    """Return the SHA-256 by which evidence names an envelope."""
    return hashlib.sha256(body).digest()
