"""Reads the compliance counters and the sums of losses out of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.records import CounterRow, Eviction, Outcome

if TYPE_CHECKING:
    from agent.adapters.sqlite_connection import Connection

_COUNTERS: Final = (
    "SELECT destination, label, rule, action, outcome, {samples}, {bytes}"
    " FROM counters WHERE {samples} <> 0 OR {bytes} <> 0"
)
_ALL: Final = _COUNTERS.format(samples="samples", bytes="bytes")
_UNTOLD: Final = _COUNTERS.format(
    samples="samples - told_samples", bytes="bytes - told_bytes"
)


def counters_of(connection: Connection, *, untold: bool = False) -> list[CounterRow]:
    """Return the counters over the store's life, or since the last snapshot."""
    with connection.reading("counters") as database:
        rows = database.execute(_UNTOLD if untold else _ALL).fetchall()
    return [
        CounterRow(to, label, rule, action, Outcome(outcome), count, size)
        for to, label, rule, action, outcome, count, size in rows
    ]


def losses_of(connection: Connection) -> list[Eviction]:
    """Return all that was ever lost, by cause, kind and label."""
    with connection.reading("losses") as database:
        rows = database.execute(
            "SELECT kind, label, records, bytes, samples, cause FROM losses"
        ).fetchall()
    return [Eviction(k, n, r, b, s, (), cause) for k, n, r, b, s, cause in rows]
