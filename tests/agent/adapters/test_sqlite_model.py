"""The SQLite store does what a store in memory does, whatever is asked of both."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from agent.adapters.sqlite_check import check_all
from agent.errors import Unavailable
from agent.records import Commit, CounterRow, Eviction, Outcome, Rank
from tests.support.examples import upto
from tests.support.memory_store import MemoryStore
from tests.support.store_cases import (
    EPOCH,
    opened,
    retained_record,
    spool_record,
    witness,
)

CAP, RETAINED_CAP = 3_000, 1_000


class BothStores(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.path = Path(self._folder.name) / "store.db"
        self.real = opened(self.path, CAP, RETAINED_CAP)
        self.model = MemoryStore(CAP, RETAINED_CAP, witness)
        self.number = 0
        self.handed: list[int] = []

    @rule(
        ranks=st.lists(st.sampled_from(list(Rank)), max_size=5),
        size=st.integers(min_value=1, max_value=900),
        kept=st.lists(st.integers(min_value=1, max_value=600), max_size=3),
        label=st.integers(min_value=1, max_value=3),
        snapshot=st.booleans(),
    )
    def commit(
        self, ranks: list[Rank], size: int, kept: list[int], label: int, snapshot: bool
    ) -> None:
        first, self.number = self.number, self.number + len(ranks) + len(kept) + 1
        commit = Commit(
            records=tuple(
                spool_record(first + n, rank, size, label=label)
                for n, rank in enumerate(ranks)
            ),
            retained=tuple(
                retained_record(first + n, 100 * n, length)
                for n, length in enumerate(kept)
            ),
            evidence=(b"pass %d" % first,),
            counters=(CounterRow("oem", label, "r", "a", Outcome.SENT, len(ranks), 1),),
            snapshot=snapshot,
        )
        outcomes: list[tuple[Eviction, ...] | str] = []
        for store in (self.real, self.model):
            try:
                outcomes.append(store.commit(commit))
            except Unavailable:
                outcomes.append("unavailable")
        assert outcomes[0] == outcomes[1]

    @rule(live=st.integers(0, 6), backlog=st.integers(0, 6), taken=st.booleans())
    def send(self, live: int, backlog: int, taken: bool) -> None:
        queued = self.real.next_to_send(live, backlog)
        assert queued == self.model.next_to_send(live, backlog)
        if taken:
            rows = [q.row for q in queued]
            self.handed += rows
            for store in (self.real, self.model):
                store.mark_sent(rows)

    @precondition(lambda self: self.handed)
    @rule(step=st.integers(1, 3), confirmed=st.booleans())
    def answered(self, step: int, confirmed: bool) -> None:
        rows = self.handed[::step]
        if confirmed:
            assert self.real.confirm_rows(rows) == self.model.confirm_rows(rows)
        else:
            self.real.release(rows)
            self.model.release(rows)
        self.handed = [row for row in self.handed if row not in rows]

    @rule()
    def reconnect(self) -> None:
        self.real.forget_sent()
        self.model.forget_sent()
        self.handed = []

    @rule(low=st.integers(0, 60), count=st.integers(0, 10), as_range=st.booleans())
    def receipt(self, low: int, count: int, as_range: bool) -> None:
        span = range(low, low + count)
        asked = span if as_range else list(span)
        assert self.real.confirm(EPOCH, asked) == self.model.confirm(EPOCH, span)

    @rule(now=st.integers(0, 300))
    def expire(self, now: int) -> None:
        assert self.real.expire(now) == self.model.expire(now)

    @rule(label=st.integers(1, 4))
    def destroy(self, label: int) -> None:
        places = [("oem", label), ("nobody", 1)]
        assert self.real.destroy(places) == self.model.destroy(places)

    @rule(size=st.integers(0, 40))
    def evidence_receipt(self, size: int) -> None:
        root = self.model.root_at(size)
        assert self.real.evidence_receipted(
            size, root
        ) == self.model.evidence_receipted(size, root)

    @rule()
    def restart(self) -> None:
        self.real.close()
        self.real = opened(self.path, CAP, RETAINED_CAP)
        assert self.real.broken is None
        self.model.forget_sent()  # which rows went out is not durable, by contract
        self.handed = []

    @invariant()
    def they_agree(self) -> None:
        assert self.real.statistics() == self.model.statistics()
        assert self.real.statistics().bytes_used <= CAP
        assert self.real.evidence_since(0, 10_000) == self.model.entries
        assert self.real.root()[1] == self.model.root_at(len(self.model.entries))
        for real, model in (
            (self.real.counters(), self.model.counters()),
            (self.real.untold_counters(), self.model.untold_counters()),
        ):
            assert sorted(real, key=repr) == sorted(model, key=repr)

    def teardown(self) -> None:
        self.real.close()
        assert check_all(self.path) == []
        self._folder.cleanup()


BothStores.TestCase.settings = settings(max_examples=upto(40), stateful_step_count=25)
TestBothStores = BothStores.TestCase
