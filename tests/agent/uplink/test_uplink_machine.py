"""Walks the table, the backoff, the verdicts and the window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.limits import SEND_WINDOW
from agent.uplink.backoff import CEILING_S, FLOOR_S, Backoff
from agent.uplink.machine import CONNECTED, NEXT, Event, State, after
from agent.uplink.scheduler import RECEIPT_WAIT_NS, UNCONFIRMED_MAX, Scheduler
from agent.uplink.verdict import Verdict, judge


def test_every_state_can_be_reached_and_left() -> None:
    reached = {State.OFFLINE}
    for _ in State:
        reached |= {to for (at, _), to in NEXT.items() if at in reached}
    assert reached == set(State)
    for state in set(State) - {State.STOPPED}:
        assert {to for (at, _), to in NEXT.items() if at is state} - {state}
    assert not [at for at, _ in NEXT if at is State.STOPPED]


def test_every_connected_state_ends_with_the_connection() -> None:
    for state in CONNECTED:
        assert after(state, Event.DISCONNECTED) is State.OFFLINE
        assert after(state, Event.STOP) is State.STOPPED


def test_what_the_table_lacks_cannot_happen() -> None:
    for state in State:
        for event in Event:
            if (state, event) not in NEXT:
                with pytest.raises(ValueError, match="cannot happen while"):
                    after(state, event)


def test_backoff_doubles_up_to_its_ceiling_and_only_a_steady_link_clears_it() -> None:
    backoff = Backoff(lambda: 1.0, base_s=1.0)
    assert [backoff.next_s() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    backoff.lived(1.0)
    assert backoff.next_s() == CEILING_S
    backoff.lived(31.0)
    assert backoff.next_s() == 1.0


@given(st.lists(st.floats(min_value=0, max_value=1, exclude_max=True), max_size=80))
def test_jitter_is_full_and_never_a_busy_loop(draws: list[float]) -> None:
    numbers = iter(draws)
    backoff = Backoff(lambda: next(numbers))
    for _ in draws:
        assert FLOOR_S <= backoff.next_s() <= CEILING_S


@pytest.mark.parametrize(
    ("code", "confirm", "verdict"),
    [
        (0x00, "receipt", Verdict.SENT),
        (0x00, "puback", Verdict.CONFIRMED),
        (0x10, "puback", Verdict.SENT),  # nobody listens: it must not leave
        (0x10, "receipt", Verdict.SENT),
        (0x80, "puback", Verdict.AGAIN),
        (0x97, "receipt", Verdict.AGAIN),
        (0x87, "receipt", Verdict.REFUSED),
        (0x90, "puback", Verdict.REFUSED),
        (0x99, "receipt", Verdict.REFUSED),
        (0x95, "receipt", Verdict.REFUSED),
    ],
)
def test_verdicts(code: int, confirm: str, verdict: Verdict) -> None:
    assert judge(code, confirm) is verdict


@given(st.integers(min_value=0, max_value=255))
def test_only_plain_success_removes_a_record(code: int) -> None:
    assert (judge(code, "puback") is Verdict.CONFIRMED) is (code == 0)
    assert judge(code, "receipt") is not Verdict.CONFIRMED


@given(
    st.floats(min_value=0.05, max_value=0.95),
    st.lists(st.integers(min_value=0, max_value=SEND_WINDOW), min_size=1, max_size=60),
)
def test_the_ratio_holds_over_time(share: float, fills: list[int]) -> None:
    scheduler = Scheduler(share)
    live_sum = total = 0
    for fill in fills:
        scheduler.connected(0) if total == 0 else None
        for row in range(fill):
            scheduler.started(row)
        live, backlog = scheduler.deal(0)
        assert live >= 0
        assert backlog >= 0
        assert live + backlog == SEND_WINDOW - fill
        live_sum, total = live_sum + live, total + live + backlog
        for row in range(fill):
            scheduler.ended(row, 0)
    assert abs(live_sum - share * total) <= 1.0 + 1e-6


def test_one_free_place_at_a_time_serves_both_sides() -> None:
    scheduler = Scheduler(0.75)
    for row in range(SEND_WINDOW - 1):
        scheduler.started(row)
    dealt = [scheduler.deal(0) for _ in range(100)]
    assert sum(live for live, _ in dealt) == 75
    assert sum(backlog for _, backlog in dealt) == 25


def test_too_much_unconfirmed_stops_sending_and_is_sent_again_when_overdue() -> None:
    scheduler = Scheduler(0.5)
    scheduler.connected(0, window=10)
    assert sum(scheduler.deal(0)) == 10
    assert sum(scheduler.deal(UNCONFIRMED_MAX - 3)) == 3
    assert scheduler.deal(UNCONFIRMED_MAX) == (0, 0)
    assert scheduler.is_stalled(UNCONFIRMED_MAX)
    scheduler.started(1)
    scheduler.ended(1, now_ns=50)
    assert not scheduler.is_overdue(49 + RECEIPT_WAIT_NS, 1)
    assert scheduler.is_overdue(50 + RECEIPT_WAIT_NS, 1)
    assert not scheduler.is_overdue(51 + RECEIPT_WAIT_NS, 1)  # once per wait
    scheduler.receipted(60 + RECEIPT_WAIT_NS, 0)
    assert not scheduler.is_overdue(10**15, 0)
    scheduler.receipted(10**15, 5)
    assert not scheduler.is_overdue(10**15 + 1, 5)
    assert scheduler.is_overdue(10**15 + RECEIPT_WAIT_NS, 5)


def test_a_share_that_is_none_is_refused() -> None:
    for share in (0.0, 1.0, -0.1, 2.0):
        with pytest.raises(ValueError, match="live share"):
            Scheduler(share)
