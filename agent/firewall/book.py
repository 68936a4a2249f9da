"""How often which rule decided what, durable with the passes that saw it.

``grown`` is what the next `firewall.snap` of the evidence log tells. What no snapshot
has told yet stands in a document of the store, written in the transaction of the pass:
a power cut loses no refusal.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from agent.records import VerdictRow

if TYPE_CHECKING:
    from collections.abc import Iterable

Key: TypeAlias = tuple[str, str, str, str]

CELLS_MAX: Final = 2048  # 300 KiB of one entry; beyond them, told together
OTHERS: Final = "(others)"  # no name of a link or rule has brackets


class FirewallBook:
    """Written by the keeper only, after the store has committed the same rows."""

    def __init__(self, untold: Iterable[VerdictRow] = ()) -> None:
        """Take what no snapshot has told yet."""
        self.told_total = 0  # the sum of all counts told since the start
        self._totals: Counter[Key] = Counter()
        self._untold: Counter[Key] = Counter()
        self.add(untold)

    def add(self, rows: Iterable[VerdictRow]) -> None:
        """Count rows that are now durable."""
        for table in (self._totals, self._untold):
            _count(table, rows)

    def with_more(self, rows: Iterable[VerdictRow]) -> bytes:
        """Return the document of what will be untold once these rows are durable."""
        table = Counter(self._untold)
        _count(table, rows)
        return msgspec.msgpack.encode([1, _rows(table)])

    def grown(self) -> tuple[VerdictRow, ...]:
        """Return the growth since the last snapshot, in a stable order."""
        return _rows(self._untold)

    def totals(self) -> tuple[VerdictRow, ...]:
        """Return everything since the start of the process, in a stable order."""
        return _rows(self._totals)

    def told(self) -> None:
        """The growth is in the evidence log now."""
        self.told_total += self._untold.total()
        self._untold.clear()


def restored(document: bytes) -> FirewallBook:
    """Return the book of a document; ValueError where it is none."""
    try:
        version, rows = msgspec.msgpack.decode(
            document, type=tuple[int, tuple[VerdictRow, ...]]
        )
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ValueError("no book of the firewall") from None
    if version != 1 or any(row.count < 1 for row in rows):
        raise ValueError("no book of the firewall")
    return FirewallBook(rows)


def merged(rows: Iterable[VerdictRow]) -> tuple[VerdictRow, ...]:
    """Return rows with equal keys added up."""
    table: Counter[Key] = Counter()
    _count(table, rows)
    return _rows(table)


def _count(table: Counter[Key], rows: Iterable[VerdictRow]) -> None:
    for row in rows:
        key = (row.link, row.rule, row.verdict, row.reason)
        if key not in table and len(table) >= CELLS_MAX:
            key = (OTHERS, OTHERS, row.verdict, row.reason)
        table[key] += row.count


def _rows(table: Counter[Key]) -> tuple[VerdictRow, ...]:
    return tuple(VerdictRow(*key, count) for key, count in sorted(table.items()))
