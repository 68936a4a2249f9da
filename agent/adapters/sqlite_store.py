"""The store on SQLite: spool, retained data, evidence and its tree. One writer.

DESIGN section 8: one transaction per commit, so promise 2 is the database's. Made by
`agent.adapters.sqlite_open.open_store`. Calls that touch the database come from one
worker thread; what only tells (`statistics`, `log_id`, `root`) reads memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from agent.adapters.sqlite_log import Logbook
from agent.adapters.sqlite_sending import Sending, last_of_epochs, read
from agent.adapters.sqlite_sums import counters_of, losses_of
from agent.records import StoreStatistics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.adapters.sqlite_change import Witness
    from agent.adapters.sqlite_connection import Connection
    from agent.adapters.sqlite_files import FileLock
    from agent.adapters.sqlite_sending import Held
    from agent.records import Commit, CounterRow, Eviction, Queued
    from agent.store.accounting import State
    from agent.store.salvage import Break
    from protocols.tlog.tree import Growth

ROWS_AT_ONCE: Final = 4096  # deleted in one transaction: memory stays bounded
_SEQUENCE_MAX: Final = 2**63 - 1  # what a column can hold

_EXPIRED: Final = "SELECT row FROM retained WHERE expires_ns <= ? LIMIT ?"
_OF_LABEL: Final = "SELECT row FROM spool WHERE destination = ? AND label = ? LIMIT ?"
# msgpack of three: header, content, signature (docs/formats/envelope.md section 5)
_IN_THE_OPEN: Final = _OF_LABEL.replace("LIMIT", "AND substr(body, 1, 1) = x'93' LIMIT")
_LABELS: Final = "SELECT DISTINCT destination, label FROM spool"
_OF_SEQUENCES: Final = (
    "SELECT row FROM spool WHERE epoch = ? AND sequence BETWEEN ? AND ? LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums since the store was made; ``held`` is the level after the last commit."""

    classified: int
    unclassified: int
    held: int


class SqliteStore(Logbook):
    """Implements ``agent.ports.Store``; see there for what a raise means."""

    def __init__(
        self,
        connection: Connection,
        state: State,
        growth: Growth,
        caps: tuple[int, int],
        witness: Witness,
        lock: FileLock,
    ) -> None:
        """Take an opened, checked database; ``caps``: bytes of spool and retained."""
        super().__init__(connection, state, growth, witness)
        self._spool_max, self._retained_max = caps
        self._lock = lock
        self._sending = Sending(state.next_row)
        self.broken: Break | None = None  # set by the opener that found damage

    # --- what the flow makes durable ----------------------------------------------

    def commit(self, commit: Commit) -> tuple[Eviction, ...]:
        """Make one pass durable in one transaction; return what the caps cost.

        Unavailable: nothing happened (disk full, busy, CONTROL alone over the cap).
        """
        with self._changing("commit") as change:
            evicted, refused = change.spool(commit.records, self._spool_max)
            expelled, turned_away = change.retain(commit.retained, self._retained_max)
            if commit.snapshot:
                change.tell_counters()
            change.count(commit.counters)
            change.keep(commit.documents)
            change.testify(commit.evidence)
            lost = change.lose("evicted", evicted + expelled)
            lost += change.lose("refused", refused + turned_away)
            change.state = replace(
                change.state,
                classified=change.state.classified + commit.coverage[0],
                unclassified=change.state.unclassified + commit.coverage[1],
                held=commit.held,
            )
        return lost

    def limit(self, spool_max: int, retained_max: int) -> tuple[Eviction, ...]:
        """Let the caps be these from now on; what is over them goes, and is told."""
        caps = self._spool_max, self._retained_max = spool_max, retained_max
        lost: tuple[Eviction, ...] = ()
        while any(used > cap for used, cap in zip(self.used_bytes, caps, strict=True)):
            with self._changing("give way") as change:
                gone = change.give_way(*caps, ROWS_AT_ONCE)
                lost += change.lose("evicted", gone)
            if not gone:
                break  # what is left is never shed
        return lost

    @property
    def used_bytes(self) -> tuple[int, int]:
        """Return bytes of messages in the spool, and of retained data."""
        return self._state.spool_bytes, self._state.retained_bytes

    def spare_bytes(self) -> tuple[int, int]:
        """Return bytes of empty pages in the file, and of the write-ahead log."""
        return self._connection.spare_bytes()

    @property
    def folder(self) -> Path:
        """Return where the database is."""
        return self._connection.path.parent

    def expire(self, now_ns: int) -> tuple[Eviction, ...]:
        """Delete retained data whose time is over, with a record of it.

        The freed pages are overwritten (secure_delete) and the log is folded in, so
        that no old page image stays behind.
        """
        lost: tuple[Eviction, ...] = ()
        while rows := self._rows(_EXPIRED, (now_ns, ROWS_AT_ONCE)):
            with self._connection.erasing(), self._changing("expire") as change:
                lost += change.lose("expired", change.drop_retained(rows))
        return lost

    def destroy(
        self,
        places: Sequence[tuple[str, int]],
        *,
        only_open: bool = False,
        epochs: Sequence[bytes] = (),
    ) -> tuple[Eviction, ...]:
        """Delete what is spooled for (destination, label) pairs, with a record of it.

        They lost their permission, or (``only_open``) to leave in the open. ``epochs``:
        what lost the consent that it was released under.
        """
        lost: tuple[Eviction, ...] = ()
        query = _IN_THE_OPEN if only_open else _OF_LABEL
        wanted: list[tuple[str, tuple[str | bytes | int, ...]]] = [
            *((query, place) for place in places),
            *((_OF_SEQUENCES, (epoch, 0, _SEQUENCE_MAX)) for epoch in epochs),
        ]
        for asked, place in wanted:
            while rows := self._rows(asked, (*place, ROWS_AT_ONCE)):
                with self._connection.erasing(), self._changing("destroy") as change:
                    lost += change.lose("destroyed", change.drop_spooled(rows))
                self._sending.unmark(rows)
        return lost

    def _rows(self, query: str, values: tuple[bytes | str | int, ...]) -> list[int]:
        with self._connection.reading("rows") as database:
            return [row for (row,) in database.execute(query, values)]

    def spooled_places(self) -> list[tuple[str, int]]:
        """Return every (destination, label) that has something in the spool."""
        with self._connection.reading("places") as database:
            return [(str(d), int(n)) for d, n in database.execute(_LABELS)]

    def last_of_epochs(self, destination: str) -> list[tuple[bytes, str, bytes]]:
        """Return (epoch, kind, message) of the last spooled record of every epoch."""
        with self._connection.reading("epochs") as database:
            return last_of_epochs(database, destination)

    def hold(self, places: Sequence[Held]) -> None:
        """Offer nothing that is spooled now for these places, until told otherwise.

        They lost their permission on trial: destroyed once it is confirmed, offered
        again (an empty ``places``) where it is taken back. Not durable: told at start.
        """
        with self._connection.reading("hold") as database:
            self._sending.hold(database, places, self._state.next_row)

    # --- what the uplink sends ----------------------------------------------------

    def next_to_send(self, live: int, backlog: int) -> list[Queued]:
        """Return unsent records, highest rank first, then oldest first.

        Up to ``live`` that came after `forget_sent` and ``backlog`` that were there;
        a share that one side leaves unused goes to the other. A row whose bytes have
        changed on the disk is never sent: it is counted and removed as ``damaged``.
        """
        with self._connection.reading("send") as database:
            queued, bad = read(database, self._sending.choose(database, live, backlog))
        if bad:
            with self._changing("remove damaged") as change:
                change.lose("damaged", change.drop_spooled(bad))
        return queued

    def mark_sent(self, rows: Sequence[int]) -> None:
        """Remember what the broker took, for this connection (not durable)."""
        self._sending.mark(rows)

    def release(self, rows: Sequence[int]) -> None:
        """Take `mark_sent` back: these could not be sent and are offered again."""
        self._sending.release(rows)

    def forget_sent(self) -> None:
        """A new connection: all that is there is unsent backlog again."""
        self._sending.forget(self._state.next_row)

    @property
    def unconfirmed(self) -> int:
        """Return how many records are sent and wait for their confirmation."""
        return self._sending.unconfirmed

    def confirm(self, epoch: bytes, sequences: Sequence[int]) -> int:
        """Remove receipted records of one epoch; return how many were there.

        Sequence 0 stands for the epoch's announcement (``protocols/receipts.py``). A
        ``range`` may be as long as it likes: it is asked for as a range.
        """
        if not (isinstance(sequences, range) and sequences.step == 1):
            found = (self._rows(_OF_SEQUENCES, (epoch, n, n, 2)) for n in sequences)
            return self.confirm_rows([row for rows in found for row in rows])
        removed = 0
        place = (epoch, sequences.start, min(sequences.stop - 1, _SEQUENCE_MAX))
        while rows := self._rows(_OF_SEQUENCES, (*place, ROWS_AT_ONCE)):
            removed += self.confirm_rows(rows)
        return removed

    def destination_of(self, epoch: bytes) -> str | None:
        """Return whom the spooled records of an epoch are for; None where none is."""
        with self._connection.reading("epoch") as database:
            row = database.execute(
                "SELECT destination FROM spool WHERE epoch = ? LIMIT 1", (epoch,)
            ).fetchone()
        return None if row is None else str(row[0])

    def confirm_rows(self, rows: Sequence[int]) -> int:
        """Remove records that the broker's acknowledgement is enough for."""
        if not rows:
            return 0
        with self._changing("confirm") as change:
            removed = len(change.drop_spooled(rows))
        self._sending.unmark(rows)
        return removed

    # --- sums and documents -------------------------------------------------------

    def counters(self) -> list[CounterRow]:
        """Return the compliance counters, summed over the store's life."""
        return counters_of(self._connection)

    def untold_counters(self) -> list[CounterRow]:
        """Return what was counted since the last commit with a ``snapshot``.

        The counters of that very commit are among it: its count.snap was encoded
        before they were durable.
        """
        return counters_of(self._connection, untold=True)

    def totals(self) -> Totals:
        """Return what was read, by coverage, and what is held."""
        state = self._state
        return Totals(state.classified, state.unclassified, state.held)

    def losses(self) -> list[Eviction]:
        """Return all that was ever lost, by cause, kind and label."""
        return losses_of(self._connection)

    def keep_document(self, name: str, body: bytes) -> None:
        """Keep a named document durably; `commit` keeps some with their evidence."""
        with self._changing("document") as change:
            change.keep({name: body})

    def document(self, name: str) -> bytes | None:
        """Return a named document; None where there is none."""
        with self._connection.reading("document") as database:
            row = database.execute(
                "SELECT body FROM documents WHERE name = ?", (name,)
            ).fetchone()
        return None if row is None else bytes(row[0])

    def statistics(self) -> StoreStatistics:
        """Return how the store is after the last transaction.

        From memory: whoever asks from another thread never waits for the disk, nor for
        a transaction that is under way.
        """
        state = self._state
        return StoreStatistics(
            records=state.spool_records,
            bytes_used=state.spool_bytes,
            bytes_max=self._spool_max,
            oldest_ns=self._oldest_ns,
            evidence_size=state.evidence_size,
            evidence_sent=state.evidence_sent,
            evidence_first=self._first,
            evidence_bytes=state.evidence_bytes,
            evicted_records=state.evicted_records,
            retained_records=state.retained_records,
        )

    def close(self) -> None:
        """Close; everything committed stays."""
        self._connection.close()
        self._lock.release()
