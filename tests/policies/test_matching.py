"""Columns of names and categories against the same question asked item by item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import matching
from policies.catalogue import CatalogueSet, is_under
from policies.files import shipped_text
from policies.matching import Matcher
from policies.parse import parse_catalogue
from policies.quantities import ItemGlob, glob_parts
from policies.raising.raised import accepts
from policies.rules import listed
from tests.policies.building import points_of, policy_of, rule_of
from tests.support.examples import upto

if TYPE_CHECKING:
    from policies.compile import Compiled
    from policies.rules import RuleForm
    from tests.policies.building import Compile

PARTS = st.sampled_from(["A", "B", "Ab", "aB", "AbA", "C-1", "C_1", "D"])
NAMES = st.lists(
    st.lists(PARTS, min_size=2, max_size=5).map(".".join), min_size=1, max_size=80
)
STARRED = st.one_of(
    PARTS, st.sampled_from(["*", "**", "A*", "*B", "*b*", "A*A", "C*1", "*-*"])
)
PATTERNS = st.lists(STARRED, min_size=1, max_size=5).filter(
    lambda parts: parts.count("**") <= 3
)


@pytest.fixture(params=[0, matching.FEW])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Search for the texts of patterns among few names, too."""
    monkeypatch.setattr(matching, "FEW", request.param)
    return int(request.param)


@given(names=NAMES, patterns=st.lists(PATTERNS.map(".".join), max_size=4))
def check_names(names: list[str], patterns: list[str]) -> None:
    matcher = Matcher(names)
    for wanted in (patterns, patterns[:1], patterns):
        globs = [ItemGlob(one) for one in wanted]
        expected = [any(glob.fullmatch(name) for glob in globs) for name in names]
        assert matcher.named(wanted).tolist() == expected
    first = matcher.first_of(patterns)
    for name, number in zip(names, first, strict=True):
        hits = [n for n, one in enumerate(patterns) if ItemGlob(one).fullmatch(name)]
        assert number == (hits[0] if hits else -1)


def test_names_match_as_each_by_itself(few: int) -> None:
    assert few >= 0
    check_names()


@given(columns=st.lists(NAMES, min_size=1, max_size=3), prefixes=NAMES)
def test_categories_are_under_a_prefix_as_each_by_itself(
    columns: list[list[str]], prefixes: list[str]
) -> None:
    matcher = Matcher(["A.B"])
    short = [one.rpartition(".")[0] for one in prefixes]
    for column in map(tuple, columns * 2):
        for wanted in (prefixes[:3], short[:2], ()):
            expected = [any(is_under(one, p) for p in wanted) for one in column]
            assert matcher.under(column, wanted).tolist() == expected


def test_names_and_what_is_below_one_are_looked_up_and_never_matched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(pattern: str) -> None:
        raise AssertionError(pattern)

    monkeypatch.setattr(matching, "ItemGlob", refuse)
    matcher = Matcher([f"A.B{n}.C" for n in range(100)])
    assert [int(matcher.named([f"A.B{n}.C", "A.D"]).sum()) for n in range(100)] == (
        [1] * 100
    )
    assert matcher.named(["A.B7.**"]).sum() == 1
    assert matcher.named(["**"]).all()


def test_a_column_of_no_items() -> None:
    assert not len(Matcher([]).named(["**", "A.**", "*.B", "A.B"]))
    assert Matcher([]).first_of(["**"]) == []


def test_what_is_kept_of_patterns_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "KNOWN_MAX", 2)
    monkeypatch.setattr(matching, "UNDER_MAX", 2)
    names = [f"A.B{n}" for n in range(20)]
    matcher, column = Matcher(names), tuple(names)
    for _ in range(2):
        for n in range(10):
            assert matcher.named([f"*.B{n}"]).sum() == 1
            assert matcher.under(column, [f"A.B{n}"]).sum() == 1


@settings(max_examples=upto(30))
@given(names=NAMES)
def test_catalogue_of_a_column_is_that_of_its_names(names: list[str]) -> None:
    text = shipped_text("catalogues", "cn-auto")
    known = CatalogueSet([parse_catalogue(text, "cn-auto")])
    names = [*names, "Vehicle.Speed", "Vehicle.CurrentLocation.Latitude",
             "Vehicle.Cabin.Seat.Row1.IsOccupied"]  # fmt: skip
    matcher = Matcher(names)
    assert known.categories_of(matcher) == [known.category_of(one) for one in names]
    assert known.roles_of(matcher, names) == [known.role_of(one) for one in names]


# --- Whole policies -------------------------------------------------------------------

ITEMS = (
    "Vehicle.Speed", "Vehicle.CurrentLocation.Latitude", "Vehicle.Unknown.Thing",
    "Vehicle.CurrentLocation.Longitude", "Vehicle.CurrentLocation.Heading",
    "Vehicle.Cabin.Seat.Row1.IsOccupied", "Vehicle.VehicleIdentification.VIN",
    "Vehicle.Chassis.Brake.PedalPosition", "Vehicle.Powertrain.Range",
    "Vehicle.Chassis.SteeringWheel.Angle",
)  # fmt: skip
MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "item": st.lists(
            st.sampled_from(
                [
                    *ITEMS,
                    "**",
                    "Vehicle.**",
                    "Vehicle.*",
                    "**.Latitude",
                    "**.*itude",
                    "Vehicle.C*.**",
                    "Vehicle.Chassis.**",
                    "**.S*.**",
                ]
            ),
            min_size=1,
            max_size=3,
        ),
        "category": st.sampled_from(
            ["location", "location.precise", "chassis", "identity", "cabin"]
        ),
        "max_tier": st.sampled_from(["G2", "G3", "important"]),
        "pi": st.sampled_from(["none", "personal", "sensitive"]),
    },
)
STEPS = st.sampled_from(
    [
        [],
        [{"every": "10s"}],
        [{"grid": "1100m"}],
        [{"round": 0.5}],
        ["blank"],
        [{"grid": "1100m"}, {"every": "60s"}],
    ]
)


def expected(compiled: Compiled, form: RuleForm) -> list[bool]:
    """Return the items of a rule as each is asked by itself."""
    items = compiled.policy.items
    match = compiled.document.model.rules[form.number].match
    globs = [ItemGlob(one) for one in listed(match.item)]
    under = listed(match.category)
    refused = {row for row, _ in form.refused}
    label = accepts(match, items.label).tolist()
    return [
        bool(items.classified[row])
        and (not globs or any(glob.fullmatch(name) for glob in globs))
        and (not under or any(is_under(items.category[row], one) for one in under))
        and label[row]
        and row not in refused
        for row, name in enumerate(items.name)
    ]


@settings(max_examples=upto(25))
@given(
    rules=st.lists(
        st.tuples(
            MATCHES,
            STEPS,
            st.sampled_from([None, "location.coarse", "chassis.controls"]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_rules_take_the_items_and_labels_that_each_by_itself_has(
    compile_text: Compile, rules: list[tuple[dict[str, Any], list[Any], str | None]]
) -> None:
    given_rules = [
        rule_of(f"r{n}", match=match, do=[*steps, "encrypt"],
                **({"becomes": becomes} if becomes else {}))
        for n, (match, steps, becomes) in enumerate(rules)
    ]  # fmt: skip
    many = compile_text(policy_of(rules=given_rules), points_of(*ITEMS))
    by_number = {form.number: form for form in many.forms}
    for form in many.forms:
        if not form.cut and not form.volumes:
            assert form.items.tolist() == expected(many, form)
    for row, name in enumerate(many.policy.items.name):
        if name not in ITEMS:
            continue
        alone = compile_text(policy_of(rules=given_rules), points_of(name))
        at = alone.policy.items.name.index(name)
        for form in alone.forms:
            here = by_number[form.number]
            if form.raised or here.raised or form.cut or here.cut:
                continue  # what else leaves matters there
            assert bool(here.items[row]) == bool(form.items[at])
            assert int(here.label_out[row]) == int(form.label_out[at])
            assert here.category_out[row] == form.category_out[at]
            assert [w for r, w in here.refused if r == row] == [
                w for r, w in form.refused if r == at
            ]


def test_rules_that_take_the_same_share_it(compile_text: Compile) -> None:
    names = [f"Vehicle.Chassis.Part{n}.Signal" for n in range(300)]
    rules = [
        rule_of(f"r{n}", match={"item": "Vehicle.Chassis.**", "when": {names[0]: n}},
                do=[{"grid": "1100m"}, "encrypt"])
        for n in range(50)
    ]  # fmt: skip
    compiled = compile_text(policy_of(rules=rules), points_of(*names))
    assert len({id(form.items) for form in compiled.forms}) <= 1 + 1
    assert all(form.label_out is compiled.policy.items.label for form in compiled.forms)


def test_a_bad_pattern_is_none() -> None:
    for bad in ("", "A..B", "A.**b", "**.**.**.**", "a b"):
        with pytest.raises(ValueError, match=r"pattern|stands alone"):
            glob_parts(bad)
    assert np.array_equal(Matcher(["A.B"]).named(["*.B"]), [True])
