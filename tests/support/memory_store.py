"""A store in memory: what ``agent.ports.Store`` says, in the fewest words.

The model that the SQLite store is compared with, and a stand-in for tests of the flow
that need no disk. ``fail`` makes the next call raise Unavailable, as a full disk would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from agent.errors import Unavailable
from agent.records import (
    CounterRow,
    Eviction,
    Queued,
    Rank,
    SpoolRecord,
    StoreStatistics,
)
from agent.store.accounting import Lost, lost_of, tally
from protocols.tlog.tree import Growth, leaf_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from agent.records import Commit, Outcome, RetainedRecord


Key: TypeAlias = "tuple[str, int, str, str, Outcome]"


class MemoryStore:
    """Implements ``agent.ports.Store``."""

    def __init__(
        self,
        cap_bytes: int,
        retained_bytes: int,
        witness: Callable[[str, tuple[Eviction, ...]], bytes],
    ) -> None:
        self.fail = ""
        self.spool: dict[int, SpoolRecord] = {}
        self.retained: list[RetainedRecord] = []
        self.entries: list[bytes] = []
        self.counted: dict[Key, tuple[int, int]] = {}
        self.untold: dict[Key, tuple[int, int]] = {}
        self.evicted_records = 0
        self.evidence_sent = 0
        self._cap, self._retained_cap = cap_bytes, retained_bytes
        self._witness = witness
        self._next_row = 1
        self._cursor = 0
        self._sent: set[int] = set()

    def commit(self, commit: Commit) -> tuple[Eviction, ...]:
        if self.fail:
            reason, self.fail = self.fail, ""
            raise Unavailable("store", reason)
        both = [*self.spool.values(), *commit.records]
        control = self._bytes(r for r in both if r.rank is Rank.CONTROL)
        if commit.records and control > self._cap:
            raise Unavailable("store", "full of what is never shed")
        incoming = dict(enumerate(commit.records, self._next_row))
        everything = self.spool | incoming
        evicted: list[Lost] = []
        refused: list[Lost] = []
        if commit.records:
            order = sorted(everything, key=lambda row: (everything[row].rank, row))
            for row in order:
                if self._bytes(everything.values()) <= self._cap:
                    break
                record = everything.pop(row)
                (refused if row in incoming else evicted).append(lost_of(record))
        taken = [everything.pop(row) for row in incoming if row in everything]
        self.spool = everything | dict(enumerate(taken, self._next_row))
        self._next_row += len(taken)
        self._retain(commit.retained, evicted, refused)
        if commit.snapshot:
            self.untold.clear()
        for one in commit.counters:
            key = (one.destination, one.label, one.rule, one.action, one.outcome)
            for table in (self.counted, self.untold):
                samples, used = table.get(key, (0, 0))
                table[key] = (samples + one.samples, used + one.bytes_used)
        self.entries += commit.evidence
        self.evicted_records += len(evicted) + len(refused)
        return self._lose("evicted", evicted) + self._lose("refused", refused)

    def _retain(
        self,
        records: Sequence[RetainedRecord],
        evicted: list[Lost],
        refused: list[Lost],
    ) -> None:
        old = len(self.retained)
        kept = [*self.retained, *records]
        while records and sum(len(r.body) for r in kept) > self._retained_cap:
            r = kept.pop(0)
            size = len(r.body)
            lost = Lost("retained", r.label, r.epoch, r.sequence, r.samples, size)
            (evicted if old > 0 else refused).append(lost)
            old -= 1
        self.retained = kept
        self._next_row += len(kept) - max(old, 0)

    def _lose(self, cause: str, lost: list[Lost]) -> tuple[Eviction, ...]:
        if not lost:
            return ()
        rows = tally(lost, cause)
        self.entries.append(self._witness(cause, rows))
        return rows

    @staticmethod
    def _bytes(records: Iterable[SpoolRecord]) -> int:
        return sum(len(r.body) for r in records)

    def expire(self, now_ns: int) -> tuple[Eviction, ...]:
        gone = [r for r in self.retained if r.expires_ns <= now_ns]
        self.retained = [r for r in self.retained if r.expires_ns > now_ns]
        return self._lose(
            "expired",
            [
                Lost("retained", r.label, r.epoch, r.sequence, r.samples, len(r.body))
                for r in gone
            ],
        )

    def destroy(self, places: Sequence[tuple[str, int]]) -> tuple[Eviction, ...]:
        lost: tuple[Eviction, ...] = ()
        for place in places:
            rows = [
                row
                for row, r in self.spool.items()
                if (r.destination, r.label) == place
            ]
            gone = [lost_of(self.spool.pop(row)) for row in rows]
            lost += self._lose("destroyed", gone)
        return lost

    def next_to_send(self, live: int, backlog: int) -> list[Queued]:
        rows = sorted(
            (row for row in self.spool if row not in self._sent),
            key=lambda row: (-self.spool[row].rank, row),
        )
        new = [row for row in rows if row > self._cursor]
        old = [row for row in rows if row <= self._cursor]
        total = live + backlog
        first = new[: max(live, total - len(old))][:total]
        chosen = first + old[: total - len(first)]
        return [Queued(row, self.spool[row]) for row in chosen]

    def mark_sent(self, rows: Sequence[int]) -> None:
        self._sent.update(rows)

    def release(self, rows: Sequence[int]) -> None:
        self._sent.difference_update(rows)

    def forget_sent(self) -> None:
        self._sent.clear()
        self._cursor = self._next_row - 1

    def confirm(self, epoch: bytes, sequences: Sequence[int]) -> int:
        return self.confirm_rows(
            [
                row
                for row, r in self.spool.items()
                if r.epoch == epoch and r.sequence in sequences
            ]
        )

    def confirm_rows(self, rows: Sequence[int]) -> int:
        return len([row for row in rows if self.spool.pop(row, None) is not None])

    def evidence_since(self, start: int, limit: int) -> list[bytes]:
        return self.entries[start : start + limit]

    def evidence_receipted(self, size: int, root: bytes) -> bool:
        if size > len(self.entries) or self.root_at(size) != root:
            return False
        self.evidence_sent = max(self.evidence_sent, size)
        return True

    def root_at(self, size: int) -> bytes:
        growth = Growth(0, {})
        growth.append([leaf_hash(entry) for entry in self.entries[:size]])
        return growth.root()

    def counters(self) -> list[CounterRow]:
        return [CounterRow(*key, *sums) for key, sums in self.counted.items()]

    def untold_counters(self) -> list[CounterRow]:
        return [CounterRow(*key, *sums) for key, sums in self.untold.items()]

    def statistics(self) -> StoreStatistics:
        first = min(self.spool, default=0)
        return StoreStatistics(
            records=len(self.spool),
            bytes_used=self._bytes(self.spool.values()),
            bytes_max=self._cap,
            oldest_ns=self.spool[first].created_ns if self.spool else 0,
            evidence_size=len(self.entries),
            evidence_sent=self.evidence_sent,
            evicted_records=self.evicted_records,
            retained_records=len(self.retained),
            evidence_bytes=sum(map(len, self.entries)),
        )

    def close(self) -> None:
        """Keep everything: tests look into it."""
