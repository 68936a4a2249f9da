"""The collector's ledger on SQLite: what came, what it said, what is missing.

One transaction per group of messages; receipts are made only from what is committed.
Every table is keyed by device, so that one ledger serves a fleet.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fleet.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

APPLICATION_ID: Final = 0x536C4C67  # "SlLg"
VERSION: Final = 1
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS epochs (
  device TEXT, epoch BLOB, destination TEXT, label INTEGER, body BLOB, opened INTEGER,
  PRIMARY KEY (device, epoch)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
  device TEXT, epoch BLOB, sequence INTEGER, kind TEXT, destination TEXT, label INTEGER,
  policy BLOB, sha256 BLOB, bytes INTEGER, samples INTEGER, received_ns INTEGER,
  status TEXT, body BLOB,
  PRIMARY KEY (device, epoch, sequence, kind)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS samples (
  device TEXT, item TEXT, statistic TEXT, unit TEXT, time_ns INTEGER, value REAL,
  text BLOB, label INTEGER, destination TEXT);
CREATE INDEX IF NOT EXISTS samples_by_item ON samples (device, item, time_ns);
CREATE TABLE IF NOT EXISTS entries (
  device TEXT, log BLOB, position INTEGER, body BLOB,
  PRIMARY KEY (device, log, position)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoints (
  device TEXT, log BLOB, size INTEGER, root BLOB, note BLOB,
  PRIMARY KEY (device, log, size)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (
  device TEXT, kind TEXT, number INTEGER, received_ns INTEGER, body BLOB,
  PRIMARY KEY (device, kind, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS findings (
  device TEXT, rule TEXT, reason TEXT, count INTEGER, first_ns INTEGER, last_ns INTEGER,
  PRIMARY KEY (device, rule, reason)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """A received envelope. ``status``: opened, sealed (not ours to open), waiting."""

    device: str
    epoch: bytes
    sequence: int
    kind: str
    destination: str
    label: int
    policy: bytes
    sha256: bytes
    size: int
    samples: int
    received_ns: int
    status: str
    body: bytes  # kept while it waits for its key; empty once it is opened


@dataclass(frozen=True, slots=True)
class Row:
    """One opened sample or text."""

    item: str
    statistic: str
    unit: str
    time_ns: int
    value: float | None
    text: bytes | None
    label: int
    destination: str


class Ledger:
    """All that a collector knows. One writer."""

    def __init__(self, path: Path) -> None:
        """Open or make the database; BadInput where the file is something else."""
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            (found,) = self._db.execute("PRAGMA application_id").fetchone()
            if found not in {0, APPLICATION_ID}:
                raise BadInput(
                    str(path), "", "is a database, but no collector's ledger"
                )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(SCHEMA)
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {VERSION}")
        except sqlite3.Error as error:
            raise BadInput(str(path), "", f"cannot be used: {error}") from None

    def close(self) -> None:
        """Close; everything committed stays."""
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Group writes: all or none."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # --- keys and batches -----------------------------------------------------------

    def add_epoch(
        self,
        device: str,
        epoch: bytes,
        place: tuple[str, int],
        body: bytes,
        opened: bool,
    ) -> bool:
        """Keep an announcement; False where it is known already."""
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO epochs VALUES (?, ?, ?, ?, ?, ?)",
            (device, epoch, *place, body, opened),
        )
        return cursor.rowcount > 0

    def announcements(self) -> list[tuple[str, bytes]]:
        """Return (device, announcement) of every epoch, to open them again at start."""
        return list(self._db.execute("SELECT device, body FROM epochs"))

    def add_batch(self, batch: Batch) -> bool:
        """Keep a batch; False where (device, epoch, sequence) is a replay."""
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO batches VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                batch.device, batch.epoch, batch.sequence, batch.kind,
                batch.destination, batch.label, batch.policy, batch.sha256,
                batch.size, batch.samples, batch.received_ns, batch.status, batch.body,
            ),
        )  # fmt: skip
        return cursor.rowcount > 0

    def settle(self, batch: Batch) -> None:
        """Tell what became of a batch that waited; its bytes are no longer needed."""
        self._db.execute(
            "UPDATE batches SET status = ?, samples = ?, body = ? WHERE device = ?"
            " AND epoch = ? AND sequence = ? AND kind = ?",
            (batch.status, batch.samples, batch.body, batch.device, batch.epoch,
             batch.sequence, batch.kind),
        )  # fmt: skip

    def waiting(self, device: str, epoch: bytes) -> list[Batch]:
        """Return the batches of an epoch that came before its key."""
        rows = self._db.execute(
            "SELECT * FROM batches WHERE device = ? AND epoch = ? AND"
            " status = 'waiting' ORDER BY sequence",
            (device, epoch),
        ).fetchall()
        return [Batch(r[0], r[1], r[2], r[3], *r[4:]) for r in rows]

    def add_rows(self, device: str, rows: Iterable[Row]) -> None:
        """Store opened samples."""
        self._db.executemany(
            "INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (device, r.item, r.statistic, r.unit, r.time_ns, r.value, r.text,
                 r.label, r.destination)
                for r in rows
            ),
        )  # fmt: skip

    # --- evidence -------------------------------------------------------------------

    def log_size(self, device: str, log: bytes) -> int:
        """Return how many entries of a log are here, from 0 without a gap."""
        (size,) = self._db.execute(
            "SELECT COUNT(*) FROM entries WHERE device = ? AND log = ?", (device, log)
        ).fetchone()
        return int(size)

    def add_entries(
        self, device: str, log: bytes, start: int, entries: Sequence[bytes]
    ) -> None:
        """Append entries; the caller has checked that they continue the log."""
        self._db.executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?)",
            ((device, log, start + i, body) for i, body in enumerate(entries)),
        )

    def entries(self, device: str, log: bytes, start: int = 0) -> Iterator[bytes]:
        """Yield entries in order."""
        for (body,) in self._db.execute(
            "SELECT body FROM entries WHERE device = ? AND log = ? AND position >= ?"
            " ORDER BY position",
            (device, log, start),
        ):
            yield body

    def add_checkpoint(
        self, device: str, log: bytes, size: int, root: bytes, note: bytes
    ) -> None:
        """Keep a verified checkpoint."""
        self._db.execute(
            "INSERT OR IGNORE INTO checkpoints VALUES (?, ?, ?, ?, ?)",
            (device, log, size, root, note),
        )

    def checkpoints(self, device: str, log: bytes) -> list[tuple[int, bytes, bytes]]:
        """Return (size, root, note) in order of size."""
        return list(
            self._db.execute(
                "SELECT size, root, note FROM checkpoints WHERE device = ? AND log = ?"
                " ORDER BY size",
                (device, log),
            )
        )

    def logs(self) -> list[tuple[str, bytes]]:
        """Return every (device, log)."""
        return list(
            self._db.execute("SELECT DISTINCT device, log FROM entries ORDER BY 1, 2")
        )

    # --- the rest -------------------------------------------------------------------

    def add_message(
        self, device: str, kind: str, number: int, received_ns: int, body: bytes
    ) -> bool:
        """Keep a state or telemetry body; False where it is known already."""
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?, ?)",
            (device, kind, number, received_ns, body),
        )
        return cursor.rowcount > 0

    def messages(self, device: str, kind: str) -> list[bytes]:
        """Return bodies in order of their number."""
        return [
            body
            for (body,) in self._db.execute(
                "SELECT body FROM messages WHERE device = ? AND kind = ?"
                " ORDER BY number",
                (device, kind),
            )
        ]

    def find(self, device: str, rule: str, reason: str, now_ns: int) -> None:
        """Count a refusal."""
        self._db.execute(
            "INSERT INTO findings VALUES (?, ?, ?, 1, ?, ?) ON CONFLICT DO UPDATE SET"
            " count = count + 1, last_ns = excluded.last_ns",
            (device, rule, reason, now_ns, now_ns),
        )

    def query(
        self, statement: str, values: Sequence[object] = ()
    ) -> list[tuple[object, ...]]:
        """Run one read-only statement of ours (tables, tests, the live view)."""
        return list(self._db.execute(statement, values))


def digest(body: bytes) -> bytes:
    """Return the SHA-256 by which evidence names an envelope."""
    return hashlib.sha256(body).digest()
