"""From one step of a rollout to the next: what may follow what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import BadInput
from fleet.rollout.steps import (
    When,
    Who,
    aborted,
    halt,
    is_over,
    paused,
    resumed,
    share,
    started,
    widened,
)
from policies.rollout import Halt, Rollout, encode_rollout, in_cohort, parse_rollout
from tests.support.ack_sender import SALT, a_rollout

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = Halt()


def _start(before: Rollout | None, candidate: int = 43, **options: Any) -> Rollout:
    who = options.pop("who", Who())
    when = options.pop("when", When())
    return started(before, candidate, who, when, LIMITS, name="", salt=SALT, **options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1%", 100), ("0.25 %", 25), ("100%", 10_000), ("0%", 0), ("0.5%", 50)],
)
def test_shares_are_read(text: str, expected: int) -> None:
    assert share(text, "--upto") == expected


@pytest.mark.parametrize("text", ["", "1", "101%", "-1%", "0.001%", "1e1%", "one%"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--upto: is not a share"):
        share(text, "--upto")


def test_a_first_rollout_has_no_stable_policy() -> None:
    first = _start(None)
    assert (first.attempt, first.stable, first.upto) == (1, 0, 100)
    assert first.name == "policy-43"
    assert first.state == "running"
    assert parse_rollout(encode_rollout(first)) == first


def test_the_next_one_stands_on_what_everybody_has() -> None:
    done = a_rollout(upto=10_000)
    following = _start(done, 44)
    assert (following.stable, following.attempt) == (43, 2)
    gone = aborted(a_rollout(upto=100), "bad")
    assert _start(gone, 44).stable == 42
    assert _start(gone, 43).stable == 42
    assert _start(done, 43).stable == 42  # the same again
    assert _start(done, 44, stable=0).stable == 0


def test_one_that_is_on_its_way_is_not_replaced_by_accident() -> None:
    for before in (
        a_rollout(upto=100), paused(a_rollout(upto=10_000), "x"),
        a_rollout(upto=10_000, groups=("pilots",)),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=r"widen or abort it first, or --replace"):
            _start(before, 44)
        after = _start(before, 44, replace=True)
        assert (after.candidate, after.stable, after.attempt) == (44, 42, 2)


def test_devices_named_alone_are_the_whole_cohort() -> None:
    assert _start(None, who=Who(devices=["b", "a", "b"])).devices == ("a", "b")
    assert _start(None, who=Who(devices=["a"])).upto == 0
    assert _start(None, who=Who("2%", devices=["a"])).upto == 200
    assert _start(None, who=Who(devices=["a"], groups=["g"])).upto == 100


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"who": Who(groups=["a b"])}, "groups"),
        ({"who": Who(devices=[str(n) for n in range(1001)])}, "devices"),
        ({"when": When("sometimes")}, "window: not a time window"),
        ({"when": When(not_before="tomorrow")}, "not_before"),
        ({"stable": 43}, "stable"),
        ({"candidate": 0, "stable": 0}, "candidate"),
    ],
)
def test_what_devices_would_refuse_is_not_signed(
    options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BadInput, match=reason):
        _start(None, options.pop("candidate", 43), **options)


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 200))
def test_widening_keeps_everybody_who_was_in(low: int, high: int, number: int) -> None:
    before = a_rollout(upto=low, devices=("x",))
    who = Who(f"{high / 100:.2f}%", devices=["y"])
    if high < low:
        with pytest.raises(BadInput, match="less than now"):
            widened(before, who)
        return
    after = widened(before, who)
    assert after.devices == ("x", "y")
    device = f"gw-{number}"
    assert in_cohort(before, device, ()) <= in_cohort(after, device, ())


def test_widening_groups() -> None:
    pilots = a_rollout(upto=10_000, groups=("pilots",))
    assert widened(pilots, Who(groups=["north"])).groups == ("north", "pilots")
    assert widened(pilots, Who(), any_group=True).groups == ()
    with pytest.raises(BadInput, match="would narrow"):
        widened(a_rollout(upto=10), Who("1%", groups=["north"]))
    with pytest.raises(BadInput, match="as wide already"):
        widened(pilots, Who("100%"))


def test_pause_and_resume() -> None:
    running = a_rollout(upto=100)
    held = paused(running, "3 of 100\nrefused" + "x" * 300)
    assert (held.state, held.note[:16]) == ("paused", "3 of 100 refused")
    assert parse_rollout(encode_rollout(held)) == held
    assert resumed(held, retry=False) == running
    assert resumed(held, retry=True).attempt == running.attempt + 1
    assert resumed(held, retry=True).salt == running.salt


@pytest.mark.parametrize(
    "step",
    [
        lambda r: widened(r, Who("100%")),
        lambda r: paused(r, "x"),
        lambda r: resumed(r, retry=True),
        lambda r: aborted(r, "x"),
    ],
)
def test_nothing_follows_an_abort_but_another_start(
    step: Callable[[Rollout], Rollout],
) -> None:
    over = aborted(a_rollout(upto=100), "bad")
    assert is_over(over)
    with pytest.raises(BadInput, match="aborted"):
        step(over)


def test_a_paused_one_is_not_widened_and_a_running_one_not_resumed() -> None:
    with pytest.raises(BadInput, match="resume it first"):
        widened(paused(a_rollout(upto=1), "x"), Who("2%"))
    with pytest.raises(BadInput, match="only a paused one"):
        resumed(a_rollout(), retry=False)


def test_limits_are_read() -> None:
    assert halt("3%", "0.5%", 50) == Halt(
        refused_share=300, reverted_share=50, min_acks=50
    )
    with pytest.raises(BadInput, match="--halt-refused"):
        halt("3", "1%", 1)
