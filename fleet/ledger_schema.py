"""The ledger's tables, and what a row of them is to the rest of the program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

APPLICATION_ID: Final = 0x536C4C67  # "SlLg", SQLite file format section 1.3.17
VERSION: Final = 1
SCHEMA: Final = (
    "CREATE TABLE devices (device TEXT PRIMARY KEY, key BLOB) STRICT",
    """CREATE TABLE epochs (
    device TEXT, epoch BLOB, destination TEXT, label INTEGER, suite TEXT, body BLOB,
    ours INTEGER, PRIMARY KEY (device, epoch)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE batches (
    device TEXT, epoch BLOB, sequence INTEGER, kind TEXT, destination TEXT,
    label INTEGER, policy BLOB, created_ns INTEGER, sha256 BLOB, bytes INTEGER,
    samples INTEGER, received_ns INTEGER,
    PRIMARY KEY (device, epoch, sequence)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE unopened (
    device TEXT, epoch BLOB, sequence INTEGER, sha256 BLOB, kind TEXT,
    destination TEXT, label INTEGER, bytes INTEGER, received_ns INTEGER, status TEXT,
    body BLOB, PRIMARY KEY (device, epoch, sequence, sha256)) STRICT""",
    """CREATE TABLE series (
    id INTEGER PRIMARY KEY, device TEXT, destination TEXT, label INTEGER, item TEXT,
    statistic TEXT, unit TEXT, category TEXT, purpose TEXT, source TEXT,
    UNIQUE (device, destination, label, item, statistic, unit, category, purpose,
    source)) STRICT""",
    # value and text both NULL: a blanked datum, of which only the time was released
    """CREATE TABLE points (
    series INTEGER, time_ns INTEGER, value REAL, text BLOB) STRICT""",
    "CREATE INDEX points_by_time ON points (series, time_ns)",
    """CREATE VIEW samples AS SELECT device, item, statistic, unit, time_ns, value,
    text, label, destination, category, purpose, source
    FROM points JOIN series ON series.id = points.series""",
    """CREATE TABLE logs (
    number INTEGER PRIMARY KEY, device TEXT, log BLOB, UNIQUE (device, log)) STRICT""",
    """CREATE TABLE entries (
    device TEXT, log BLOB, position INTEGER, body BLOB,
    PRIMARY KEY (device, log, position)) STRICT, WITHOUT ROWID""",
    # cosigned is empty where the note is signed but does not fit the entries here
    """CREATE TABLE checkpoints (
    device TEXT, log BLOB, size INTEGER, root BLOB, note BLOB, cosigned BLOB,
    PRIMARY KEY (device, log, size, root)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE states (
    device TEXT PRIMARY KEY, number INTEGER, received_ns INTEGER, body BLOB) STRICT""",
    """CREATE TABLE telemetry (
    device TEXT, boot TEXT, number INTEGER, received_ns INTEGER, body BLOB,
    PRIMARY KEY (device, boot, number)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE findings (
    device TEXT, rule TEXT, reason TEXT, count INTEGER, first_ns INTEGER,
    last_ns INTEGER, PRIMARY KEY (device, rule, reason)) STRICT, WITHOUT ROWID""",
)


@dataclass(frozen=True, slots=True)
class Batch:
    """An envelope by what its header says."""

    device: str
    epoch: bytes
    sequence: int
    kind: str  # data | event, by its topic
    destination: str
    label: int
    policy: bytes
    created_ns: int
    sha256: bytes
    size: int
    received_ns: int


@dataclass(frozen=True, slots=True)
class Unopened:
    """An envelope that was kept without being authenticated."""

    device: str
    epoch: bytes
    sequence: int
    sha256: bytes
    kind: str
    received_ns: int
