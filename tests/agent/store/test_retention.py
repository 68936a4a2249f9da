"""What of the log is old: time that was seen to pass, never a time stamp."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.store.retention import (
    DAY_NS,
    Ages,
    Beginning,
    decode_ages,
    decode_beginning,
    encode_ages,
    encode_beginning,
)

LOG = b"\1" * 8
START = 1_800_000_000 * 10**9


def days(count: int, first: int = 0) -> Ages:
    ages = Ages(LOG)
    for day in range(count):
        ages = ages.looked(START + day * DAY_NS, 10 * day + first)
    return ages


def test_what_is_old_is_what_was_there_so_many_days_ago() -> None:
    ages = days(200)
    assert ages.seen_ns == 199 * DAY_NS
    assert ages.older_than(190 * DAY_NS) == 90
    assert ages.older_than(199 * DAY_NS) == 0
    assert days(190).older_than(190 * DAY_NS) == 0


def test_a_day_has_one_mark() -> None:
    ages = days(3)
    assert ages.looked(ages.wall_ns + DAY_NS - 1, 1000) is ages
    assert len(ages.marks) == 3


def test_a_clock_ten_years_ahead_makes_nothing_old() -> None:
    ages = days(100).looked(START + 3650 * DAY_NS, 1000)
    assert ages.seen_ns == 101 * DAY_NS
    assert ages.older_than(190 * DAY_NS) == 0


def test_a_clock_that_goes_back_makes_nothing_old_and_goes_on() -> None:
    ages = days(100).looked(START, 1000)
    assert ages.seen_ns == 99 * DAY_NS
    ages = ages.looked(START + DAY_NS, 1010)
    assert ages.seen_ns == 100 * DAY_NS
    assert ages.marks[-1].size == 1010


def test_while_we_run_the_monotonic_clock_says_when_a_day_is_over() -> None:
    ages, now = days(3), START + 2 * DAY_NS
    ahead = ages.looked(now + 100 * DAY_NS, 1000, DAY_NS - 1)
    assert ahead is ages
    back = ages.looked(now - DAY_NS, 1000, DAY_NS - 1)
    assert (back.wall_ns, back.marks) == (now - DAY_NS, ages.marks)
    assert back.looked(now, 1000, DAY_NS).seen_ns == 3 * DAY_NS
    assert back.looked(now, 1000, 90 * DAY_NS).seen_ns == 4 * DAY_NS  # slept


def test_marks_that_say_nothing_more_go() -> None:
    ages = days(400).without_older(190 * DAY_NS)
    assert len(ages.marks) == 191
    assert ages.older_than(190 * DAY_NS) == days(400).older_than(190 * DAY_NS)


@given(st.lists(st.integers(-5 * DAY_NS, 5000 * DAY_NS), max_size=40))
def test_no_more_is_seen_than_two_days_a_look(steps: list[int]) -> None:
    ages, now, size, count = Ages(LOG), START, 0, 0
    for step in steps:
        now, size = max(now + step, 0), size + 1
        before = ages
        ages = ages.looked(now, size)
        assert 0 <= ages.seen_ns - before.seen_ns <= 2 * DAY_NS
        count += 1
    assert ages.older_than(2 * count * DAY_NS + 1) == 0
    assert decode_ages(encode_ages(ages)) == ages


@pytest.mark.parametrize(
    "body", [b"", b"\xc0", b"\x91\x01", encode_ages(Ages(LOG))[1:]]
)
def test_what_are_no_ages_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        decode_ages(body)


def test_a_beginning_is_read_back() -> None:
    told = Beginning(LOG, 12345, b"\2" * 32)
    assert decode_beginning(encode_beginning(told)) == told
    with pytest.raises(ValueError, match="no beginning"):
        decode_beginning(encode_beginning(told)[1:])
