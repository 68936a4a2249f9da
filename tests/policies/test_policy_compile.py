"""Compiled chains equal a slow reading of the file, rule by rule, item by item."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from policies.errors import PolicyError
from policies.tables import (
    NO_RULE,
    Action,
    Aggregate,
    Blank,
    Bucket,
    Clamp,
    ConsentTest,
    DropZones,
    Every,
    Grid,
    ItemTest,
    Mask,
    OnChange,
    Pseudonymise,
    Round,
    TimeTest,
    TripEnds,
    ZoneTest,
)
from protocols.labels import parse_label, unpack
from tests.policies.building import Compile, consent_of, points_of, policy_of, rule_of

if TYPE_CHECKING:
    from policies.compile import Compiled

ITEMS = (
    "Vehicle.CurrentLocation.Latitude", "Vehicle.CurrentLocation.Longitude",
    "Vehicle.CurrentLocation.Altitude", "Vehicle.Speed",
    "Vehicle.Chassis.Brake.PedalPosition", "Vehicle.Powertrain.Transmission.Gear",
    "Vehicle.Cabin.Door.Row1.IsOpen", "Vehicle.Geofence.Hit", "Vehicle.Exterior.Rain",
    "Vehicle.Map.Lane", "Unknown.Thing",
)  # fmt: skip  # the compiler adds one row of its own: Sluicegate.Event
CHASSIS = "Vehicle.Chassis.Brake.PedalPosition"
SQUARE = [[1, 1], [1, 2], [2, 2]]
SEA = {"datum": "WGS-84", "polygons": [SQUARE]}


def _one(compile_text: Compile, **rule: Any) -> Compiled:
    consents = {"c": consent_of("location")}
    text = policy_of(rules=[rule_of(**rule)], zones={"sea": SEA}, consents=consents)
    return compile_text(text, points_of(*ITEMS))


def _chain(compiled: Compiled, item: str, destination: int = 0) -> list[str]:
    row = compiled.policy.items.name.index(item)
    chain = compiled.policy.destinations[destination].chain[row].tolist()
    return [compiled.policy.rules[n].name for n in chain if n != NO_RULE]


def test_every_step_becomes_its_table(compile_text: Compile) -> None:
    do = [
        {"round": 0.5}, {"round": {"step": 2, "down": True}},
        {"clamp": {"low": 0, "high": 9}}, {"bucket": [0, 1.5, 7]}, {"grid": "1.1km"},
        {"drop_zones": "sea"}, {"drop_zones": {"zones": ["sea"], "hysteresis": "2m"}},
        {"trip_ends": "500m"}, {"trip_ends": {"length": "1km", "gap": "9m"}},
        {"every": "60s"}, {"on_change": 0}, {"mask": {"keep_first": 3}},
        {"aggregate": {"window": "10m", "of": ["min", "max"]}},
        {"pseudonymise": {"period": "1d"}}, {"pseudonymise": {"purpose": "w"}},
        "blank", "encrypt",
    ]  # fmt: skip
    with pytest.raises(PolicyError, match="length <= 16"):
        _one(compile_text, do=do)
    first = _one(compile_text, do=[*do[:8], "allow"]).policy.rules[0]
    second = _one(compile_text, do=do[8:]).policy.rules[0]
    transforms = first.transforms + second.transforms
    zones = transforms[5].zones  # type: ignore[union-attr]  # compared below
    assert transforms == (
        Round(0.5), Round(2.0, down=True), Clamp(0.0, 9.0), Bucket((0.0, 1.5, 7.0)),
        Grid(1100.0), DropZones(zones, 60 * 10**9), DropZones(zones, 120 * 10**9),
        TripEnds(500.0, 300 * 10**9), TripEnds(1000.0, 540 * 10**9), Every(60 * 10**9),
        OnChange(0.0), Mask(3, 0), Aggregate(600 * 10**9, ("min", "max")),
        Pseudonymise("p", 86_400 * 10**9), Pseudonymise("w", 30 * 86_400 * 10**9),
        Blank(),
    )  # fmt: skip
    assert (first.action, second.action) == (Action.ALLOW, Action.ENCRYPT)
    assert (zones[0].name, zones[0].latitude, zones[0].buffer_m) == (
        "sea", (1.0, 1.0, 2.0), 500.0,
    )  # fmt: skip


def test_every_condition_becomes_its_table(compile_text: Compile) -> None:
    match = {
        "when": {"Vehicle.Speed": {">=": 1, "<": 9}, "Vehicle.Not.Bound": True},
        "inside": "sea", "outside": ["sea"], "consent": "c",
        "time": "Sat,Sun 22:00-06:00 +01:00",
    }  # fmt: skip
    rule = _one(compile_text, match=match).policy.rules[0]
    speed = ITEMS.index("Vehicle.Speed")
    inside, outside = rule.conditions[3], rule.conditions[4]
    assert rule.conditions[:3] == (
        ItemTest((speed,), ">=", 1.0),
        ItemTest((speed,), "<", 9.0),
        ItemTest((), "==", 1.0),
    )
    assert isinstance(inside, ZoneTest)
    assert inside.inside
    lingers_ns = 60 * 10**9
    assert inside == ZoneTest(inside.zones, True, lingers_ns, lingers_outside=True)
    assert outside == ZoneTest(inside.zones, False, lingers_ns)
    assert rule.conditions[5:] == (
        TimeTest(frozenset({5, 6}), 22 * 3600, 6 * 3600, 3600),
        ConsentTest("c"),
    )


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"do": ["encrpt"]}, "do[0]: no such step: 'encrpt' (did you mean 'encrypt'?)"),
        ({"do": ["hash", "encrypt"]}, "do[0]: an unkeyed hash de-identifies nothing"),
        ({"do": ["grid", "encrypt"]}, "do[0]: grid needs its parameters"),
        ({"do": [{"every": "60s"}]}, "do: ends without an action"),
        ({"do": ["encrypt", "blank"]}, "do[1]: nothing comes after the action"),
        ({"do": [{"every": "1s", "round": 1}, "drop"]}, "needs exactly one transform"),
        ({"do": [{"every": "1s"}, "drop"]}, "what is dropped is not transformed"),
        ({"do": [{"every": "60"}, "encrypt"]}, "do[0].every: not a duration: '60'"),
        ({"do": [{"grid": "110"}, "encrypt"]}, "do[0].grid: not a length: '110'"),
        ({"do": [{"grid": "0.5m"}, "encrypt"]}, "a grid of 1 m or more"),
        ({"do": [{"round": 0}, "encrypt"]}, "do[0].round: a step above 0"),
        ({"do": [{"bucket": [2, 1]}, "encrypt"]}, "do[0].bucket: edges must rise"),
        ({"do": [{"clamp": {"low": 2, "high": 1}}, "encrypt"]}, "low lies above high"),
        ({"do": [{"noise": {"epsilon": 0, "sensitivity": 1}}, "encrypt"]}, "above 0"),
        ({"do": [{"drop_zones": "see"}, "encrypt"]},
         "no such zone: 'see' (did you mean 'sea'?)"),
        ({"do": [{"aggregate": {"window": "1m", "of": []}}, "drop"]}, "no statistic"),
        ({"purpose": "", "do": [{"pseudonymise": {}}, "encrypt"]}, "for a purpose"),
        ({"to": "oen"}, "to: no such destination: 'oen' (did you mean 'oem'?)"),
        ({"to": None}, "rules[0]: does not say to whom"),
        ({"to": []}, "rules[0].to: names no one"),
        ({"match": {"category": "locatoin"}},
         "match.category: no such category: 'locatoin' (did you mean 'location'?)"),
        ({"match": {"item": "A..B"}}, "match.item: not an item pattern"),
        ({"match": {"when": {"Speed": 1}}}, "match.when.Speed: not an item name"),
        ({"match": {"when": {"A.B": {}}}}, "compares with nothing"),
        ({"match": {"time": "noon"}}, "match.time: not a time window: 'noon'"),
        ({"match": {"inside": "lake"}}, "match.inside: no such zone: 'lake'"),
        ({"becomes": "location.corse"},
         "no such category: 'location.corse' (did you mean 'location.coarse'?)"),
        ({"do": ["drop"], "becomes": "environment"}, "what is dropped becomes nothing"),
    ],
)  # fmt: skip
def test_a_wrong_rule_is_one_line(
    compile_text: Compile, fields: dict[str, Any], line: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        _one(compile_text, **fields)
    assert line in str(caught.value)
    assert str(caught.value).startswith("t.yaml:")


KEEP = [rule_of(do=["keep"])]
NO_KEY = {"oem": {"region": "CN", "recipients": ["a", "a"]}}
SM = {"oem": {"region": "CN", "recipients": ["a"], "suite": "sm2-sm4gcm"}}
SUITE = {"oem": {"region": "CN", "recipients": ["a"], "suite": "x25519-aes256-gcm"}}


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"rules": KEEP, "custodian": ""}, "the policy names none (add custodian:"),
        ({"destinations": NO_KEY}, "destinations.oem.recipients: one is there twice"),
        ({"destinations": SM}, "sm2-sm4gcm is not built in this version"),
        ({"destinations": SUITE}, "(did you mean 'x25519-aes256gcm'?)"),
        ({"destinations": {"device": NO_KEY["oem"]}}, "'device' is reserved"),
        ({"min_version": 9}, "min_version: above the policy's own version 3"),
        ({"rules": [rule_of(), rule_of()]}, "[1].name: another rule has this name"),
        ({"retention": {"default": "7"}}, "retention.default: not a duration: '7'"),
        ({"retention": {"lokation": "7d"}}, "(did you mean 'location'?)"),
        ({"telemetry": {"checkpoint": "2h"}}, "checkpoints go out at least hourly"),
        ({"zones": {"z": {**SEA, "datum": "GCJ-2"}}}, "zones.z.datum: invalid enum"),
        ({"zones": {"z": {**SEA, "polygons": [SQUARE[:2]]}}}, "three points"),
        ({"zones": {"z": {**SEA, "polygons": [[[91, 0], *SQUARE]]}}},
         "zones.z.polygons[0][0]: not a latitude"),
        ({"catalogues": ["cn-autos"]}, "no such catalogue: 'cn-autos'"),
        ({"modbus": {"x": 1}}, "modbus.x: no such field"),
    ],
)  # fmt: skip
def test_a_wrong_policy_is_one_line(
    compile_text: Compile, fields: dict[str, Any], line: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        compile_text(policy_of(**fields))
    assert line in str(caught.value)


def test_positions_lose_what_the_transforms_take_and_no_more(
    compile_text: Compile,
) -> None:
    do = [{"grid": "1100m"}, {"every": "60s"}, "encrypt"]
    match = {"category": "location.precise"}
    rows = [
        ITEMS.index(f"Vehicle.CurrentLocation.{n}") for n in ("Latitude", "Altitude")
    ]
    plain = _one(compile_text, match=match, do=do).policy.rules[0]
    assert plain.category_out[rows[0]] == "location.coarse"
    assert unpack(int(plain.label_out[rows[0]])) == parse_label(
        "G2/personal/deidentified/coarse/none"
    )
    assert str(unpack(int(plain.label_out[rows[1]]))) == "G4/sensitive/raw/precise/none"
    dense = _one(compile_text, match=match, do=[do[0], "encrypt"]).policy.rules[0]
    assert str(unpack(int(dense.label_out[rows[0]]))) == "G4/sensitive/raw/coarse/none"
    fine = _one(compile_text, match=match, do=[{"grid": "999m"}, *do[1:]]).policy.rules[
        0
    ]
    assert str(unpack(int(fine.label_out[rows[0]]))) == "G4/sensitive/raw/precise/none"


def test_a_claim_that_does_not_hold_closes_the_way_for_that_item(
    compile_text: Compile,
) -> None:
    rules = [
        rule_of("coarse", match={"category": "location.precise"},
                do=[{"grid": "1100m"}, {"every": "60s"}, "encrypt"],
                becomes="location.coarse"),
        rule_of("everything", match={"category": "location"}),
    ]  # fmt: skip
    compiled = compile_text(policy_of(rules=rules), points_of(*ITEMS))
    assert _chain(compiled, "Vehicle.CurrentLocation.Latitude") == ["coarse"]
    assert _chain(compiled, "Vehicle.CurrentLocation.Altitude") == []
    assert _chain(compiled, "Vehicle.Speed") == ["everything"]


def test_what_is_kept_is_kept_once_and_leaves_nowhere(compile_text: Compile) -> None:
    rules = [
        rule_of("k", match={"item": CHASSIS}, to=None, do=[{"every": "1s"}, "keep"]),
        rule_of("all", to="*"),
    ]
    compiled = compile_text(policy_of(rules=rules), points_of(*ITEMS))
    names = [d.name for d in compiled.policy.destinations]
    assert names == ["oem", "abroad", "device"]
    assert compiled.policy.destinations[2].recipients == ("keeper",)
    kinds = {
        names[rule.destination]: (rule.action, len(rule.transforms))
        for rule in compiled.policy.rules
        if rule.name == "k"
    }
    assert kinds == {
        "oem": (Action.DROP, 0), "abroad": (Action.DROP, 0), "device": (Action.KEEP, 1),
    }  # fmt: skip
    assert _chain(compiled, CHASSIS) == ["k"]
    assert _chain(compiled, "Vehicle.Speed", 2) == []


def test_a_rule_may_be_about_destinations_of_a_region(compile_text: Compile) -> None:
    compiled = _one(compile_text, match={"region": ["DE", "FR"]}, to="*")
    assert [_chain(compiled, "Vehicle.Speed", n) for n in (0, 1)] == [[], ["r"]]


def test_an_item_in_no_catalogue_is_matched_by_nothing(compile_text: Compile) -> None:
    compiled = _one(compile_text, match={"item": "**"})
    assert _chain(compiled, "Unknown.Thing") == []
    assert not compiled.policy.items.classified[ITEMS.index("Unknown.Thing")]


def test_positions_of_one_source_are_one_group(compile_text: Compile) -> None:
    bindings = points_of(*ITEMS[:4])
    second = json.loads(json.dumps(bindings["modbus"][0]))
    second["unit"] = 2
    second["points"] = second["points"][:2]
    alone = compile_text(policy_of(), bindings).policy.items
    assert alone.group.tolist()[:-1] == [
        0,
        0,
        0,
        0,
    ]  # the speed joins the only position
    bindings["modbus"].append(second)
    both = compile_text(policy_of(), bindings).policy.items
    assert both.group.tolist()[:-1] == [0, 0, 0, 0, 1, 1]


def test_digests_tell_texts_apart(compile_text: Compile) -> None:
    one, two = policy_of(note="a"), policy_of(note="b")
    first, second = compile_text(one).policy, compile_text(two).policy
    assert len(first.digest) == 32
    assert first.digest != second.digest
    assert first.catalogue_digest == second.catalogue_digest
    other = compile_text(one, points_of("Vehicle.Map.X")).policy
    assert other.catalogue_digest != first.catalogue_digest


# --- The slow reading -----------------------------------------------------------------

TIERS = ["G1", "G2", "G3", "G4", "important", "core"]


def _parts_match(pattern: list[str], name: list[str]) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "**":
        return any(
            _parts_match(pattern[1:], name[n:])
            for n in range(0 if pattern[1:] else 1, len(name) + 1)
        )
    return bool(name) and pattern[0] in {"*", name[0]} and _parts_match(
        pattern[1:], name[1:]
    )  # fmt: skip


def _holds(match: dict[str, Any], name: str, category: str, label: str) -> bool:
    if not category:
        return False
    tier, pi, _, geo, _ = label.split("/")
    wanted = match.get("category", "")
    prefix = wanted.split(".") if wanted else []
    rank = TIERS.index(tier)
    return all(
        [
            category.split(".")[: len(prefix)] == prefix,
            _parts_match(match.get("item", "**").split("."), name.split(".")),
            rank <= TIERS.index(match.get("max_tier", "core")),
            rank >= TIERS.index(match.get("min_tier", "G1")),
            match.get("pi", pi) == pi,
            match.get("geo", geo) == geo,
        ]
    )


def _slow_chain(
    rules: list[dict[str, Any]], destination: str, name: str, category: str, label: str
) -> list[str]:
    """Read the file as a person does: from the top, until a rule has no condition."""
    found: list[str] = []
    for rule in rules:
        everywhere = "to" not in rule and (destination != "device" or True)
        targets = rule.get("to", [destination] if everywhere else [])
        if destination not in targets:
            continue
        if not _holds(rule["match"], name, category, label):
            continue
        found.append(rule["name"])
        if not set(rule["match"]) & {"when", "consent", "time"}:
            break
    return found


MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "category": st.sampled_from(
            ["location", "location.precise", "chassis", "cabin.metadata", "powertrain"]
        ),
        "item": st.sampled_from(
            ["**", "Vehicle.*", "Vehicle.CurrentLocation.*", "**.Altitude",
             "Vehicle.**.PedalPosition", "Vehicle.Cabin.**"]
        ),
        "max_tier": st.sampled_from(TIERS),
        "min_tier": st.sampled_from(TIERS),
        "pi": st.sampled_from(["none", "personal", "sensitive"]),
        "geo": st.sampled_from(["none", "precise"]),
        "when": st.just({"Vehicle.Speed": {">": 3}}),
        "consent": st.just("c"),
        "time": st.just("08:00-09:00"),
    },
)  # fmt: skip
SENDING = st.fixed_dictionaries(
    {"match": MATCHES, "do": st.sampled_from([["encrypt"], [{"every": "1s"}, "allow"]]),
     "to": st.sampled_from([["oem"], ["abroad"], ["abroad", "oem"]])}
)  # fmt: skip
STAYING = st.fixed_dictionaries(
    {"match": MATCHES, "do": st.sampled_from([["keep"], ["drop"]])}
)


@given(st.lists(st.one_of(SENDING, STAYING), max_size=8), st.integers(0, 2**8 - 1))
def test_first_match_wins_as_in_the_slow_reading(
    compile_text: Compile, rules: list[dict[str, Any]], truth: int
) -> None:
    rules = [{**rule, "name": f"r{n}", "purpose": "p"} for n, rule in enumerate(rules)]
    text = policy_of(rules=rules, consents={"c": consent_of("location")})
    compiled = compile_text(text, points_of(*ITEMS))
    assume(not any(f.cut for f in compiled.forms))  # read in test_combinations.py
    items = compiled.policy.items
    for number, destination in enumerate(compiled.policy.destinations):
        assert np.all(destination.chain < len(compiled.policy.rules))
        for row, name in enumerate(items.name):
            label = str(unpack(int(items.label[row])))
            want = _slow_chain(
                rules, destination.name, name, items.category[row], label
            )
            have = _chain(compiled, name, number)
            assert have == want
            # Whatever conditions hold, the same rule decides.
            decides = [r for r in want if truth >> int(r[1:]) & 1 or r == want[-1]]
            first = [r for r in have if truth >> int(r[1:]) & 1 or r == have[-1]]
            assert first[:1] == decides[:1]
