"""The store's tables as text, and the numbers that tell whose file it is. Pure.

One row of ``state`` carries every sum that must be exact across restarts; it changes
in the same transaction as the rows it sums. ``spool`` keeps its blob last, and every
question but "give me this message" is answered from an index, so that a backlog of
gigabytes is never read to be counted.
"""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x53475631  # "SGV1", SQLite file format section 1.3.17
SCHEMA_VERSION: Final = 1
PAGE_BYTES: Final = 8192  # an envelope of 2-60 kB takes few overflow pages

TABLES: Final = (
    """CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    log_id BLOB NOT NULL,
    next_row INTEGER NOT NULL,
    spool_records INTEGER NOT NULL,
    spool_bytes INTEGER NOT NULL,
    retained_records INTEGER NOT NULL,
    retained_bytes INTEGER NOT NULL,
    evicted_records INTEGER NOT NULL,
    evidence_size INTEGER NOT NULL,
    evidence_sent INTEGER NOT NULL,
    evidence_bytes INTEGER NOT NULL,
    root BLOB NOT NULL,
    classified INTEGER NOT NULL,
    unclassified INTEGER NOT NULL,
    held INTEGER NOT NULL,
    clock_floor_ns INTEGER NOT NULL
) STRICT""",
    """CREATE TABLE spool (
    row INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    destination TEXT NOT NULL,
    rank INTEGER NOT NULL,
    label INTEGER NOT NULL,
    epoch BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    created_ns INTEGER NOT NULL,
    confirm TEXT NOT NULL,
    samples INTEGER NOT NULL,
    size INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT""",
    # rank, row: order of shedding and of sending; size: exact sums without the rows
    "CREATE INDEX spool_order ON spool (rank, row, size)",
    "CREATE INDEX spool_epoch ON spool (epoch, sequence)",
    "CREATE INDEX spool_label ON spool (destination, label)",
    """CREATE TABLE retained (
    row INTEGER PRIMARY KEY,
    category TEXT NOT NULL,
    label INTEGER NOT NULL,
    epoch BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    created_ns INTEGER NOT NULL,
    expires_ns INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    size INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT""",
    "CREATE INDEX retained_expiry ON retained (expires_ns, row, size)",
    "CREATE INDEX retained_order ON retained (row, size)",
    """CREATE TABLE entries (
    position INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT""",
    """CREATE TABLE nodes (
    level INTEGER NOT NULL,
    position INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (level, position)
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE checkpoints (
    size INTEGER PRIMARY KEY,
    root BLOB NOT NULL,
    note BLOB NOT NULL
) STRICT""",
    """CREATE TABLE counters (
    destination TEXT NOT NULL,
    label INTEGER NOT NULL,
    rule TEXT NOT NULL,
    action TEXT NOT NULL,
    outcome INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    told_samples INTEGER NOT NULL,
    told_bytes INTEGER NOT NULL,
    PRIMARY KEY (destination, label, rule, action, outcome)
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE losses (
    cause TEXT NOT NULL,
    kind TEXT NOT NULL,
    label INTEGER NOT NULL,
    records INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    PRIMARY KEY (cause, kind, label)
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE documents (
    name TEXT PRIMARY KEY,
    body BLOB NOT NULL
) STRICT, WITHOUT ROWID""",
)

STATE_COLUMNS: Final = (
    "log_id",
    "next_row",
    "spool_records",
    "spool_bytes",
    "retained_records",
    "retained_bytes",
    "evicted_records",
    "evidence_size",
    "evidence_sent",
    "evidence_bytes",
    "root",
    "classified",
    "unclassified",
    "held",
    "clock_floor_ns",
)

SPOOL_COLUMNS: Final = (
    "kind, destination, rank, label, epoch, sequence, created_ns, confirm, samples,"
    " size, crc, body"
)
RETAINED_COLUMNS: Final = (
    "category, label, epoch, sequence, created_ns, expires_ns, samples, size, crc, body"
)
