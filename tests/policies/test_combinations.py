"""Combinations: what leaves together to one receiver has a label of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.derive import slowest_ns
from policies.diff.compare import Kind, compare
from policies.errors import PolicyError
from policies.floor import check_floor
from policies.lint.linting import lint
from policies.parse import parse_floor
from policies.rules import LEAVES
from policies.tables import NO_RULE
from protocols.labels import parse_label, unpack
from tests.policies.building import Compile, points_of, policy_of, rule_of

if TYPE_CHECKING:
    from policies.compile import Compiled

SPEED, ANGLE, YAW = (
    "Vehicle.Speed",
    "Vehicle.Chassis.SteeringWheel.Angle",
    "Vehicle.AngularVelocity.Yaw",
)
GEAR, LAT, LON = (
    "Vehicle.Powertrain.Transmission.Gear",
    "Vehicle.CurrentLocation.Latitude",
    "Vehicle.CurrentLocation.Longitude",
)
SOC, CODES, LANE = (
    "Vehicle.Powertrain.TractionBattery.StateOfCharge.Current",
    "Vehicle.OBD.DTCList",
    "Vehicle.Map.Lane",
)
ITEMS = (SPEED, ANGLE, YAW, GEAR, LAT, LON, SOC, CODES, LANE)
TRACK = parse_label("G4/sensitive/raw/precise/none")
PLAIN = parse_label("G2/none/raw/none/none")


def build(compile_text: Compile, *rules: dict[str, Any], **fields: Any) -> Compiled:
    return compile_text(policy_of(rules=list(rules), **fields), points_of(*ITEMS))


def leaving(compiled: Compiled, item: str, destination: int = 0) -> dict[str, str]:
    """Return the labels under which rules may let an item out, by rule."""
    policy = compiled.policy
    row = policy.items.name.index(item)
    chain = policy.destinations[destination].chain[row].tolist()
    rules = [policy.rules[number] for number in chain if number != NO_RULE]
    return {
        rule.name: str(unpack(int(rule.label_out[row])))
        for rule in rules
        if rule.action in LEAVES
    }


def ids(compiled: Compiled) -> list[str]:
    return [f.rule for f in lint(compiled) if "SG018" <= f.rule <= "SG020"]


def speed(*steps: Any, **fields: Any) -> dict[str, Any]:
    return rule_of("speed", match={"item": SPEED}, do=[*steps, "encrypt"], **fields)


def angle(*steps: Any, **match: Any) -> dict[str, Any]:
    match = {"item": ANGLE, **match}
    return rule_of("angle", match=match, do=[*steps, "encrypt"])


def test_speed_and_steering_at_full_rate_are_a_track(compile_text: Compile) -> None:
    both = build(compile_text, speed(), angle())
    assert leaving(both, SPEED) == {"speed": str(TRACK)}
    assert leaving(both, ANGLE) == {"angle": str(TRACK)}
    assert ids(both) == ["SG018", "SG018"]
    for alone in (build(compile_text, speed()), build(compile_text, angle())):
        assert ids(alone) == []
    assert leaving(build(compile_text, angle()), ANGLE) == {"angle": str(PLAIN)}


@pytest.mark.parametrize(
    ("step", "found"),
    [
        ({"every": "1s"}, ["SG018", "SG018"]),  # 1 Hz still is a track
        ({"every": "1.1s"}, ["SG020"]),
        ({"aggregate": {"window": "2s", "of": ["last"]}}, ["SG020"]),
        ({"aggregate": {"window": "1s", "of": ["mean"]}}, ["SG018", "SG018"]),
        ({"round": 5}, ["SG018", "SG018"]),  # rounded, and still a track
        ({"on_change": 0}, ["SG018", "SG018"]),
        ("blank", []),
    ],
)
def test_only_what_thins_one_side_breaks_it(
    compile_text: Compile, step: Any, found: list[str]
) -> None:
    assert ids(build(compile_text, speed(), angle(step))) == found
    assert ids(build(compile_text, speed(step), angle())) == found


def test_who_knows_that_one_rate_keeps_it_incomplete_says_so(
    compile_text: Compile,
) -> None:
    thinned = angle({"every": "2s"})
    assert ids(build(compile_text, speed(), thinned)) == ["SG020"]
    thinned["note"] = "the rate keeps dead-reckoning away"
    assert ids(build(compile_text, speed(), thinned)) == []


def test_a_rule_that_does_not_allow_the_label_lets_it_out_no_more(
    compile_text: Compile,
) -> None:
    wide = rule_of("wide", match={"item": "Vehicle.Chassis.**"})
    tested = build(compile_text, speed(), angle(max_tier="G2"), wide)
    assert leaving(tested, ANGLE) == {}  # nor does a later, wider rule let it out
    assert leaving(tested, SPEED) == {"speed": "G3/personal/raw/none/none"}
    (told,) = [f for f in lint(tested) if f.rule == "SG019"]
    assert told.path == "rules[1]"
    assert "Vehicle.Chassis.SteeringWheel.Angle stay" in told.reason
    assert "thin one side to less than one in 1 s" in told.reason
    for bound in ({"pi": "none"}, {"geo": ["none", "coarse"]}):
        assert leaving(build(compile_text, speed(), angle(**bound)), ANGLE) == {}
    allowed = {"max_tier": "G4", "pi": ["none", "sensitive"]}
    tested = build(compile_text, speed(), angle(**allowed, geo=["none", "precise"]))
    assert leaving(tested, ANGLE) == {"angle": str(TRACK)}


def test_a_later_rule_that_is_never_reached_completes_nothing(
    compile_text: Compile,
) -> None:
    stays = rule_of("stays", match={"item": SPEED}, to=None, do=["drop"])
    assert ids(build(compile_text, stays, speed(), angle())) == []
    assert ids(build(compile_text, speed({"every": "9s"}), speed() | {"name": "x"},
                     angle())) == ["SG020"]  # fmt: skip


def test_a_rule_that_holds_at_times_completes_it(compile_text: Compile) -> None:
    """And what leaves slowly beside it keeps its label."""
    crash = rule_of(
        "crash", match={"item": SPEED, "when": {"Vehicle.Safety.CrashDetected": True}}
    )
    tested = build(compile_text, crash, speed({"every": "9s"}), angle())
    assert leaving(tested, SPEED) == {
        "crash": str(TRACK),
        "speed": "G3/personal/raw/none/none",
    }


def test_every_destination_is_for_itself_but_one_recipient_is_one(
    compile_text: Compile,
) -> None:
    apart = {
        "oem": {"region": "CN", "recipients": ["a"]},
        "abroad": {"region": "DE", "recipients": ["b"]},
    }
    rules = speed(), {**angle(), "to": "abroad"}
    assert ids(build(compile_text, *rules, destinations=apart)) == []
    shared = {**apart, "abroad": {"region": "DE", "recipients": ["b", "a"]}}
    tested = build(compile_text, *rules, destinations=shared)
    assert ids(tested) == ["SG018", "SG018"]
    assert leaving(tested, ANGLE, 1) == {"angle": str(TRACK)}
    # The duty of the label holds there, too: abroad without an approval.
    assert "SG002" in [f.rule for f in lint(tested)]


def test_members_are_judged_by_what_leaves(compile_text: Compile) -> None:
    """A battery with coarse cells is a battery; with coordinates it is places."""
    battery = rule_of("battery", match={"category": "energy.state"})
    place = {"category": "location.precise", "item": ["**.Latitude", "**.Longitude"]}
    coarse = rule_of(
        "coarse", match=place, do=[{"grid": "1100m"}, {"every": "60s"}, "encrypt"]
    )
    assert leaving(build(compile_text, battery, coarse), SOC) == {"battery": str(PLAIN)}
    precise = rule_of("precise", match=place)
    found = leaving(build(compile_text, battery, precise), SOC)
    assert found == {"battery": str(TRACK)}
    codes = rule_of("codes", match={"category": "diagnostics"})
    assert leaving(build(compile_text, codes, precise), CODES) == {"codes": str(TRACK)}


def test_coordinates_with_a_map_are_surveying(compile_text: Compile) -> None:
    rules = [
        rule_of("place", match={"category": "location.precise"}, approval="x"),
        rule_of("map", match={"category": "geo.map"}, approval="x"),
    ]
    label = leaving(build(compile_text, *rules), LAT)["place"]
    assert label == "important/sensitive/raw/surveying/candidate"


def test_the_floor_judges_the_lifted_label(compile_text: Compile) -> None:
    floor = parse_floor(
        b"schema: sluicegate/floor/1\nrules:\n"
        b"  - {name: f, match: {geo: precise}, never_leaves: true}\n"
    )
    assert check_floor(build(compile_text, angle()), floor) == []
    found = check_floor(build(compile_text, speed(), angle()), floor)
    assert {(v.policy_rule, v.item) for v in found} == {
        ("speed", SPEED),
        ("angle", ANGLE),
    }


OWN = {
    "name": "gear-and-speed",
    "of": [{"item": GEAR}, {"category": "location.deadreckoning"}],
    "becomes": "driving.behaviour",
}


def test_a_policy_adds_its_own(compile_text: Compile) -> None:
    gear = rule_of("gear", match={"item": GEAR}, do=[{"every": "1h"}, "encrypt"])
    assert ids(build(compile_text, speed(), gear)) == []
    tested = build(compile_text, speed(), gear, combinations=[OWN])
    assert leaving(tested, GEAR) == {"gear": "G3/personal/raw/none/none"}  # at any rate
    assert ids(tested) == ["SG018"]  # the speed's own label is as grave: not lifted


def test_a_label_that_a_combination_lifts_is_told_by_diff(
    compile_text: Compile,
) -> None:
    once = [{"every": "1s"}]
    alone = build(compile_text, speed(*once))
    both = build(compile_text, speed(*once), angle(*once))
    tighter = next(x for x in compare(alone, both).lines if SPEED in x.items)
    assert str(tighter) == (
        f"{SPEED} (location.deadreckoning) to oem: leaves sealed (one in 1 s) as"
        " location.deadreckoning, G3/personal/raw/none/none, for p; now leaves sealed"
        f" (one in 1 s) as location.deadreckoning, {TRACK}, for p"
    )
    looser = next(x for x in compare(both, alone).lines if SPEED in x.items)
    assert looser.before == tighter.after
    assert looser.why == f"labelled G3/personal/raw/none/none now, {TRACK} before"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"name": "dead-reckoning"},
            "there is 'dead-reckoning' already in combinations",
        ),
        ({"becomes": "location.trak"}, "no such category: 'location.trak' (did you"),
        ({"of": [{"item": GEAR}]}, "of: expected list of length >= 2"),
        ({"of": [{"item": GEAR}, {}]}, "of[1]: names nothing: say category, item"),
        ({"of": [{"item": GEAR}, {"item": "**.**.**.**"}]}, "of[1]: ** stands alone"),
        (
            {"of": [{"item": GEAR}, {"category": "x"}]},
            "of[1].category: no such",
        ),
        ({"every": "1"}, "combinations[0].every: not a duration"),
    ],
)
def test_a_wrong_one_is_one_line(
    compile_text: Compile, changes: dict[str, Any], line: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        build(compile_text, combinations=[{**OWN, **changes}])
    assert line in str(caught.value)
    assert str(caught.value).startswith("t.yaml:")


def test_a_half_that_is_set_free_is_looser(compile_text: Compile) -> None:
    """Without the speed the angle may leave again: whoever approves is told."""
    old = build(compile_text, speed(), angle(max_tier="G2"))
    new = build(compile_text, angle(max_tier="G2"))
    lines = {line.items[0]: line.kind for line in compare(old, new).lines}
    assert lines == {SPEED: Kind.TIGHTER, ANGLE: Kind.LOOSER}


# --- Against a slow reading -----------------------------------------------------------

PERIODS = [None, "500ms", "1s", "2s"]
WHAT = [SPEED, ANGLE, YAW, GEAR, "Vehicle.**", "Vehicle.Chassis.**"]


@st.composite
def rule_lists(draw: st.DrawFn) -> list[dict[str, Any]]:
    out = []
    for number in range(draw(st.integers(1, 5))):
        period = draw(st.sampled_from(PERIODS))
        match: dict[str, Any] = {"item": draw(st.sampled_from(WHAT))}
        match |= draw(st.sampled_from([{}, {"max_tier": "G2"}, {"pi": "personal"},
                                       {"when": {GEAR: 1}}]))  # fmt: skip
        action = draw(st.sampled_from(["encrypt", "allow", "drop"]))
        steps = [] if period is None or action == "drop" else [{"every": period}]
        to = draw(st.sampled_from(["oem", "abroad", ["oem", "abroad"]]))
        out.append(rule_of(f"r{number}", match=match, to=to, do=[*steps, action]))
    return out


@given(rule_lists())
def test_lifted_labels_equal_a_slow_reading(
    compile_text: Compile, rules: list[dict[str, Any]]
) -> None:
    """What leaves at 1 Hz or more beside the other half has the label of a track."""
    compiled = build(compile_text, *rules)
    policy = compiled.policy
    for place in policy.destinations:
        fast: dict[str, list[str]] = {SPEED: [], ANGLE: [], YAW: []}
        for item, labels in fast.items():
            row = policy.items.name.index(item)
            for number in place.chain[row].tolist():
                rule = policy.rules[number]
                if number == NO_RULE or rule.action not in LEAVES:
                    continue
                if slowest_ns(rule.transforms) <= 10**9:
                    labels.append(str(unpack(int(rule.label_out[row]))))
        track = fast[SPEED] and (fast[ANGLE] or fast[YAW])
        found = {label for labels in fast.values() for label in labels}
        assert not track or found == {str(TRACK)}
        assert track or str(TRACK) not in found
