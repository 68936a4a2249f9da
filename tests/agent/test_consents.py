"""Whether a consent holds: a table of ends, and a slow book that must agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.consent_file import Statement
from agent.consents import Change, Consents
from policies.tables import CompiledConsent
from tests.reference.consent_book import Book
from tests.support.examples import upto

S = 1_000_000_000
DAY_S = 86_400
NOW_S = 1_790_000_000
NOW = NOW_S * S


def declared(
    name: str = "track", *, survives: bool = True, days: int = 30, terms: bytes = b"t"
) -> CompiledConsent:
    return CompiledConsent(
        name, "What for.", ("location",), terms, days * DAY_S * S, survives
    )


def statement(number: int = 1, **fields: Any) -> Statement:
    base = {"name": "track", "id": f"{number:032x}", "given": NOW_S,
            "expires": NOW_S + DAY_S}  # fmt: skip
    return Statement(**{**base, **fields})


def begun(*given_: Statement, policy: CompiledConsent | None = None) -> Consents:
    """A run that has started with nothing, and then was given this."""
    consents = Consents([policy or declared()])
    consents.take(())
    consents.look(NOW, clock_ok=True)
    consents.take(given_)
    consents.look(NOW, clock_ok=True)
    return consents


def held(consents: Consents, now_ns: int = NOW, *, clock_ok: bool = True) -> list[str]:
    consents.look(now_ns, clock_ok=clock_ok)
    return sorted(consents.holding)


def brief(changes: list[Change]) -> list[tuple[str, str, str, bool]]:
    return [(c.state, c.set_by, c.cause, c.destroys) for c in changes]


def reason(consents: Consents) -> str:
    return consents.standings()[0].reason


def test_given_it_holds_until_it_expires() -> None:
    one = statement(by="guardian")
    consents = begun(one)
    assert consents.holding == {"track": one.expires_ns}
    assert held(consents, one.expires_ns - 1) == ["track"]
    assert held(consents, one.expires_ns) == []
    assert held(consents, NOW) == []  # a clock set back opens nothing again
    assert reason(consents) == "expired"
    assert brief(consents.changes()) == [
        ("on", "guardian", "given", False),
        ("off", "expiry", "expired", True),
    ]
    assert consents.changes() == []


@pytest.mark.parametrize(
    ("fields", "policy", "told"),
    [
        ({"expires": NOW_S + 30 * DAY_S}, declared(), ""),
        ({"expires": NOW_S + 30 * DAY_S + 1}, declared(),
         "longer than the policy allows"),
        ({"expires": 2**33 - 1}, declared(), "longer than the policy allows"),
        ({"expires": NOW_S}, declared(), "ends before it was given"),
        ({"name": "other"}, declared(), "the policy has no such consent"),
        ({"opt_in": True}, declared(), ""),
        ({"opt_in": True}, declared(survives=False),
         "the policy lets it survive no ignition cycle"),
    ],
)  # fmt: skip
def test_what_is_refused_says_why_once(
    fields: dict[str, Any], policy: CompiledConsent, told: str
) -> None:
    consents = begun(statement(**fields), policy=policy)
    assert bool(consents.holding) == (not told)
    changes = consents.changes()
    assert [(c.state, c.cause) for c in changes] == [
        ("refused", told) if told else ("on", "given")
    ]
    consents.take([statement(2, **fields)])  # the same again, under another id
    assert [c.state for c in consents.changes()] == []
    if told:
        assert {s.reason for s in begun(statement(**fields), policy=policy).standings()
                } >= {told}  # fmt: skip


def test_the_future_waits_and_so_does_a_clock_nobody_believes() -> None:
    early = statement(given=NOW_S + 301, expires=NOW_S + DAY_S)
    consents = begun(early)
    assert reason(consents) == "given in the future"
    assert held(consents) == []
    assert held(consents, NOW + S) == ["track"]
    dark = Consents([declared()])
    dark.take(())
    assert held(dark, clock_ok=False) == []
    dark.take([statement()])
    assert held(dark, clock_ok=False) == []
    assert reason(dark) == "the clock is not believed"
    assert held(dark) == ["track"]
    dark.look(NOW, clock_ok=False)
    # It is on and does not hold: conditions do not believe the clock either.
    assert dark.standings()[0].state == "waiting"
    assert brief(dark.changes()) == [("on", "driver", "given", False)]


def test_a_cycle_ends_what_does_not_survive_it() -> None:
    both = [declared(), declared("cabin")]
    consents = Consents(both)
    consents.take(())
    consents.take([statement(1, opt_in=True), statement(2, name="cabin")])
    assert held(consents) == ["cabin", "track"]
    consents.changes()
    consents.ignition()
    assert held(consents) == ["track"]
    (change,) = consents.changes()
    assert (change.consent, change.set_by) == ("cabin", "ignition")
    assert not change.destroys
    consents.take([statement(1, opt_in=True), statement(2, name="cabin")])
    assert held(consents) == ["track"]  # the same id does not come back
    consents.take([statement(1, opt_in=True), statement(3, name="cabin")])
    assert held(consents) == ["cabin", "track"]


def test_a_start_is_a_cycle_whatever_lay_there() -> None:
    first = begun(statement(1, opt_in=True))
    memory = first.encode()
    first.changes()
    second = Consents([declared(), declared("cabin")])
    second.remember(memory)
    second.take([statement(1, opt_in=True), statement(2, name="cabin")])
    assert held(second) == ["track"]
    assert second.changes() == []  # it stayed on
    assert [s.reason for s in second.standings()] == [
        "", "a new ignition cycle began",
    ]  # fmt: skip
    third = Consents([declared()])
    third.remember(memory)
    third.take(())
    assert held(third) == []
    assert brief(third.changes()) == [("off", "driver", "withdrawn", True)]
    fourth = Consents([declared()])
    fourth.remember(b"\xff damaged")
    fourth.take([statement(1)])
    assert held(fourth) == []


def test_what_a_cycle_ended_can_still_be_withdrawn_and_expire() -> None:
    for end in ("withdrawn", "expired"):
        consents = begun(statement())
        consents.ignition()
        held(consents)
        consents.changes()
        if end == "withdrawn":
            consents.take(())
            held(consents)
        else:
            held(consents, NOW + DAY_S * S)
        (change,) = consents.changes()
        assert (change.state, change.cause, change.destroys) == ("off", end, True)


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ([], "the policy has no such consent"),
        ([declared(terms=b"u")], "the policy tells other terms"),
        ([declared(days=0)], "longer than the policy allows"),
    ],
)
def test_another_policy_may_end_it(policy: list[CompiledConsent], told: str) -> None:
    consents = begun(statement())
    consents.changes()
    consents.declare(policy)
    assert held(consents) == []
    assert brief(consents.changes()) == [("off", "policy", told, False)]
    consents.declare([declared()])  # a policy on trial was taken back
    assert held(consents) == ["track"]
    assert brief(consents.changes()) == [("on", "driver", "again", False)]
    consents.declare(policy)
    held(consents)
    consents.take(())
    assert held(consents) == []
    assert consents.changes()[-1].destroys  # withdrawn, whatever the policy says


def test_a_file_that_cannot_be_read_gives_nothing_and_takes_nothing_back() -> None:
    consents = begun(statement(), statement(2, name="cabin"))
    consents.changes()
    consents.unread("the file cannot be read")
    assert held(consents) == []
    assert reason(consents) == "the file cannot be read"
    assert brief(consents.changes()) == [
        ("off", "file", "the file cannot be read", False)
    ]
    consents.take([statement()])
    assert held(consents) == ["track"]
    consents.unread("the file cannot be read")
    held(consents)
    consents.ignition()  # meanwhile
    consents.take([statement()])
    assert held(consents) == []


def test_renewed_is_no_end() -> None:
    consents = begun(statement(1))
    longer = statement(2, expires=NOW_S + 9 * DAY_S)
    consents.take([longer])
    assert held(consents) == ["track"]
    assert consents.holding == {"track": longer.expires_ns}
    assert [c.cause for c in consents.changes()] == ["given", "renewed"]
    consents.take([statement(1)])
    assert held(consents) == []  # the first one ended when the second came


ON, OFF = True, False


@pytest.mark.parametrize(
    ("told", "cycles"),
    [
        ([(OFF, 0), (OFF, 1), (ON, 2)], 1),
        ([(ON, 0), (ON, 1), (ON, 2)], 0),  # the start began that one
        ([(ON, 0), (OFF, 1)], 0),
        ([(ON, 0), (OFF, 1), (ON, 2)], 1),
        ([(ON, 0), (ON, 60), (ON, 120)], 0),
        ([(ON, 0), (ON, 61)], 1),  # nobody knows that it stayed on
        ([], 0),
    ],
)
def test_a_cycle_begins_where_off_becomes_on(
    told: list[tuple[bool, int]], cycles: int
) -> None:
    for size in (1, 2, 10):  # however it is cut
        consents = begun(statement())
        for start in range(0, len(told), size):
            part = told[start : start + size]
            consents.ignition_seen(
                np.array([on for on, _ in part], np.bool_),
                np.array([at * S for _, at in part], np.int64),
            )
        assert held(consents) == ([] if cycles else ["track"])


# --- against the book -----------------------------------------------------------------

POLICIES = [
    {"track": declared(), "cabin": declared("cabin", survives=False)},
    {"track": declared(terms=b"u"), "cabin": declared("cabin", survives=False)},
    {"track": declared(survives=False), "cabin": declared("cabin", days=1)},
    {"track": declared(days=1)},
]
POOL = [
    statement(1, opt_in=True),
    statement(2, opt_in=True, expires=NOW_S + 3 * DAY_S),
    statement(3),
    statement(4, given=NOW_S + 400, expires=NOW_S + DAY_S),
    statement(5, given=NOW_S + 2 * DAY_S, expires=NOW_S + DAY_S),
    statement(6, name="cabin"),
    statement(7, name="cabin", opt_in=True),
    statement(8, name="cabin", expires=NOW_S + 3 * DAY_S),
    statement(9, name="none"),
]
STATEMENTS = st.lists(st.sampled_from(POOL), max_size=2, unique_by=lambda s: s.name)
EVENTS = st.one_of(
    st.tuples(st.just("take"), STATEMENTS),
    st.tuples(st.just("take"), STATEMENTS),
    st.tuples(st.just("unread"), st.none()),
    st.tuples(st.just("ignition"), st.none()),
    st.tuples(st.just("declare"), st.sampled_from(POLICIES)),
    st.tuples(st.just("wait"), st.sampled_from([1, 500, DAY_S // 2, DAY_S])),
    st.tuples(st.just("clock"), st.booleans()),
)


@settings(max_examples=upto(1000))
@given(st.lists(EVENTS, min_size=2, max_size=12))
def test_the_book_agrees(events: list[tuple[str, Any]]) -> None:
    consents, book = Consents(POLICIES[0].values()), Book(dict(POLICIES[0]))
    consents.take(())
    book.take([])
    now_ns, clock_ok = NOW, True
    state: dict[str, str] = {}
    for kind, what in events:
        if kind == "declare":
            consents.declare(what.values())
            book.policy = dict(what)
        elif kind == "wait":
            now_ns += what * S
        elif kind == "clock":
            clock_ok = what
        elif kind == "take":
            consents.take(what)
            book.take(what)
        elif kind == "unread":
            consents.unread("-")
            book.unread()
        else:
            consents.ignition()
            book.ignition()
        mine = held(consents, now_ns, clock_ok=clock_ok)
        slow = book.holding(now_ns, clock_ok=clock_ok)
        assert (set(mine) if clock_ok else set()) == slow
        for change in consents.changes():
            if change.state != "refused":
                state[change.consent] = change.state
        # The evidence says of each consent what is so.
        told = {name for name, value in state.items() if value == "on"}
        assert told == set(consents.holding)
        shown = {s.name for s in consents.standings() if s.state == "on"}
        assert shown == slow
