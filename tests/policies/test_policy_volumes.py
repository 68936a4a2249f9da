"""Volumes: a rule has two forms, below and above a limit, each with its own label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from policies.diff.compare import Kind, compare
from policies.errors import PolicyError
from policies.explain import explain
from policies.floor import check_floor
from policies.lint.linting import lint
from policies.parse import parse_floor
from policies.tables import NO_RULE, Action, CompiledVolume, VolumeTest
from protocols.labels import unpack
from tests.policies.building import Compile, points_of, policy_of, rule_of

if TYPE_CHECKING:
    from policies.compile import Compiled

LAT, LON = "Vehicle.CurrentLocation.Latitude", "Vehicle.CurrentLocation.Longitude"
SOC = "Vehicle.Powertrain.TractionBattery.StateOfCharge.Current"
SPEED = "Vehicle.Speed"
ITEMS = (LAT, LON, SPEED, SOC)
LIMIT = {
    "name": "cells-a-day", "category": "location.coarse", "more_than": 500,
    "unit": "samples", "window": "1d", "becomes": "location.track",
}  # fmt: skip
COARSE = [{"grid": "1100m"}, {"every": "60s"}, "encrypt"]
TRACK, CELL = "G4/sensitive/raw/precise/none", "G2/personal/deidentified/coarse/none"


def build(
    compile_text: Compile, *rules: dict[str, Any], volumes: Any = (LIMIT,)
) -> Compiled:
    text = policy_of(rules=list(rules), volumes=list(volumes))
    return compile_text(text, points_of(*ITEMS))


def coarse(**fields: Any) -> dict[str, Any]:
    match = {"category": "location.precise", **fields.pop("match", {})}
    return rule_of("coarse", match=match, do=COARSE, **fields)


def forms(compiled: Compiled, item: str) -> list[tuple[str, str, str]]:
    """Return (below | above | always, action, label) of each rule of an item."""
    policy = compiled.policy
    row = policy.items.name.index(item)
    out = []
    for number in policy.destinations[0].chain[row].tolist():
        if number == NO_RULE:
            continue
        rule = policy.rules[number]
        tests = [c for c in rule.conditions if isinstance(c, VolumeTest)]
        when = "".join("above" if test.above else "below" for test in tests)
        label = str(unpack(int(rule.label_out[row])))
        out.append((when or "always", rule.action.name.lower(), label))
    return out


def test_below_it_is_what_the_rule_says_and_above_the_graver(
    compile_text: Compile,
) -> None:
    compiled = build(compile_text, coarse())
    assert forms(compiled, LAT) == [
        ("below", "encrypt", CELL),
        ("above", "encrypt", TRACK),
    ]
    below, above = compiled.policy.rules
    assert below.volumes == above.volumes == (0,)
    assert below.transforms == above.transforms
    assert compiled.policy.volumes == (
        CompiledVolume("cells-a-day", 500, 86_400 * 10**9, 5400 * 10**9, by_time=False),
    )
    (test,) = below.conditions
    assert test == VolumeTest(compiled.policy.volumes[0], ("oem-key",), above=False)
    (told,) = [f for f in lint(compiled) if f.rule == "SG022"]
    assert told.reason.endswith("leave to oem labelled location.track")


def test_a_match_that_does_not_allow_the_label_drops_above(
    compile_text: Compile,
) -> None:
    """The geo and tier bounds are about what leaves: the cells, and then the track."""
    match = {"category": "location.deadreckoning", "max_tier": "G3"}
    rule = rule_of("speeds", match=match)
    limit = {**LIMIT, "category": "location.deadreckoning"}
    later = rule_of("later", match={"item": SPEED})
    compiled = build(compile_text, rule, later, volumes=[limit])
    plain = "G3/personal/raw/none/none"
    assert forms(compiled, SPEED) == [
        ("below", "encrypt", plain),
        ("above", "drop", TRACK),
        ("below", "encrypt", plain),  # never reached: one of the first two holds
        ("above", "encrypt", TRACK),
    ]
    drop = compiled.policy.rules[1]
    assert (drop.action, drop.transforms, drop.volumes) == (Action.DROP, (), ())
    told = [f.reason for f in lint(compiled) if f.rule == "SG022"]
    assert any("above cells-a-day, Vehicle.Speed stay" in reason for reason in told)


def test_only_the_items_that_count_are_split(compile_text: Compile) -> None:
    both = rule_of("both", match={"item": "Vehicle.**"})
    limit = {**LIMIT, "category": "location.deadreckoning"}
    compiled = build(compile_text, both, volumes=[limit])
    assert [when for when, _, _ in forms(compiled, SPEED)] == ["below", "above"]
    assert [when for when, _, _ in forms(compiled, SOC)] == ["always"]
    assert {form.number for form in compiled.forms} == {0}


def test_what_stays_does_not_count(compile_text: Compile) -> None:
    rules = [
        rule_of("drop", match={"item": LAT}, to=None, do=["drop"]),
        rule_of("keep", match={"item": LON}, to=None, do=["keep"]),
    ]
    compiled = build(compile_text, *rules, volumes=[{**LIMIT, "category": "location"}])
    assert all(rule.volumes == () for rule in compiled.policy.rules)
    assert "SG023" in [f.rule for f in lint(compiled)]
    assert "SG023" not in [f.rule for f in lint(build(compile_text, coarse()))]


def test_two_limits_of_one_category_are_independent(compile_text: Compile) -> None:
    other = {**LIMIT, "name": "hours", "unit": "hours", "more_than": 5}
    compiled = build(compile_text, coarse(), volumes=[LIMIT, other])
    assert [form[0] for form in forms(compiled, LAT)] == [
        "belowbelow", "belowabove", "abovebelow", "aboveabove",
    ]  # fmt: skip
    assert {form[2] for form in forms(compiled, LAT)[1:]} == {TRACK}


def test_the_floor_judges_the_form_above(compile_text: Compile) -> None:
    text = (
        "schema: sluicegate/floor/1\nrules:\n  - {name: f, match: {geo: precise,"
        " category: location.deadreckoning}, never_leaves: true}\n"
    )
    floor = parse_floor(text.encode())
    rule = rule_of("speed", match={"item": SPEED})
    limit = {**LIMIT, "category": "location.deadreckoning"}
    assert check_floor(build(compile_text, rule, volumes=[]), floor) == []
    found = check_floor(build(compile_text, rule, volumes=[limit]), floor)
    assert [v.item for v in found] == [SPEED]
    refused = rule_of("speed", match={"item": SPEED, "max_tier": "G3"})
    found = check_floor(build(compile_text, refused, volumes=[limit]), floor)
    assert found == []  # above the limit it drops


def test_explain_tells_both_forms(compile_text: Compile) -> None:
    (item,) = explain(build(compile_text, coarse()), LAT, "oem")
    (place,) = item.places
    conditions = [rule.conditions for rule in place.rules]
    limit = "the volume cells-a-day (500 samples in 1 d)"
    assert conditions == [(f"below {limit}",), (f"above {limit}",)]


def test_a_new_limit_is_no_weakening_and_its_end_is_one(compile_text: Compile) -> None:
    speed = rule_of("speed", match={"item": SPEED, "max_tier": "G3"})
    limit = {**LIMIT, "category": "location.deadreckoning"}
    free = build(compile_text, speed, volumes=[])
    bound = build(compile_text, speed, volumes=[limit])
    kinds = [
        {line.kind for line in compare(old, new).lines if line.items}
        for old, new in ((free, bound), (bound, free))
    ]
    assert kinds == [{Kind.TIGHTER}, {Kind.LOOSER}]
    assert not compare(bound, build(compile_text, speed, volumes=[limit])).lines


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"category": "location.cuarse"}, "category: no such category"),
        ({"category": []}, "volumes[0].category: names nothing"),
        ({"becomes": "x"}, "becomes: no such category: 'x'"),
        ({"window": "1"}, "window: not a duration: '1'"),
        ({"window": "10ms"}, "window: a window of 1 s to 366 d is needed"),
        ({"unit": "hours", "window": "5w"}, "a window of hours is 31 d at most"),
        ({"unit": "hours", "more_than": 24}, "holds no more than 24 hours: never"),
        ({"unit": "weeks"}, "unit: invalid enum value"),
        ({"more_than": 0}, "more_than: expected number >= 1"),
        ({"window": None}, "window: expected text, got nothing"),
    ],
)
def test_a_wrong_limit_is_one_line(
    compile_text: Compile, changes: dict[str, Any], line: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        build(compile_text, volumes=[{**LIMIT, **changes}])
    assert line in str(caught.value)
    assert str(caught.value).startswith("t.yaml:")


@pytest.mark.slow
def test_forms_are_bounded_before_they_are_made(compile_text: Compile) -> None:
    many = [{**LIMIT, "name": f"v{n}"} for n in range(40)]  # 2**40 forms of one rule
    with pytest.raises(PolicyError, match="volumes: too many rules, destinations and"):
        build(compile_text, coarse(), volumes=many)


def test_a_limit_has_a_window_and_a_name_of_its_own(compile_text: Compile) -> None:
    without = {key: value for key, value in LIMIT.items() if key != "window"}
    with pytest.raises(PolicyError, match="missing field window"):
        build(compile_text, volumes=[without])
    with pytest.raises(PolicyError, match="there is 'cells-a-day' already in volumes"):
        build(compile_text, volumes=[LIMIT, LIMIT])


# --- diff ----------------------------------------------------------------------------


@pytest.mark.parametrize("drops", [False, True])
@pytest.mark.parametrize("changes", [{"more_than": 1000}, None, {"more_than": 501}])
def test_a_higher_limit_or_none_is_looser_and_the_other_way_round_tighter(
    compile_text: Compile, changes: dict[str, Any] | None, *, drops: bool
) -> None:
    rule, limit, item = coarse(), LIMIT, LAT
    if drops:  # above, the match does not accept the label
        rule = rule_of("soc", match={"item": SOC, "max_tier": "G3"})
        limit, item = {**LIMIT, "category": "energy"}, SOC
    old = build(compile_text, rule, volumes=[limit])
    volumes = () if changes is None else ({**limit, **changes},)
    new = build(compile_text, rule, volumes=volumes)
    looser = compare(old, new)
    assert {line.kind for line in looser.lines} == {Kind.LOOSER}
    assert any(item in line.items for line in looser.lines)
    assert looser.weakens
    assert {line.kind for line in compare(new, old).lines} == {Kind.TIGHTER}


@pytest.mark.parametrize(
    "changes", [{"window": "1h"}, {"unit": "hours", "more_than": 5}, {"name": "other"}]
)
def test_a_limit_of_another_counter_is_changed(
    compile_text: Compile, changes: dict[str, Any]
) -> None:
    old = build(compile_text, coarse())
    new = build(compile_text, coarse(), volumes=[{**LIMIT, **changes}])
    for found in (compare(old, new), compare(new, old)):
        assert found.is_looser
        assert found.weakens


def test_a_lower_label_above_a_limit_is_looser(compile_text: Compile) -> None:
    old = build(compile_text, coarse())
    new = build(compile_text, coarse(), volumes=[{**LIMIT, "becomes": "powertrain"}])
    found = compare(old, new)
    assert {line.kind for line in found.lines} == {Kind.LOOSER}
    assert all(line.before != line.after for line in found.lines)


def test_a_limit_that_counts_less_is_looser(compile_text: Compile) -> None:
    wide = {**LIMIT, "category": ["location", "energy"]}
    old, new = (
        build(compile_text, coarse(), volumes=[one])
        for one in (wide, {**LIMIT, "category": "location.coarse"})
    )
    (line,) = compare(old, new).lines
    assert line.kind == Kind.LOOSER
    assert line.weakens
    assert "the volume cells-a-day counts location, energy" in str(line)
    (line,) = compare(new, old).lines
    assert line.kind == Kind.TIGHTER


def test_what_a_person_reads_about_a_volume_changes_nothing(
    compile_text: Compile,
) -> None:
    old = build(compile_text, coarse())
    new = build(compile_text, coarse(), volumes=[{**LIMIT, "about": "Other words."}])
    assert not compare(old, new).lines
