"""Lists of rules, judged against every state of a small world."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.diff.decisions import Step, Verdict, Way, compare_lists, why_more
from policies.diff.strength import NamedTest, excludes, implies
from policies.tables import Action, Every, Round
from protocols.labels import Form, Geo, Label, Pi, Recognition, Tier, unpack

if TYPE_CHECKING:
    from policies.diff.strength import Atom
    from policies.tables import Transform

ATOMS: list[Atom] = [
    NamedTest(frozenset({("a", "")}), op, float(value))
    for op, value in itertools.product(["<", ">=", "==", "!=", "<=", ">"], [1, 2])
]
WORLDS: list[float | None] = [None, 0.0, 1.0, 1.5, 2.0, 3.0]


def way(action: Action, *transforms: Transform, purpose: str = "p") -> Way:
    keeps = "k" if action == Action.KEEP else ""
    return Way(action, transforms, purpose, keeps, 0, 0, "c", 0)


WAYS = [
    way(Action.DROP), way(Action.KEEP), way(Action.ENCRYPT), way(Action.ALLOW),
    way(Action.ENCRYPT, Every(10)), way(Action.ENCRYPT, Every(20), Round(1.0)),
    way(Action.ENCRYPT, purpose="q"),
]  # fmt: skip
GRAVE = Label(Tier.G4, Pi.SENSITIVE, Form.RAW, Geo.PRECISE, Recognition.NONE)
GRAVER = replace(WAYS[2], label_out=GRAVE.pack())
LISTS = st.lists(
    st.builds(
        Step,
        st.lists(st.sampled_from(ATOMS), max_size=2).map(tuple),
        st.sampled_from(WAYS),
    ),
    max_size=4,
)


def holds(test: Atom, world: float | None) -> bool | None:
    assert isinstance(test, NamedTest)
    if world is None:
        return None
    return implies(NamedTest(test.items, "==", world), test)


def decided(steps: list[Step], world: float | None) -> Way | None:
    for step in steps:
        answers = [holds(test, world) for test in step.tests]
        if step.tightens and False not in answers:
            return step.way
        if all(answers):
            return step.way
    return None


@given(LISTS, LISTS)
def test_what_is_called_tighter_is_tighter_in_every_world(
    old: list[Step], new: list[Step]
) -> None:
    verdict = compare_lists(old, new)
    for world in WORLDS:
        before, after = decided(old, world), decided(new, world)
        if why_more(after, before):
            assert verdict.looser
        if why_more(before, after):
            assert verdict.tighter


@given(LISTS, LISTS)
def test_lists_without_conditions_are_judged_exactly(
    old: list[Step], new: list[Step]
) -> None:
    plain = [[Step((), one.way) for one in steps] for steps in (old, new)]
    before, after = (decided(steps, None) for steps in plain)
    verdict = compare_lists(*plain)
    assert bool(verdict.looser) == bool(why_more(after, before))
    assert bool(verdict.tighter) == bool(why_more(before, after))


@given(st.sampled_from(ATOMS), st.sampled_from(ATOMS))
def test_implication_and_exclusion_of_numbers(one: Atom, other: Atom) -> None:
    both = [(holds(one, w), holds(other, w)) for w in WORLDS if w is not None]
    if implies(one, other):
        assert all(b for a, b in both if a)
    if excludes(one, other):
        assert not any(a and b for a, b in both)


def test_too_many_conditions_are_not_compared_and_count_as_looser() -> None:
    tests = [NamedTest(frozenset({("a", "")}), "==", float(n)) for n in range(200)]
    steps = [Step((test,), way(Action.ENCRYPT)) for test in tests]
    verdict = compare_lists(steps, list(reversed(steps)))
    assert verdict.looser
    assert verdict.tighter
    assert not compare_lists(steps, steps).looser


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (WAYS[2], GRAVER, f"labelled {unpack(0)} before, {GRAVE} now"),
        (WAYS[2], WAYS[0], "leaves sealed before, dropped now"),
        (WAYS[3], WAYS[2], "leaves in the open before, leaves sealed now"),
        (WAYS[2], WAYS[4], "before: not at all; now: one in 1e-05 ms"),
        (WAYS[2], None, "leaves sealed before, kept back now"),
    ],
)
def test_the_reason_of_tighter_calls_the_new_list_now(
    old: Way, new: Way | None, told: str
) -> None:
    lists = [Step((), old)], [] if new is None else [Step((), new)]
    assert compare_lists(*lists) == Verdict("", told)
    assert compare_lists(*reversed(lists)).tighter == ""
