"""One transaction of the store while it is being put together.

A ``Change`` is thrown away when its transaction fails; its state and tree are taken
over by the store only after COMMIT, so memory never runs ahead of the disk.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from agent.adapters.sqlite_connection import STORE
from agent.errors import Unavailable
from agent.store.accounting import Lost, Stored, lost_of, shed, tally
from agent.store.schema import RETAINED_COLUMNS, SPOOL_COLUMNS, STATE_COLUMNS
from protocols.tlog.tree import leaf_hash

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from agent.records import CounterRow, Eviction, RetainedRecord, SpoolRecord
    from agent.store.accounting import State
    from protocols.tlog.tree import Growth

    # (cause, what was lost) -> the encoded evidence entry that says so
    Witness: TypeAlias = Callable[[str, tuple[Eviction, ...]], bytes]

_SAVE: Final = (
    f"UPDATE state SET ({', '.join(STATE_COLUMNS)})"  # noqa: S608  # our own column names
    f" = ({', '.join('?' for _ in STATE_COLUMNS)})"
)
_INSERT_SPOOL: Final = (
    f"INSERT INTO spool (row, {SPOOL_COLUMNS})"  # noqa: S608  # our own column names
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_RETAINED: Final = (
    f"INSERT INTO retained (row, {RETAINED_COLUMNS})"  # noqa: S608  # our own column names
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_COUNT: Final = (
    "INSERT INTO counters VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0) ON CONFLICT DO UPDATE"
    " SET samples = samples + excluded.samples, bytes = bytes + excluded.bytes"
)
_LOSE: Final = (
    "INSERT INTO losses VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
    " SET records = records + excluded.records, bytes = bytes + excluded.bytes,"
    " samples = samples + excluded.samples"
)
_KEEP: Final = "INSERT OR REPLACE INTO documents VALUES (?, ?)"
_FORGET: Final = "DELETE FROM documents WHERE name = ?"
_SPOOL_LOST: Final = (
    "DELETE FROM spool WHERE row = ?"
    " RETURNING kind, label, epoch, sequence, samples, size"
)
_RETAINED_LOST: Final = (
    "DELETE FROM retained WHERE row = ?"
    " RETURNING 'retained', label, epoch, sequence, samples, size"
)
_SPOOL_IN_ORDER: Final = (
    "SELECT row, rank, size FROM spool INDEXED BY spool_order"
    " WHERE rank < 4 ORDER BY rank, row"
)
_RETAINED_IN_ORDER: Final = (
    "SELECT row, 0, size FROM retained INDEXED BY retained_order ORDER BY row"
)


class Change:
    """What one transaction does to the tables, the sums and the tree."""

    def __init__(
        self,
        database: sqlite3.Connection,
        state: State,
        growth: Growth,
        witness: Witness,
    ) -> None:
        """Start from the committed ``state`` and a copy of its tree."""
        self._database = database
        self.state = state
        self.growth = growth
        self._witness = witness

    def spool(
        self, records: Sequence[SpoolRecord], cap_bytes: int
    ) -> tuple[list[Lost], list[Lost]]:
        """Take in ``records`` under the cap; return what was evicted, what refused.

        Unavailable where CONTROL records alone are over the cap.
        """
        if not records:
            return [], []
        incoming = sum(len(record.body) for record in records)
        excess = self.state.spool_bytes + incoming - cap_bytes
        chosen = shed(self._rows(_SPOOL_IN_ORDER), records, excess)
        if chosen.short_bytes:
            reason = f"the cap of {cap_bytes} bytes is full of what is never shed"
            raise Unavailable(STORE, reason)
        evicted = self.drop_spooled(chosen.rows)
        refused = set(chosen.refused)
        taken = [r for i, r in enumerate(records) if i not in refused]
        first = self.state.next_row
        self._database.executemany(
            _INSERT_SPOOL, (_spool_values(first + i, r) for i, r in enumerate(taken))
        )
        self.state = replace(
            self.state,
            next_row=first + len(taken),
            spool_records=self.state.spool_records + len(taken),
            spool_bytes=self.state.spool_bytes + sum(len(r.body) for r in taken),
            evicted_records=self.state.evicted_records + len(evicted) + len(refused),
        )
        return evicted, [lost_of(records[i]) for i in chosen.refused]

    def retain(
        self, records: Sequence[RetainedRecord], cap_bytes: int
    ) -> tuple[list[Lost], list[Lost]]:
        """Take in retained ``records``; the oldest go first, as with `spool`."""
        if not records:
            return [], []
        incoming = sum(len(record.body) for record in records)
        excess = self.state.retained_bytes + incoming - cap_bytes
        chosen = shed(self._rows(_RETAINED_IN_ORDER), (), excess)
        evicted = self.drop_retained(chosen.rows)
        short, start = chosen.short_bytes, 0
        while short > 0:  # the pass alone is over the cap: its oldest are refused
            short -= len(records[start].body)
            start += 1
        taken = records[start:]
        first = self.state.next_row
        self._database.executemany(
            _INSERT_RETAINED,
            (_retained_values(first + i, r) for i, r in enumerate(taken)),
        )
        self.state = replace(
            self.state,
            next_row=first + len(taken),
            retained_records=self.state.retained_records + len(taken),
            retained_bytes=self.state.retained_bytes + sum(len(r.body) for r in taken),
            evicted_records=self.state.evicted_records + len(evicted) + start,
        )
        return evicted, [_retained_lost(record) for record in records[:start]]

    def give_way(self, spool_max: int, retained_max: int, rows_max: int) -> list[Lost]:
        """Delete what is over the caps, at most ``rows_max`` rows of each."""
        chosen = shed(
            islice(self._rows(_SPOOL_IN_ORDER), rows_max),
            (),
            self.state.spool_bytes - spool_max,
        )
        lost = self.drop_spooled(chosen.rows)
        chosen = shed(
            islice(self._rows(_RETAINED_IN_ORDER), rows_max),
            (),
            self.state.retained_bytes - retained_max,
        )
        lost += self.drop_retained(chosen.rows)
        evicted = self.state.evicted_records + len(lost)
        self.state = replace(self.state, evicted_records=evicted)
        return lost

    def drop_spooled(self, rows: Iterable[int]) -> list[Lost]:
        """Delete spool rows (those that are there) and return what they were."""
        lost = self._delete(_SPOOL_LOST, rows)
        self.state = replace(
            self.state,
            spool_records=self.state.spool_records - len(lost),
            spool_bytes=self.state.spool_bytes - sum(one.size for one in lost),
        )
        return lost

    def drop_retained(self, rows: Iterable[int]) -> list[Lost]:
        """Delete retained rows and return what they were."""
        lost = self._delete(_RETAINED_LOST, rows)
        self.state = replace(
            self.state,
            retained_records=self.state.retained_records - len(lost),
            retained_bytes=self.state.retained_bytes - sum(one.size for one in lost),
        )
        return lost

    def tell_counters(self) -> None:
        """Remember that a count.snap in evidence told all that is counted so far."""
        self._database.execute(
            "UPDATE counters SET told_samples = samples, told_bytes = bytes"
            " WHERE told_samples <> samples OR told_bytes <> bytes"
        )

    def count(self, rows: Iterable[CounterRow]) -> None:
        """Add to the compliance counters."""
        self._database.executemany(
            _COUNT,
            (
                (
                    row.destination,
                    row.label,
                    row.rule,
                    row.action,
                    int(row.outcome),
                    row.samples,
                    row.bytes_used,
                )
                for row in rows
            ),
        )

    def keep(self, documents: Mapping[str, bytes]) -> None:
        """Keep named documents; one without bytes is not kept any more."""
        for name, body in documents.items():
            if body:
                self._database.execute(_KEEP, (name, body))
            else:
                self._database.execute(_FORGET, (name,))

    def testify(self, entries: Sequence[bytes]) -> None:
        """Append evidence entries with their leaf hashes and tree nodes."""
        if not entries:
            return
        start = self.growth.size
        nodes = self.growth.append([leaf_hash(entry) for entry in entries])
        self._database.executemany(
            "INSERT INTO entries VALUES (?, ?)", enumerate(entries, start)
        )
        self._database.executemany("INSERT INTO nodes VALUES (?, ?, ?)", nodes)
        self.state = replace(
            self.state,
            evidence_size=self.growth.size,
            evidence_bytes=self.state.evidence_bytes + sum(map(len, entries)),
            root=self.growth.root(),
        )

    def begin(self, pruned: Growth) -> None:
        """Let an empty log begin behind what was pruned of it (salvage)."""
        self.growth = pruned.copy()
        self._database.executemany("INSERT INTO nodes VALUES (?, ?, ?)", pruned.nodes())

    def lose(self, cause: str, lost: Sequence[Lost]) -> tuple[Eviction, ...]:
        """Count what goes and put it into evidence, in this same transaction."""
        if not lost:
            return ()
        rows = tally(lost, cause)
        self._database.executemany(
            _LOSE,
            (
                (cause, row.kind, row.label, row.records, row.bytes_used, row.samples)
                for row in rows
            ),
        )
        self.testify([self._witness(cause, rows)])
        return rows

    def save(self) -> None:
        """Write the sums; the last step before COMMIT."""
        self._database.execute(
            _SAVE, [getattr(self.state, name) for name in STATE_COLUMNS]
        )

    def insert(self, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Insert whole ``rows`` into a ``table`` of ours (salvage)."""
        marks = ", ".join("?" for _ in rows[0])
        self._database.executemany(
            f"INSERT OR IGNORE INTO {table} VALUES ({marks})",  # noqa: S608  # our own table names
            rows,
        )

    def _rows(self, query: str) -> Iterator[Stored]:
        return map(Stored._make, self._database.execute(query))

    def _delete(self, statement: str, rows: Iterable[int]) -> list[Lost]:
        lost: list[Lost] = []
        for row in rows:
            found = self._database.execute(statement, (row,)).fetchall()
            lost += map(Lost._make, found)
        return lost


def checksum(body: bytes, *facts: str | int | bytes) -> int:
    """Return the CRC-32 of a row: a flipped bit is found before it is sent."""
    head = "|".join(f.hex() if isinstance(f, bytes) else str(f) for f in facts)
    return zlib.crc32(head.encode(), zlib.crc32(body))


def spool_checksum(r: SpoolRecord) -> int:
    """Return the checksum of a spooled record."""
    return checksum(
        r.body,
        r.kind,
        r.destination,
        int(r.rank),
        r.label,
        r.epoch,
        r.sequence,
        r.created_ns,
        r.confirm,
        r.samples,
    )


def retained_checksum(r: RetainedRecord) -> int:
    """Return the checksum of a retained record."""
    return checksum(
        r.body,
        r.category,
        r.label,
        r.epoch,
        r.sequence,
        r.created_ns,
        r.expires_ns,
        r.samples,
    )


def _spool_values(row: int, r: SpoolRecord) -> tuple[int | str | bytes, ...]:
    return (
        row,
        r.kind,
        r.destination,
        int(r.rank),
        r.label,
        r.epoch,
        r.sequence,
        r.created_ns,
        r.confirm,
        r.samples,
        len(r.body),
        spool_checksum(r),
        r.body,
    )


def _retained_values(row: int, r: RetainedRecord) -> tuple[int | str | bytes, ...]:
    return (
        row,
        r.category,
        r.label,
        r.epoch,
        r.sequence,
        r.created_ns,
        r.expires_ns,
        r.samples,
        len(r.body),
        retained_checksum(r),
        r.body,
    )


def _retained_lost(r: RetainedRecord) -> Lost:
    return Lost("retained", r.label, r.epoch, r.sequence, r.samples, len(r.body))
