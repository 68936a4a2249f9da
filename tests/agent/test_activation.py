"""The states of a pushed policy: the table, and what is kept of a standing."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.activation import (
    FAILURES_MAX,
    NEXT,
    REASON_MAX,
    RESTING,
    Event,
    Standing,
    State,
    after,
    decode_standing,
    encode_standing,
    has_failed,
    restarted,
    starts_before,
)


def test_what_the_table_lacks_cannot_happen() -> None:
    for state, event in itertools.product(State, Event):
        standing = Standing(state=state)
        if (state, event) in NEXT:
            assert after(standing, event).state is NEXT[state, event]
        else:
            with pytest.raises(ValueError, match="cannot happen"):
                after(standing, event)


def test_only_a_trial_is_confirmed_and_only_what_is_staged_is_tried() -> None:
    into = {state: {s for (s, _), to in NEXT.items() if to is state} for state in State}
    assert into[State.TRIAL] == {State.STAGED}
    assert into[State.STAGED] == {State.VERIFIED}
    assert into[State.REVERTED] == {State.TRIAL}
    assert into[State.REFUSED] == {State.VERIFIED}
    assert into[State.ACTIVE] == {State.TRIAL, *RESTING}  # or it decides already
    assert State.TRIAL not in RESTING


@given(events=st.lists(st.sampled_from(Event), max_size=40))
def test_a_policy_never_decides_without_having_been_staged(
    events: list[Event],
) -> None:
    standing, staged = Standing(), False
    for event in events:
        before = standing.state
        try:
            standing = after(standing, event)
        except ValueError:
            continue
        staged = standing.state is State.STAGED or (
            staged and before in {State.STAGED, State.TRIAL}
        )
        if standing.state is State.TRIAL:
            assert staged


def test_rule_and_reason_are_those_of_one_step_and_are_cut() -> None:
    tried = Standing(state=State.TRIAL, digest="ab" * 32, attempt=3)
    reverted = after(tried, Event.REVERT, rule="uplink", reason="x" * 999)
    assert (reverted.rule, len(reverted.reason)) == ("uplink", REASON_MAX)
    assert after(reverted, Event.WAIT).rule == ""


def test_a_failure_holds_until_somebody_asks_anew() -> None:
    tried = Standing(state=State.TRIAL, digest="ab" * 32, attempt=3)
    reverted = after(tried, Event.REVERT, rule="uplink")
    assert has_failed(reverted, "ab" * 32, 3)
    assert has_failed(reverted, "ab" * 32, 2)
    assert not has_failed(reverted, "ab" * 32, 4)
    assert not has_failed(reverted, "cd" * 32, 1)
    again = after(after(reverted, Event.VERIFY, attempt=4), Event.REFUSE, rule="lint")
    assert [(one.digest, one.attempt) for one in again.failures] == [("ab" * 32, 4)]


def test_failures_are_bounded_and_the_oldest_go() -> None:
    standing = Standing()
    for number in range(FAILURES_MAX + 5):
        verified = after(standing, Event.VERIFY, digest=f"{number:064x}", attempt=1)
        standing = after(verified, Event.REFUSE, rule="lint")
    assert len(standing.failures) == FAILURES_MAX
    assert standing.failures[-1].digest == f"{FAILURES_MAX + 4:064x}"


def test_a_restart_goes_on_with_a_trial_and_drops_what_has_not_decided() -> None:
    assert restarted(Standing(state=State.TRIAL, restarts=1)).restarts == 2
    for state in (State.VERIFIED, State.STAGED):
        dropped = restarted(Standing(state=state, digest="ab", attempt=2))
        assert dropped.state is State.NONE
        assert starts_before(dropped, "ab", 2) == 1
        assert starts_before(dropped, "ab", 3) == starts_before(dropped, "cd", 2) == 0
    for state in RESTING:
        assert restarted(Standing(state=state)) == Standing(state=state)


def test_a_standing_survives_its_document_and_nothing_else_is_one() -> None:
    standing = after(
        Standing(state=State.TRIAL, approvers=("alice", "bob"), digest="00" * 32),
        Event.REVERT,
        rule="spool",
        reason="grows",
    )
    assert decode_standing(encode_standing(standing)) == standing
    for bad in (b"", b"{}x", b'{"state": "king"}', b'{"unknown": 1}', b"\xff"):
        with pytest.raises(ValueError, match=r"."):
            decode_standing(bad)
