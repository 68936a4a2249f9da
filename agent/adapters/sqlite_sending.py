"""What of the spool is to be sent next. Which rows went out lives in memory only.

A row that was sent and not confirmed is sent again on the next connection, so the fact
that it was sent need not be durable; losing it costs a duplicate, which receivers drop.
The set is bounded: beyond ``SENT_MAX`` unconfirmed rows nothing more goes out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from agent.adapters.sqlite_change import spool_checksum
from agent.records import Queued, Rank, SpoolRecord
from agent.store.schema import SPOOL_COLUMNS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

SENT_MAX: Final = 16_384  # rows sent and not confirmed; 1 MiB of memory
SEND_BYTES_MAX: Final = 8 * 1024 * 1024  # one answer of next_to_send, at least a row

_PAGE: Final = (
    "SELECT row, size FROM spool INDEXED BY spool_order"
    " WHERE rank = ? AND row > ? AND row <= ? ORDER BY row LIMIT ?"
)
# substr last: it may read the whole message (docs/formats/envelope.md section 5: an
# open batch is msgpack of three)
_PAGE_NOT_HELD: Final = _PAGE.replace(
    "ORDER BY",
    "AND NOT (row < ? AND EXISTS (SELECT 1 FROM temp.hold AS h"
    " WHERE h.destination = spool.destination AND h.label = spool.label"
    " AND (h.only_open = 0 OR substr(spool.body, 1, 1) = x'93'))) ORDER BY",
)
_HOLD: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS hold (destination TEXT NOT NULL,"
    " label INTEGER NOT NULL, only_open INTEGER NOT NULL,"
    " PRIMARY KEY (destination, label)) STRICT, WITHOUT ROWID"
)
_READ: Final = f"SELECT {SPOOL_COLUMNS} FROM spool WHERE row = ?"  # noqa: S608  # our own column names
_EPOCHS: Final = (  # from one to the next; DISTINCT would read a whole backlog
    "WITH RECURSIVE e (epoch) AS (SELECT min(epoch) FROM spool UNION ALL"
    " SELECT (SELECT min(epoch) FROM spool WHERE epoch > e.epoch)"
    " FROM e WHERE e.epoch IS NOT NULL)"
    " SELECT epoch FROM e WHERE epoch IS NOT NULL"
)
_LAST_OF_EPOCH: Final = (
    "SELECT epoch, kind, body, destination FROM spool WHERE epoch = ?"
    " ORDER BY sequence DESC LIMIT 1"
)
_LAST_ROW: Final = 2**62


class Held(NamedTuple):
    """What is not offered now: all that is spooled for a label, or what is open."""

    destination: str
    label: int
    only_open: bool


class Sending:
    """Live and backlog cursors of one connection to the broker."""

    def __init__(self, next_row: int) -> None:
        """Start a connection: all rows below ``next_row`` are backlog."""
        self._sent: set[int] = set()
        self._floor: dict[tuple[Rank, bool], int] = {}
        self._cursor = next_row - 1
        self._held_below = 0  # rows below it are looked up in temp.hold; 0: nothing is
        self.forget(next_row)

    def forget(self, next_row: int) -> None:
        """Begin anew: nothing is sent, what is there is backlog."""
        self._sent.clear()
        self._cursor = next_row - 1
        # Rows at or below the floor of their rank and side have all been sent.
        sides = [(rank, live) for rank in Rank for live in (True, False)]
        self._floor = {side: self._start(side) for side in sides}

    def mark(self, rows: Iterable[int]) -> None:
        """Remember rows that the broker took."""
        self._sent.update(rows)

    def unmark(self, rows: Iterable[int]) -> None:
        """Forget rows that are confirmed or gone."""
        self._sent.difference_update(rows)

    def release(self, rows: Iterable[int]) -> None:
        """Offer rows again that were marked and could not be sent after all."""
        back = self._sent.intersection(rows)
        self._sent -= back
        lowest = min(back, default=_LAST_ROW)
        for side, floor in self._floor.items():
            self._floor[side] = min(floor, max(lowest - 1, self._start(side)))

    def hold(
        self, database: sqlite3.Connection, places: Sequence[Held], next_row: int
    ) -> None:
        """Offer nothing below ``next_row`` that is for ``places``; () ends it."""
        database.execute(_HOLD)
        database.execute("DELETE FROM temp.hold")
        database.executemany("INSERT INTO temp.hold VALUES (?, ?, ?)", places)
        self._held_below = next_row if places else 0
        self._floor = {side: self._start(side) for side in self._floor}

    def _start(self, side: tuple[Rank, bool]) -> int:
        return self._cursor if side[1] else 0

    @property
    def unconfirmed(self) -> int:
        """Return how many rows are sent and not confirmed."""
        return len(self._sent)

    def choose(
        self, database: sqlite3.Connection, live: int, backlog: int
    ) -> list[int]:
        """Return rows to send: live first, then backlog, each by rank and age.

        What one side does not use of its share, the other may.
        """
        total = min(live + backlog, SENT_MAX - len(self._sent))
        if total <= 0:
            return []
        new = self._unsent(database, True, total)
        old = self._unsent(database, False, total)
        take_new = min(len(new), max(live, total - len(old)), total)
        chosen = new[:take_new] + old[: total - take_new]
        used = 0
        rows: list[int] = []
        for row, size in chosen:
            used += size
            if rows and used > SEND_BYTES_MAX:
                break
            rows.append(row)
        return rows

    def _unsent(
        self, database: sqlite3.Connection, live: bool, limit: int
    ) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for rank in sorted(Rank, reverse=True):
            for row, size in self._side(database, rank, live, limit):
                found.append((row, size))
                if len(found) == limit:
                    return found
        return found

    def _side(
        self, database: sqlite3.Connection, rank: Rank, live: bool, page: int
    ) -> Iterator[tuple[int, int]]:
        """Yield unsent (row, size) of one rank and side, oldest first."""
        last = _LAST_ROW if live else self._cursor
        side, leading = (rank, live), True
        start = self._floor[side]
        while True:
            rows = self._page(database, rank, start, last, page)
            for row, size in rows:
                if row not in self._sent:
                    if leading:  # what lies before it is sent, or held
                        self._floor[side] = row - 1
                    leading = False
                    yield row, size
            if len(rows) < page:
                break
            start = rows[-1][0]
        if leading:  # all are sent or held; what comes later has higher numbers
            seen = rows[-1][0] if rows else min(last, self._held_below - 1)
            self._floor[side] = max(start, seen)

    def _page(
        self, database: sqlite3.Connection, rank: Rank, start: int, last: int, page: int
    ) -> list[tuple[int, int]]:
        if self._held_below:
            values = (rank, start, last, self._held_below, page)
            return database.execute(_PAGE_NOT_HELD, values).fetchall()
        return database.execute(_PAGE, (rank, start, last, page)).fetchall()


def read(
    database: sqlite3.Connection, rows: Sequence[int]
) -> tuple[list[Queued], list[int]]:
    """Return the messages of ``rows``, and the rows whose bytes have changed."""
    good: list[Queued] = []
    bad: list[int] = []
    for row in rows:
        found = database.execute(_READ, (row,)).fetchone()
        if found is None:
            continue
        record = record_of(found)
        if record is None:
            bad.append(row)
        else:
            good.append(Queued(row, record))
    return good, bad


def record_of(values: Sequence[object]) -> SpoolRecord | None:
    """Return the record of a row's ``SPOOL_COLUMNS``; None where its checksum lies."""
    *head, _, crc, body = values
    try:
        kind, destination, rank, label, epoch, sequence, created, confirm, samples = (
            head
        )
        record = SpoolRecord(
            str(kind),
            str(destination),
            Rank(int(str(rank))),
            int(str(label)),
            bytes(epoch) if isinstance(epoch, bytes) else b"",
            int(str(sequence)),
            int(str(created)),
            body if isinstance(body, bytes) else b"",
            str(confirm),
            int(str(samples)),
        )
    except ValueError:  # a rank that is none
        return None
    return record if spool_checksum(record) == crc else None


def last_of_epochs(
    database: sqlite3.Connection, destination: str
) -> list[tuple[bytes, str, bytes]]:
    """Return (epoch, kind, message) of the last spooled record of every epoch."""
    epochs = database.execute(_EPOCHS).fetchall()
    last = [database.execute(_LAST_OF_EPOCH, one).fetchone() for one in epochs]
    return [  # an epoch is of one destination
        (bytes(epoch), str(kind), bytes(body))
        for epoch, kind, body, place in last
        if place == destination
    ]
