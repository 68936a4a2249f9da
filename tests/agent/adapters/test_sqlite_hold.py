"""What is held is not offered, whatever is sent, released, confirmed or comes anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.adapters.sqlite_sending import Held
from agent.records import Commit, Rank
from tests.support.examples import upto
from tests.support.store_cases import opened, spool_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.adapters.sqlite_store import SqliteStore

PLACES = [("oem", 1), ("oem", 2), ("supplier", 1)]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["spool", "send", "hold", "free", "back", "done", "link"]),
        st.integers(0, 7),
    ),
    min_size=1,
    max_size=40,
)


class Model:
    """The same in plain Python."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.next = 1
        self.rows: dict[int, tuple[str, int]] = {}  # sequence -> place
        self.sent: set[int] = set()
        self.held: set[int] = set()
        self.row_of: dict[int, int] = {}

    def do(self, step: str, number: int) -> None:
        doings: dict[str, Callable[[int], None]] = {
            "spool": self.spool, "send": self.send, "hold": self.hold,
            "free": self.free, "back": self.back, "done": self.done, "link": self.link,
        }  # fmt: skip
        doings[step](number)

    def spool(self, number: int) -> None:
        place = PLACES[number % 3]
        record = spool_record(
            self.next, Rank(number % 4), 60, destination=place[0], label=place[1]
        )
        self.store.commit(Commit(records=(record,)))
        self.rows[self.next] = place
        self.next += 1

    def send(self, number: int) -> None:
        queued = self.store.next_to_send(number % 3 + 1, number % 2 + 1)
        found = [one.record.sequence for one in queued]
        may = set(self.rows) - self.sent - self.held
        assert set(found) <= may
        assert len(found) == min(len(may), number % 3 + 1 + number % 2 + 1)
        self.store.mark_sent([one.row for one in queued])
        self.row_of |= {one.record.sequence: one.row for one in queued}
        self.sent |= set(found)

    def hold(self, number: int) -> None:
        places = {PLACES[number % 3], PLACES[number % 2]}
        self.store.hold([Held(*place, False) for place in places])
        self.held = {n for n, place in self.rows.items() if place in places}

    def free(self, _: int) -> None:
        self.store.hold([])
        self.held = set()

    def back(self, number: int) -> None:
        some = sorted(self.sent)[: number + 1]
        self.store.release([self.row_of[one] for one in some])
        self.sent -= set(some)

    def done(self, number: int) -> None:
        some = sorted(self.sent)[: number + 1]
        self.store.confirm_rows([self.row_of[one] for one in some])
        for one in some:
            del self.rows[one]
        self.sent -= set(some)
        self.held -= set(some)

    def link(self, _: int) -> None:
        self.store.forget_sent()
        self.sent = set()


@settings(max_examples=upto(60), deadline=None)
@given(steps=STEPS)
def test_held_records_are_never_offered_and_all_others_are(
    tmp_path_factory: object, steps: list[tuple[str, int]]
) -> None:
    folder: Path = tmp_path_factory.mktemp("hold")  # type: ignore[attr-defined]  # pytest's factory
    store = opened(folder / "store.db")
    model = Model(store)
    for step, number in steps:
        model.do(step, number)
    model.free(0)
    model.link(0)
    left = {one.record.sequence for one in store.next_to_send(50, 50)}
    assert left == set(model.rows)
    store.close()


def test_a_long_held_backlog_is_passed_over_once(tmp_path: Path) -> None:
    """Not again with every question: the cursor stands behind what is held."""
    store = opened(tmp_path / "store.db")
    for start in range(0, 5000, 500):
        records = [spool_record(start + n, size=40, label=1) for n in range(1, 501)]
        store.commit(Commit(records=tuple(records)))
    store.forget_sent()
    store.hold([Held("oem", 1, False)])
    assert store.next_to_send(10, 10) == []
    store.commit(Commit(records=(spool_record(9000, label=2),)))
    assert [q.record.sequence for q in store.next_to_send(10, 10)] == [9000]
    floors = store._sending._floor
    assert min(floor for (rank, _), floor in floors.items() if rank == 1) >= 5000
    store.hold([])
    assert len(store.next_to_send(10, 10)) == 20
    store.close()
