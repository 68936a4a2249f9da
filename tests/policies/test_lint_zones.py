"""Zones of a policy: datum, buffer, hysteresis, and what lint says of them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from policies.datum import to_gcj02
from policies.errors import PolicyError
from policies.lint.linting import lint
from policies.tables import Action, DropZones, Zone, ZoneTest
from tests.policies.building import Compile, points_of, policy_of, rule_of

POINTS = ("Vehicle.CurrentLocation.Latitude", "Vehicle.CurrentLocation.Longitude")
SQUARE = [[31.20, 121.40], [31.20, 121.404], [31.204, 121.404], [31.204, 121.40]]
SHIFTED = [list(to_gcj02((lat, lon))) for lat, lon in SQUARE]
MATCH = {"category": "location", "outside": "z"}


def _zone(compile_text: Compile, datum: str, polygon: Any, bound: str = "") -> Zone:
    zones = {"z": {"datum": datum, "polygons": [polygon], "buffer": "40m"}}
    bindings = points_of(*POINTS)
    for point in bindings["modbus"][0]["points"] if bound else ():
        point["datum"] = bound
    text = policy_of(zones=zones, rules=[rule_of(match=MATCH)])
    (test,) = compile_text(text, bindings).policy.rules[0].conditions
    assert isinstance(test, ZoneTest)
    (zone,) = test.zones
    return zone


def test_a_zone_of_either_datum_is_the_same_place(compile_text: Compile) -> None:
    plain, other = (
        _zone(compile_text, datum, polygon)
        for datum, polygon in (("WGS-84", SQUARE), ("GCJ-02", SHIFTED))
    )
    assert other.latitude == pytest.approx(plain.latitude, abs=1e-10)
    assert other.longitude == pytest.approx(plain.longitude, abs=1e-10)
    assert plain.buffer_m == other.buffer_m == 40.0
    assert plain.gcj02 is other.gcj02 is None  # no position here is of that datum


def test_positions_of_the_other_datum_get_zones_of_their_own(
    compile_text: Compile,
) -> None:
    plain, other = (
        _zone(compile_text, datum, polygon, "GCJ-02")
        for datum, polygon in (("WGS-84", SQUARE), ("GCJ-02", SHIFTED))
    )
    for zone in (plain, other):
        assert zone.gcj02 is not None
        assert zone.gcj02[0] == pytest.approx([p[0] for p in SHIFTED], abs=1e-10)
        assert zone.gcj02[1] == pytest.approx([p[1] for p in SHIFTED], abs=1e-10)
        assert zone.latitude == pytest.approx([p[0] for p in SQUARE], abs=1e-10)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (["GCJ-02", None], "latitude and longitude of one position have different"),
        (["GCJ-02", "WGS-84"], "have different data (say datum at both)"),
        (
            ["GCJ-02", "GCJ-02", "GCJ-02"],
            "Vehicle.Speed: a datum belongs to",
        ),
    ],
)
def test_a_datum_that_does_not_fit_is_one_line(
    compile_text: Compile, data: list[str | None], line: str
) -> None:
    bindings = points_of(*POINTS, "Vehicle.Speed")
    for point, datum in zip(bindings["modbus"][0]["points"], data, strict=False):
        point["datum"] = datum
    with pytest.raises(PolicyError) as caught:
        compile_text(policy_of(), bindings)
    assert line in str(caught.value)


def test_points_of_all_zones_are_bounded_after_conversion(
    compile_text: Compile,
) -> None:
    wide = [[20.0, 100.0], [20.0, 120.0], [21.0, 110.0]]
    zones = {f"z{n}": {"datum": "GCJ-02", "polygons": [wide]} for n in range(3)}
    with pytest.raises(PolicyError, match=r"zones.z2: more than 10000 points in all"):
        compile_text(policy_of(zones=zones))


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("inside", [True, False])
def test_the_side_that_closes_lingers(
    compile_text: Compile, action: Action, inside: bool
) -> None:
    """What leaves closes where it may not; what is kept or dropped, where it is."""
    rule = rule_of(
        match={"inside" if inside else "outside": "z", "hysteresis": "5s"},
        do=[action.name.lower()],
    )
    zones = {"z": {"datum": "WGS-84", "polygons": [SQUARE]}}
    compiled = compile_text(policy_of(zones=zones, rules=[rule]), points_of(*POINTS))
    (test,) = compiled.policy.rules[0].conditions
    assert isinstance(test, ZoneTest)
    leaves = action in {Action.ALLOW, Action.ENCRYPT}
    assert test.hysteresis_ns == 5 * 10**9
    assert test.lingers_outside == (inside if leaves else not inside)


def test_hysteresis_belongs_to_a_zone(compile_text: Compile) -> None:
    rule = rule_of(match={"hysteresis": "5s"})
    with pytest.raises(PolicyError, match=r"match\.hysteresis: belongs to inside or"):
        compile_text(policy_of(rules=[rule]))


def test_no_hysteresis_is_said_and_told(compile_text: Compile) -> None:
    zones = {"z": {"datum": "WGS-84", "polygons": [SQUARE]}}
    rules = [
        rule_of("a", match={**MATCH, "hysteresis": "0s"}),
        rule_of(
            "b",
            match={"category": "location"},
            do=[{"drop_zones": {"zones": "z", "hysteresis": "0s"}}, "encrypt"],
        ),
    ]
    compiled = compile_text(policy_of(zones=zones, rules=rules), points_of(*POINTS))
    found = [f"{f.rule} {f.path}" for f in lint(compiled) if f.rule == "SG017"]
    assert found == [
        "SG017 rules[0].match.hysteresis",
        "SG017 rules[1].do[0].drop_zones.hysteresis",
    ]
    (drop,) = compiled.policy.rules[1].transforms
    assert isinstance(drop, DropZones)
    assert drop.hysteresis_ns == 0


def test_a_place_that_gcj02_does_not_shift_is_told(compile_text: Compile) -> None:
    turned = [[121.40, 31.20], [121.404, 31.20], [121.404, 31.204]]
    assert math.isclose(turned[0][0], SQUARE[0][1])
    sea = [[-20.0, 100.0], [-20.0, 101.0], [-21.0, 100.0]]
    for polygon, found in ((SHIFTED, []), (sea, ["SG016"])):
        zones = {"z": {"datum": "GCJ-02", "polygons": [polygon]}}
        text = policy_of(zones=zones, rules=[rule_of(match=MATCH)])
        told = [f.rule for f in lint(compile_text(text, points_of(*POINTS)))]
        assert [rule for rule in told if rule == "SG016"] == found
    with pytest.raises(PolicyError, match="not a latitude and longitude"):
        _zone(compile_text, "GCJ-02", turned)


def test_drop_in_a_region_closes_only_the_ways_to_it(compile_text: Compile) -> None:
    rules = [
        rule_of("d", match={"region": "DE"}, to=None, do=["drop"]),
        rule_of("e", to="*"),
    ]
    policy = compile_text(policy_of(rules=rules), points_of("Vehicle.Speed")).policy
    first = [policy.rules[d.chain[0, 0]].name for d in policy.destinations]
    assert first == ["e", "d"]
    found = lint(compile_text(policy_of(rules=[rule_of(match={"region": "FR"})])))
    assert [f"{f.rule} {f.path}" for f in found if f.rule == "SG015"] == [
        "SG015 rules[0].match.region"
    ]
