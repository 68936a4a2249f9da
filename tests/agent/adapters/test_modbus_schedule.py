"""Deadlines and breakers, with time and chance in the test's hands."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.adapters.modbus.schedule import (
    BACKOFF_FIRST_NS,
    BACKOFF_MAX_NS,
    Breaker,
    Schedule,
)
from protocols.modbus.plan import Read

SECOND = 10**9


def half() -> float:
    return 0.5


def read_of(unit: int, period_ns: int, address: int = 0) -> Read:
    return Read(0, unit, 3, 4, address, 1, period_ns)


def test_a_breaker_opens_after_three_silences_and_doubles() -> None:
    breaker = Breaker(half)
    breaker.was_silent(0)
    breaker.was_silent(0)
    assert breaker.until_ns == 0
    waits = []
    for _ in range(9):
        breaker.was_silent(0)
        waits.append(breaker.until_ns)
    assert breaker.is_open
    expected = [min(BACKOFF_FIRST_NS * 2**n, BACKOFF_MAX_NS) for n in range(9)]
    assert waits == [int(whole * 0.75) for whole in expected]
    breaker.answered()
    assert (breaker.is_open, breaker.until_ns) == (False, 0)


def test_an_answer_between_silences_keeps_it_closed() -> None:
    breaker = Breaker(half)
    for _ in range(10):
        breaker.was_silent(0)
        breaker.was_silent(0)
        breaker.answered()
    assert not breaker.is_open


@given(st.floats(0, 1, exclude_max=True))
def test_jitter_lies_between_half_and_all_of_the_backoff(chance: float) -> None:
    breaker = Breaker(lambda: chance, silences_max=1)
    breaker.was_silent(100)
    waited = breaker.until_ns - 100
    assert BACKOFF_FIRST_NS // 2 <= waited <= BACKOFF_FIRST_NS


def test_reads_come_by_deadline_and_keep_their_phase() -> None:
    schedule = Schedule(half)
    fast, slow = read_of(1, SECOND), read_of(1, 10 * SECOND, 50)
    schedule.set_reads([fast, slow], 0)
    taken = []
    for tenth in range(201):
        now_ns = tenth * SECOND // 10 + 7  # always a little late
        while (read := schedule.take(now_ns)) is not None:
            taken.append((tenth / 10, read))
    assert [t for t, read in taken if read == fast] == [float(s) for s in range(21)]
    assert [t for t, read in taken if read == slow] == [0.0, 10.0, 20.0]
    assert schedule.missed == 0


def test_deadlines_that_passed_are_counted_and_not_made_up_for() -> None:
    schedule = Schedule(half)
    schedule.set_reads([read_of(1, SECOND)], 0)
    assert schedule.take(0) is not None
    assert schedule.take(int(3.5 * SECOND)) is not None  # for 1 s; 2 and 3 are gone
    assert schedule.missed == 2
    assert schedule.take(int(3.5 * SECOND)) is None
    assert schedule.next_ns() == 4 * SECOND


def test_a_unit_left_alone_does_not_hold_up_the_others() -> None:
    schedule = Schedule(half)
    dead, live = read_of(1, SECOND), read_of(2, SECOND)
    schedule.set_reads([dead, live], 0)
    for _ in range(3):
        schedule.breaker(1).was_silent(0)
    assert schedule.take(1) == live
    assert not schedule.is_ready(1)
    assert schedule.breakers_open() == 1
    # Left alone until 0.75 s: its next deadline behind that is 1 s; one was missed.
    assert schedule.missed == 1
    assert schedule.take(SECOND) == dead


def test_new_reads_are_due_and_old_ones_keep_their_deadlines() -> None:
    schedule = Schedule(half)
    old, new = read_of(1, SECOND), read_of(2, SECOND)
    schedule.set_reads([old], 0)
    assert schedule.take(0) == old
    schedule.set_reads([new, old], 5)
    assert schedule.take(5) == new
    assert schedule.take(5) is None
    assert schedule.next_ns() == SECOND
    schedule.set_reads([], 5)
    assert schedule.next_ns() is None
    assert not schedule.is_ready(10 * SECOND)
