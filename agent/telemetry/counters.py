"""Compliance counters: what was read, sent, kept back and lost, since when.

Rows are keyed (destination, label, rule, action, outcome). ``grown()`` is what the
next count.snap tells; telemetry publishes the very same rows, so that the two sum to
the same numbers by construction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from agent.records import CounterRow, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

Key: TypeAlias = tuple[str, int, str, str, Outcome]


class Counters:
    """Mirror of the store's counter table: totals, and growth since the last snapshot.

    Written by the flow task only, after the store has committed the same rows.
    """

    def __init__(
        self, totals: Iterable[CounterRow], pending: Iterable[CounterRow]
    ) -> None:
        """Take what the store holds: totals, and what no snapshot has told yet."""
        self._totals = {_key(row): (row.samples, row.bytes_used) for row in totals}
        self._pending = {_key(row): (row.samples, row.bytes_used) for row in pending}

    def add(self, rows: Iterable[CounterRow]) -> None:
        """Count rows that are now durable."""
        for row in rows:
            key = _key(row)
            for table in (self._totals, self._pending):
                samples, size = table.get(key, (0, 0))
                table[key] = (samples + row.samples, size + row.bytes_used)

    def grown(self) -> tuple[CounterRow, ...]:
        """Return the growth since the last snapshot, in a stable order."""
        return _rows(self._pending)

    def totals(self) -> tuple[CounterRow, ...]:
        """Return everything since the database was made, in a stable order."""
        return _rows(self._totals)

    def snapshot_taken(self) -> None:
        """The growth is in the evidence log now."""
        self._pending.clear()


def _key(row: CounterRow) -> Key:
    return (row.destination, row.label, row.rule, row.action, row.outcome)


def _rows(table: dict[Key, tuple[int, int]]) -> tuple[CounterRow, ...]:
    return tuple(
        CounterRow(*key, samples=samples, bytes_used=size)
        for key, (samples, size) in sorted(table.items())
        if samples or size
    )


def merged(rows: Iterable[CounterRow]) -> tuple[CounterRow, ...]:
    """Return rows with equal keys added up."""
    table: dict[Key, tuple[int, int]] = {}
    for row in rows:
        samples, size = table.get(_key(row), (0, 0))
        table[_key(row)] = (samples + row.samples, size + row.bytes_used)
    return _rows(table)
