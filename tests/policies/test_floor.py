"""Promise 8: no policy goes below the owner's floor; the floor rule is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from policies.errors import PolicyError
from policies.floor import check_floor
from policies.parse import parse_floor
from tests.policies.building import Compile, consent_of, points_of, policy_of, rule_of

ITEMS = ("Vehicle.CurrentLocation.Latitude", "Vehicle.CurrentLocation.Longitude",
         "Vehicle.Cabin.Door.IsOpen", "Vehicle.Chassis.A",
         "Vehicle.Map.Lane")  # fmt: skip
PLACE = {"category": "location.precise"}
CABIN = {"category": "cabin"}


def _floor(**rule: Any) -> bytes:
    rules = [{"name": "f", **rule}]
    return json.dumps({"schema": "sluicegate/floor/1", "rules": rules}).encode()


@pytest.mark.parametrize(
    ("floor", "rule", "reason"),
    [
        ({"match": CABIN, "never_leaves": True}, {"match": CABIN}, "never leaves"),
        ({"match": CABIN, "never_leaves": True}, {"match": {"item": "**"}}, "never"),
        ({"match": CABIN, "never_leaves": True}, {"match": CABIN, "do": ["keep"]}, ""),
        ({"match": {"pi": "personal"}, "never_leaves": True}, {"match": CABIN}, "nev"),
        ({"match": {"item": "**.IsOpen"}, "never_leaves": True}, {"match": CABIN}, "n"),
        ({"match": CABIN, "min_action": "keep"}, {"match": CABIN},
         "the floor demands keep, the policy has encrypt"),
        ({"match": CABIN, "min_action": "drop"}, {"match": CABIN, "do": ["keep"]},
         "the floor demands drop, the policy has keep"),
        ({"match": CABIN, "min_action": "encrypt"}, {"match": CABIN, "do": ["allow"]},
         "the floor demands encrypt, the policy has allow"),
        ({"match": CABIN, "min_action": "encrypt"}, {"match": CABIN}, ""),
        ({"match": PLACE, "min_grid": "1km"}, {"match": PLACE}, "a grid of 1000 m"),
        ({"match": PLACE, "min_grid": "1km"},
         {"match": PLACE, "do": [{"grid": "900m"}, "encrypt"]}, "a grid of 1000 m"),
        ({"match": PLACE, "min_grid": "1km"},
         {"match": PLACE, "do": [{"grid": "1100m"}, "encrypt"]}, ""),
        ({"match": PLACE, "max_rate": "30s"},
         {"match": PLACE, "do": [{"every": "10s"}, "encrypt"]}, "once in 30 s"),
        ({"match": PLACE, "max_rate": "30s"},
         {"match": PLACE, "do": [{"every": "30s"}, "encrypt"]}, ""),
        ({"match": {"min_tier": "important"}, "allowed_regions": ["CN"]},
         {"match": {"category": "geo"}, "to": "abroad"}, "region DE"),
        ({"match": {"min_tier": "important"}, "allowed_regions": ["CN"]},
         {"match": {"category": "geo"}}, ""),
        ({"match": {"geo": "surveying"}, "allowed_destinations": ["mapper"]},
         {"match": {"category": "geo"}}, "this destination"),
        ({"match": PLACE, "allowed_suites": ["mlkem768x25519-aes256gcm"]},
         {"match": PLACE}, "sealed with x25519-aes256gcm"),
        # a rule with a condition may still decide
        ({"match": CABIN, "never_leaves": True},
         {"match": {**CABIN, "consent": "c"}}, "never leaves"),
    ],
)  # fmt: skip
def test_a_weaker_policy_is_refused_with_the_rule_named(
    compile_text: Compile, floor: dict[str, Any], rule: dict[str, Any], reason: str
) -> None:
    text = policy_of(rules=[rule_of(**rule)], consents={"c": consent_of("cabin")})
    compiled = compile_text(text, points_of(*ITEMS))
    found = check_floor(compiled, parse_floor(_floor(**floor), "floor.yaml"))
    if not reason:
        assert found == []
        return
    assert found
    assert all(v.floor_rule == "f" and v.policy_rule == "r" for v in found)
    assert reason in found[0].reason
    assert str(found[0]).startswith("floor rule f: rule r for ")


def test_what_an_earlier_rule_takes_does_not_count(compile_text: Compile) -> None:
    rules = [
        rule_of("stay", match=CABIN, to=None, do=["drop"]),
        rule_of("all", match={"item": "**"}),
    ]
    compiled = compile_text(policy_of(rules=rules), points_of(*ITEMS))
    floor = parse_floor(_floor(match=CABIN, never_leaves=True), "floor.yaml")
    assert check_floor(compiled, floor) == []


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ({"match": CABIN}, "rules[0]: demands nothing"),
        ({"match": {}, "never_leaves": True}, "matches nothing in particular"),
        ({"match": {"category": "cabn"}, "never_leaves": True},
         "no such category: 'cabn' (did you mean 'cabin'?)"),
        ({"match": CABIN, "min_grid": "5"}, "not a length: '5'"),
        ({"match": CABIN, "min_grd": "5m"}, "(did you mean 'min_grid'?)"),
    ],
)  # fmt: skip
def test_a_wrong_floor_is_one_line(
    compile_text: Compile, rule: dict[str, Any], line: str
) -> None:
    compiled = compile_text(policy_of(), points_of(*ITEMS))
    with pytest.raises(PolicyError) as caught:
        check_floor(compiled, parse_floor(_floor(**rule), "floor.yaml"))
    assert line in str(caught.value)
