"""The runner: order, needs, time limits, errors; and the table it runs."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.commands.doctor.context import Context, User
from agent.commands.doctor.host import Host
from agent.commands.doctor.model import Check, Found, bad, good, warn
from agent.commands.doctor.runner import examined
from agent.commands.doctor.table import CHECKS, select
from agent.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from agent.commands.doctor.model import Look


def _context() -> Context:
    return Context(Path("gw.toml"), Host(), User("a", "b"))


def _fine(_: Context) -> list[Found]:
    return [good("it is")]


def _check(name: str, *needs: str, look: Look = _fine, limit_s: float = 20.0) -> Check:
    return Check(name, "looks", "red", "the fix", look, needs, limit_s)


def told(*checks: Check, only: tuple[str, ...] = ()) -> list[tuple[str, str, str]]:
    rows = examined(checks, _context(), only)
    return [(row.id, row.verdict, row.said) for row in rows]


def test_what_needs_a_bad_one_is_skipped_with_the_first_cause() -> None:
    broken = _check("a.one", look=lambda _: [bad("broken", "mend it")])
    rows = told(broken, _check("a.two", "a.one"), _check("a.three", "a.two"))
    why = "skipped, because a.one is bad"
    assert rows == [
        ("a.one", "bad", "broken"),
        ("a.two", "skipped", why),
        ("a.three", "skipped", why),
    ]


def test_a_stranger_is_not_told_to_take_the_agents_files() -> None:
    """What a plain user may not write is no fault, and no `chown` of his mends it."""
    who = _check("user.identity", look=lambda _: [warn("a, not b", "run `sudo x`")])
    mine = _check("state.writable", look=lambda _: [bad("no", "run `chown a state`")])
    more = _check("disk.free", "state.writable")
    other = _check("policy.parse", look=lambda _: [bad("no", "mend it")])
    why = "skipped, because another user looks than the agent's (user.identity)"
    expected = [
        ("state.writable", "skipped", why), ("disk.free", "skipped", why),
        ("policy.parse", "bad", "no"),
    ]  # fmt: skip
    chosen = ("state.writable", "disk.free", "policy.parse")
    assert told(who, mine, more, other, only=chosen) == expected
    fine = _check("user.identity")
    assert told(fine, mine, only=chosen[:1]) == [("state.writable", "bad", "no")]


def test_what_a_chosen_one_needs_runs_unseen() -> None:
    seen: list[str] = []

    def noted(name: str) -> Check:
        def look(_: Context) -> list[Found]:
            seen.append(name)
            return [good("it is")]

        needs = ("a.one",) if name == "a.two" else ()
        return Check(name, "", "", "", look, needs)

    checks = [noted("a.one"), noted("a.two"), noted("a.three")]
    assert told(*checks, only=("a.two",)) == [("a.two", "good", "it is")]
    assert seen == ["a.one", "a.two"]


def test_a_check_that_hangs_is_left_behind() -> None:
    never = threading.Event()
    hangs = _check("a.one", look=lambda _: [never.wait()], limit_s=0.01)
    rows = told(hangs, _check("a.two"))
    never.set()
    assert rows[0][1:] == ("bad", "no answer within 0 s")
    assert rows[1][1] == "good"


@pytest.mark.parametrize(
    "error", [BadInput("f", "p", "r"), Unavailable("w", "r"), OSError(5, "gone")]
)
def test_what_a_check_does_not_expect_is_a_bad_row(error: Exception) -> None:
    def look(_: Context) -> list[Found]:
        raise error

    assert told(_check("a.one", look=look)) == [("a.one", "bad", str(error))]


def test_a_bug_of_a_check_is_no_row() -> None:
    def look(_: Context) -> list[Found]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        told(_check("a.one", look=look))


def test_the_table_is_in_an_order_that_can_be_run() -> None:
    names = [check.id for check in CHECKS]
    assert len(names) == len(set(names))
    assert len(names) >= 25
    before: set[str] = set()
    for check in CHECKS:
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", check.id)
        assert set(check.needs) <= before, check.id
        assert all((check.looks, check.red, check.fix))
        before.add(check.id)


def test_ids_and_groups_can_be_chosen() -> None:
    assert select(["clock.zone"]) == ["clock.zone"]
    assert "can.up" in select(["can"])
    with pytest.raises(BadInput, match="no check is named nothing"):
        select(["nothing"])
