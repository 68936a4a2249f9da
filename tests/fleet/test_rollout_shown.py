"""What people and machines see of a rollout, and that devices' words are only shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from fleet.rollout.shown import follower, print_report
from fleet.rollout.totals import AckBook, Report, Tally, report, step_line
from tests.support.ack_sender import a_fleet, a_rollout

if TYPE_CHECKING:
    import pytest

    from policies.rollout import Rollout


def _report(states: list[str], rollout: Rollout, **fields: str) -> Report:
    devices = a_fleet(len(states))
    book = AckBook({one.device: one.public_key for one in devices})
    for device, state in zip(devices, states, strict=True):
        book.take(device.device, device.says(rollout, state, **fields))
    return report(Tally(rollout, book), 12.3456)


def test_a_table_tells_states_shares_rules_and_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    states = ["active"] * 97 + ["refused"] * 2 + ["trial"]
    print_report(_report(states, a_rollout(upto=10_000)), as_json=False)
    told = capsys.readouterr().out
    assert "winter, attempt 1: policy 43 for 100 % of the fleet, running" in told
    assert "99 of 100 (99 %) after 12 s" in told
    assert "floor 2: gw-00097, gw-00098" in told
    assert "\x1b" not in told  # no colour in a pipe


def test_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(_report(["active", "waiting"], a_rollout(upto=0)), as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["expected"], told["others_active"], told["done"]) == (0, 1, True)


def test_a_pipe_is_quiet_and_json_tells_changes_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rollout = a_rollout(upto=10_000)
    first = _report(["trial"], rollout)
    later = msgspec.structs.replace(first, seconds=99.0)
    with follower(as_json=False, live=False) as show:
        show(first)
    assert capsys.readouterr().out == ""
    with follower(as_json=True, live=False) as show:
        for moment in (first, later, _report(["active"], rollout)):
            show(moment)
    outcomes = [json.loads(x)["outcomes"] for x in capsys.readouterr().out.splitlines()]
    assert outcomes == [{"trial": 1}, {"active": 1}]


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with follower(as_json=False, live=True) as show:
        show(_report(["active"], a_rollout(upto=10_000)))
    told = capsys.readouterr().out
    assert "1 of 1 (100 %)" in told


def test_words_of_others_move_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    whole = _report(["refused"], a_rollout(upto=10_000))
    evil = msgspec.structs.replace(
        whole, rules={"refused \x1b[2J": 1}, bad_acks=1, bad_devices={"\x1b[1m": "x"},
        strangers=["a\rb"], note="\x07", named={"refused": ["[red]x"]},
        limit="\x1b[0m", unplaced=1, others_active=1,
    )  # fmt: skip
    print_report(evil, as_json=False)
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "\r" not in told
    assert "\x07" not in told
    assert "[red]x" in told  # markup is shown, not obeyed
    assert "acks that their device did not sign: 1" in told


def test_a_step_in_words_names_groups_devices_and_why() -> None:
    rollout = a_rollout(
        upto=50, groups=("pilots",), devices=("a",), state="paused", note="too\x1b many"
    )
    assert step_line(rollout) == (
        "winter, attempt 1: policy 43 for 0.5 % of pilots and 1 by name, paused,"
        " too\\x1b many"
    )
