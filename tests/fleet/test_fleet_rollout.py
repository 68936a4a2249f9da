"""Acks to totals: the newest valid word of each device, and when to stop."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.rollout.totals import (
    AckBook,
    Tally,
    limit_passed,
    outcome,
    percent,
    report,
)
from policies.rollout import Halt, in_cohort
from protocols.acks import open_ack
from tests.support.ack_sender import AckSender, a_fleet, a_rollout

if TYPE_CHECKING:
    from policies.rollout import Rollout

EVERYBODY = a_rollout(upto=10_000)


def _book(devices: list[AckSender]) -> AckBook:
    return AckBook({one.device: one.public_key for one in devices})


def _told(devices: list[AckSender], states: list[str], rollout: Rollout) -> AckBook:
    book = _book(devices)
    for device, state in zip(devices, states, strict=False):
        book.take(device.device, device.says(rollout, state))
    return book


def _limit(states: list[str], *, of: int = 0, **halt: int) -> str:
    rollout = a_rollout(upto=10_000, halt=Halt(**halt))
    devices = a_fleet(of or len(states))
    book = _told(devices, states, rollout)
    return limit_passed(rollout, Tally(rollout, book).totals())


@given(st.permutations(range(6)), st.integers(0, 2**32))
def test_in_whatever_order_acks_come_the_newest_stays(
    order: list[int], seed: int
) -> None:
    device = AckSender("gw-1")
    states = ["waiting", "verified", "staged", "trial", "active", "reverted"]
    messages = [device.says(EVERYBODY, state) for state in states]
    again = random.Random(seed).choices(order, k=4)  # a broker may deliver twice
    book = _book([device])
    for number in (*order, *again):
        book.take("gw-1", messages[number])
    assert book.acks["gw-1"].state == "reverted"
    assert not book.bad


def test_acks_of_others_are_counted_and_named() -> None:
    good, other = AckSender("gw-1"), AckSender("gw-2")
    book = _book([good, other])
    assert book.take("gw-1", good.says(EVERYBODY, "waiting"))
    assert not book.take("gw-1", other.says(EVERYBODY, "active"))
    assert not book.take("gw-2", b"nonsense")
    assert not book.take("gw-3", AckSender("gw-3").says(EVERYBODY, "active"))
    assert book.acks.keys() == {"gw-1"}
    assert book.acks["gw-1"].state == "waiting"
    assert book.bad_count == 2
    assert "signature" in book.bad["gw-1"]
    assert book.strangers == {"gw-3"}
    told = report(Tally(EVERYBODY, book), 0.0)
    assert told.bad_acks == 2
    assert told.bad_devices.keys() == {"gw-1", "gw-2"}
    assert told.strangers == ["gw-3"]


def test_an_older_ack_never_replaces_a_newer_one() -> None:
    device = AckSender("gw-1")
    book = _book([device])
    old = device.says(EVERYBODY, "waiting")
    book.take("gw-1", device.says(EVERYBODY, "active"))
    assert not book.take("gw-1", old)
    assert not book.take("gw-1", device.says(EVERYBODY, "refused", number=2))
    assert book.acks["gw-1"].state == "active"
    assert book.older == 1


@pytest.mark.parametrize(
    ("state", "fields", "expected"),
    [
        ("waiting", {}, "waiting"),
        ("verified", {}, "verified"),
        ("trial", {}, "trial"),
        ("active", {}, "active"),
        ("active", {"attempt": 1}, "active"),
        ("active", {"policy_version": 42}, "waiting"),
        ("refused", {}, "refused"),
        ("refused", {"attempt": 1}, "waiting"),
        ("reverted", {"candidate_version": 41}, "waiting"),
        ("trial", {"candidate_version": 44}, "waiting"),
        ("lockdown", {}, "waiting"),
        ("local", {"candidate_version": 0, "attempt": 0}, "waiting"),
    ],
)
def test_where_a_device_stands(
    state: str, fields: dict[str, int], expected: str
) -> None:
    rollout = a_rollout(attempt=2)
    device = AckSender("gw-1")
    message = device.says(rollout, state, **fields)
    assert outcome(rollout, open_ack(message, device.public_key, "gw-1")) == expected
    assert outcome(rollout, None) == "silent"


@pytest.mark.parametrize(
    ("stable", "state", "fields", "expected"),
    [
        (42, "active", {}, "waiting"),  # of the candidate still
        (42, "trial", {"policy_version": 42, "candidate_version": 42}, "waiting"),
        (42, "active", {"policy_version": 42, "candidate_version": 42}, "back"),
        (42, "reverted", {}, "back"),
        (42, "refused", {}, "back"),
        (0, "trial", {}, "waiting"),
        (0, "active", {}, "active"),  # it keeps what it has
        (0, "reverted", {"policy_version": 0}, "back"),
    ],
)
def test_after_an_abort_devices_go_back(
    stable: int, state: str, fields: dict[str, int], expected: str
) -> None:
    rollout = a_rollout(state="aborted", stable=stable, upto=10_000)
    device = AckSender("gw-1")
    book = _book([device])
    book.take("gw-1", device.says(rollout, state, **fields))
    assert outcome(rollout, book.acks["gw-1"]) == expected
    totals = Tally(rollout, book).totals()
    assert totals.is_done == (expected != "waiting")
    assert not limit_passed(rollout, totals)


@given(st.integers(0, 10_000))
@pytest.mark.slow
def test_the_cohort_is_expected_and_nobody_else(upto: int) -> None:
    rollout = a_rollout(upto=upto)
    devices = a_fleet(60)
    book = _told(devices, ["active"] * 60, rollout)
    totals = Tally(rollout, book).totals()
    inside = sum(in_cohort(rollout, one.device, ()) for one in devices)
    assert totals.expected == totals.outcomes["active"] == inside
    assert totals.others_active == 60 - inside
    assert totals.enrolled == 60
    assert totals.is_done


def test_silent_devices_are_expected_unless_only_they_know_their_group() -> None:
    devices = [AckSender("gw-1", ("pilots",)), AckSender("gw-2"), AckSender("gw-3")]
    for groups, expected, unplaced in (((), 3, 0), (("pilots",), 1, 1)):
        rollout = a_rollout(upto=10_000, groups=groups)
        book = _told(devices, ["active", "waiting"], rollout)  # gw-3 says nothing
        tally = Tally(rollout, book)
        totals = tally.totals()
        assert (totals.expected, totals.unplaced) == (expected, unplaced)
        assert tally.expected() == (set() if groups else {"gw-2", "gw-3"})


def test_named_devices_are_expected_whatever_their_slot() -> None:
    rollout = a_rollout(devices=("gw-00003",))
    book = _book(a_fleet(5))
    assert Tally(rollout, book).expected() == {"gw-00003"}
    assert Tally(rollout, book).totals().outcomes == {"silent": 1}


def test_a_share_is_of_those_who_answered_and_not_of_those_who_ended() -> None:
    """Refusals come at once; the first devices to end their way are all refusals."""
    states = ["refused"] * 2 + ["trial"] * 98
    assert _limit(states, refused_share=200, min_acks=20) == ""
    passed = _limit([*states, "refused"], refused_share=200, min_acks=20)
    assert passed == "3 of 101 refused (2.97 %, the limit is 2 %): floor 3"


def test_a_limit_is_passed_when_the_share_is_larger_and_not_before() -> None:
    at = ["reverted"] + ["active"] * 99
    assert _limit(at, reverted_share=100, min_acks=1) == ""
    assert "1 of 99 reverted" in _limit(at[:-1], reverted_share=100, min_acks=1)
    assert "refused" in _limit(["refused", "active"], refused_share=0, min_acks=1)


def test_a_few_answers_are_no_ground_to_stop() -> None:
    assert _limit(["refused"] * 19, of=50, min_acks=20) == ""
    assert "20 of 20" in _limit(["refused"] * 20, of=50, min_acks=20)


def test_a_cohort_smaller_than_the_minimum_is_judged_when_all_answered() -> None:
    assert _limit(["refused", "active"], of=3, min_acks=20) == ""
    assert "1 of 3" in _limit(["refused", "active", "trial"], of=3, min_acks=20)
    assert _limit([], of=3, min_acks=20) == ""


def test_shares_are_written_for_people() -> None:
    assert [percent(1, 3), percent(1, 1), percent(0, 4), percent(1, 0)] == [
        "33.33 %", "100 %", "0 %", "-",
    ]  # fmt: skip


def test_slots_are_told_by_tenths() -> None:
    book = _book(a_fleet(2000))
    told = report(Tally(EVERYBODY, book), 0.0)
    assert sum(told.slots) == 2000
    assert len(told.slots) == 10
    assert min(told.slots) > 150
