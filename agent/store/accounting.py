"""Who leaves when the disk does not suffice, and how that is counted. Pure.

Order of shedding (DESIGN section 4): lowest rank first, within a rank the oldest; what
only now wants to come in is the youngest of its rank. CONTROL is never shed. Every
record that goes is in exactly one ``Eviction`` row, and the rows go into the evidence
log in the transaction that deletes the records.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from agent.records import Eviction, Rank

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from agent.records import SpoolRecord


@dataclass(frozen=True, slots=True)
class State:
    """The one row of sums; replaced as a whole when its transaction has committed."""

    log_id: bytes  # 8 random bytes: a new log after a break has a new one
    next_row: int
    spool_records: int
    spool_bytes: int
    retained_records: int
    retained_bytes: int
    evicted_records: int
    evidence_size: int
    evidence_sent: int
    evidence_bytes: int
    root: bytes  # RFC 6962 tree head of ``evidence_size`` entries
    classified: int
    unclassified: int
    held: int
    clock_floor_ns: int


class Stored(NamedTuple):
    """What shedding needs to know of a row; read from an index, never the blob."""

    row: int
    rank: int
    size: int


class Lost(NamedTuple):
    """One record that goes, as the loss entry tells it."""

    kind: str
    label: int
    epoch: bytes
    sequence: int
    samples: int
    size: int


@dataclass(frozen=True, slots=True)
class Shedding:
    """The decision: rows to delete, incoming records (by index) to refuse."""

    rows: tuple[int, ...]
    refused: tuple[int, ...]
    short_bytes: int  # > 0: not even that is enough, CONTROL alone is over the cap


def shed(
    stored: Iterable[Stored], incoming: Sequence[SpoolRecord], excess_bytes: int
) -> Shedding:
    """Choose what goes so that ``excess_bytes`` are freed.

    ``stored`` comes in order of (rank, row) and is read only as far as needed.
    """
    rows: list[int] = []
    refused: list[int] = []
    for index, row, size in _candidates(stored, incoming):
        if excess_bytes <= 0:
            break
        if row < 0:
            refused.append(index)
        else:
            rows.append(row)
        excess_bytes -= size
    return Shedding(tuple(rows), tuple(sorted(refused)), max(excess_bytes, 0))


def _candidates(
    stored: Iterable[Stored], incoming: Sequence[SpoolRecord]
) -> Iterator[tuple[int, int, int]]:
    """Yield (index, row, size) in order of shedding; row -1 for an incoming one."""
    waiting = iter(stored)
    head = next(waiting, None)
    for rank in sorted(set(Rank) - {Rank.CONTROL}):
        while head is not None and head.rank <= rank:
            yield -1, head.row, head.size
            head = next(waiting, None)
        for index, record in enumerate(incoming):
            if record.rank == rank:
                yield index, -1, len(record.body)


def lost_of(record: SpoolRecord) -> Lost:
    """Return how a refused record is told."""
    return Lost(
        record.kind,
        record.label,
        record.epoch,
        record.sequence,
        record.samples,
        len(record.body),
    )


def tally(lost: Iterable[Lost], cause: str) -> tuple[Eviction, ...]:
    """Return one row per (kind, label), with the epochs' sequence ranges merged."""
    rows: dict[tuple[str, int], Eviction] = {}
    places: dict[tuple[str, int], list[tuple[bytes, int]]] = {}
    for one in lost:
        key = (one.kind, one.label)
        row = rows.get(key) or Eviction(*key, 0, 0, 0, (), cause)
        rows[key] = replace(
            row,
            records=row.records + 1,
            bytes_used=row.bytes_used + one.size,
            samples=row.samples + one.samples,
        )
        if one.epoch:
            places.setdefault(key, []).append((one.epoch, one.sequence))
    return tuple(
        replace(rows[key], epoch_ranges=ranges(places.get(key, [])))
        for key in sorted(rows)
    )


def ranges(places: Iterable[tuple[bytes, int]]) -> tuple[tuple[bytes, int, int], ...]:
    """Merge (epoch, sequence) pairs to (epoch, first, last), both ends included."""
    merged: list[tuple[bytes, int, int]] = []
    for epoch, sequence in sorted(set(places)):
        if merged and merged[-1][0] == epoch and merged[-1][2] + 1 == sequence:
            merged[-1] = (epoch, merged[-1][1], sequence)
        else:
            merged.append((epoch, sequence, sequence))
    return tuple(merged)
