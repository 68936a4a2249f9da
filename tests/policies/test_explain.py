"""Why an item goes where it goes: every rule has its say, or a reason for none."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

import pytest

from policies import tables
from policies.explain import Say, explain
from policies.files import load
from policies.model import Match
from policies.model_floor import FloorRule
from policies.parse import parse_floor
from policies.tables import NO_RULE
from policies.words import condition_words, span, transform_words
from tests.policies.building import Compile, points_of, policy_of, rule_of

if TYPE_CHECKING:
    from policies.explain import PlaceWord

LATITUDE = "Vehicle.CurrentLocation.Latitude"
LONGITUDE = "Vehicle.CurrentLocation.Longitude"
ITEMS = ("Vehicle.Speed", LATITUDE, LONGITUDE, "Vehicle.Odd.X")
DEAD = "location.deadreckoning"


@pytest.fixture
def explained(compile_text: Compile) -> Any:
    def run(item: str, *rules: dict[str, Any], to: str = "oem") -> PlaceWord:
        compiled = compile_text(policy_of(rules=[*rules]), points_of(*ITEMS))
        (word,) = explain(compiled, item, to)
        (place,) = word.places
        return place

    return run


@pytest.mark.parametrize(
    ("match", "more", "reason"),
    [
        ({"category": "energy"}, {}, f"category {DEAD} is not under energy"),
        ({"item": "Vehicle.Odd.*"}, {}, "the name does not match Vehicle.Odd.*"),
        ({"min_tier": "core"}, {}, "tier G3 is below core"),
        ({"max_tier": "G1"}, {}, "tier G3 is above G1"),
        ({"pi": ["none", "sensitive"]}, {}, "pi is personal, not none or sensitive"),
        ({"geo": "surveying"}, {}, "geo is none, not surveying"),
        ({}, {"to": "abroad"}, "goes to abroad"),
        ({"region": "DE"}, {"to": ["oem", "abroad"]}, "for region DE, not CN"),
    ],
)  # fmt: skip
def test_a_rule_that_has_no_say_tells_why(
    explained: Any, match: dict[str, Any], more: dict[str, Any], reason: str
) -> None:
    place = explained("Vehicle.Speed", rule_of(match=match, **more))
    (word,) = place.rules
    assert word.say in {Say.OTHER, Say.AWAY}
    assert word.reason == reason
    assert place.otherwise == "is kept back"


def test_rules_in_order_with_conditions_and_what_lies_behind(explained: Any) -> None:
    place = explained(
        "Vehicle.Speed",
        rule_of("slow", match={"when": {"Vehicle.Speed": {"<": 3}}}),
        rule_of("all", do=[{"every": "60s"}, {"round": 0.5}, "encrypt"]),
        rule_of("late"),
    )
    assert [one.say for one in place.rules] == [Say.MAY, Say.DECIDES, Say.BEHIND]
    slow, all_, late = place.rules
    assert slow.conditions == ("Vehicle.Speed < 3",)
    assert all_.transforms == ("one in 60 s", "rounded to 0.5")
    assert late.reason == "all decides before it"
    assert [one.name for one in place.deciding] == ["slow", "all"]
    assert place.otherwise == ""


def test_a_claim_that_fails_closes_the_way(explained: Any) -> None:
    claim = rule_of("claim", match={"category": "location"}, becomes="location.coarse")
    first, second = explained(LATITUDE, claim, rule_of("wide")).rules
    assert first.say == Say.CLAIM
    assert "nothing here makes a place coarse" in first.reason
    assert second.say == Say.BEHIND
    assert "its claim fails" in second.reason


def test_an_unbound_condition_and_an_unclassified_item(compile_text: Compile) -> None:
    rule = rule_of(match={"when": {"Vehicle.Absent.Item": True}})
    compiled = compile_text(policy_of(rules=[rule]), points_of(*ITEMS))
    (word,) = explain(compiled, "Vehicle.Speed")
    assert [one.destination for one in word.places] == ["oem", "abroad"]
    (told,) = word.places[0].rules
    assert told.reason == "never holds here: Vehicle.Absent.Item is not bound"
    (odd,) = explain(compiled, "Vehicle.Odd.X")
    assert odd.note.startswith("in no catalogue")
    assert odd.places[0].rules[0].reason == "the item is unclassified"


def test_kept_data_is_told_at_the_device(compile_text: Compile) -> None:
    keep = {"name": "k", "match": {"item": "Vehicle.Speed"}, "do": ["keep"]}
    compiled = compile_text(policy_of(rules=[keep, rule_of()]), points_of(*ITEMS))
    (word,) = explain(compiled, "Vehicle.Speed", "device")
    kept, other = word.places[0].rules
    assert kept.action == "is kept on the device, sealed to the custodian"
    assert other.reason == "keeps nothing on the device"


def test_the_floor_tells_its_demands_and_what_breaks_them(
    compile_text: Compile,
) -> None:
    floor = parse_floor(
        b"""
schema: sluicegate/floor/1
rules:
  - name: coarse
    match: {geo: [coarse, precise]}
    min_action: encrypt
    min_grid: 1000m
    max_rate: 30s
    allowed_regions: [CN]
    allowed_destinations: [oem]
    allowed_suites: [x25519-aes256gcm]
  - {name: never, match: {category: cabin}, never_leaves: true}
"""
    )
    compiled = compile_text(policy_of(rules=[rule_of()]), points_of(*ITEMS))
    (word,) = explain(compiled, LATITUDE, "oem", floor)
    (told,) = word.floor
    assert told.demands == (
        "encrypt or stricter; on a grid of 1000m or more; once in 30s at most; only to"
        " regions CN; only to destinations oem; only sealed with x25519-aes256gcm"
    )
    assert told.violations == (
        "rule r for oem: needs a grid of 1000 m or more",
        "rule r for oem: may leave once in 30 s at most",
    )


def test_unknown_names_have_a_hint(compile_text: Compile) -> None:
    compiled = compile_text(policy_of(), points_of(*ITEMS))
    with pytest.raises(ValueError, match=r"did you mean 'Vehicle\.Speed'"):
        explain(compiled, "Vehicle.Sped")
    with pytest.raises(ValueError, match="did you mean 'oem'"):
        explain(compiled, "Vehicle.Speed", "oen")


@pytest.mark.parametrize(
    ("policy", "bindings"),
    [("passenger-fleet", "sim-vehicle"), ("factory-line", "sim-plant")],
)
def test_every_item_of_the_examples_is_explained_as_the_tables_say(
    policy: str, bindings: str
) -> None:
    compiled = load(policy, [bindings]).compiled
    items = compiled.policy.items
    seen: dict[str, int] = {}
    for row, name in enumerate(items.name):
        word = explain(compiled, name)[seen.setdefault(name, 0)]
        seen[name] += 1
        for place, told in zip(compiled.policy.destinations, word.places, strict=True):
            chain = [n for n in place.chain[row].tolist() if n != NO_RULE]
            names = [compiled.policy.rules[number].name for number in chain]
            assert [one.name for one in told.deciding] == names
            assert all(one.reason for one in told.rules if one not in told.deciding)


# --- Words for everything -------------------------------------------------------------

ZONE = tables.Zone("depot", (1.0, 2.0, 2.0), (1.0, 1.0, 2.0), 500.0)
DAY_NS = 86_400 * 10**9
HOURS = tables.CompiledVolume("v", 5, 7 * DAY_NS, 3600 * 10**9, by_time=True)
SAMPLES = tables.CompiledVolume("w", 9, DAY_NS, 1, by_time=False)
CONDITIONS: list[tuple[tables.Condition, str]] = [
    (tables.ItemTest((0,), ">=", 55.0), "A.b >= 55"),
    (tables.ItemTest((), "==", 1.0), "an item that is not bound here == 1"),
    (tables.TimeTest(frozenset(range(5)), 25_200, 68_400, 28_800),
     "Mon-Fri 07:00-19:00 +08:00"),
    (tables.TimeTest(frozenset(range(7)), 0, 60, -5400), "00:00-00:01 -01:30"),
    (tables.TimeTest(frozenset({0, 5}), 0, 60, 0), "Mon,Sat 00:00-00:01 UTC"),
    (tables.ZoneTest((ZONE,), inside=False), "outside zone depot"),
    (tables.ZoneTest((ZONE,), inside=False, hysteresis_ns=60 * 10**9),
     "outside zone depot for 60 s"),
    (tables.ZoneTest((ZONE,), inside=True, hysteresis_ns=60 * 10**9),
     "inside zone depot or 60 s after"),
    (tables.ConsentTest("charging"), "with consent charging"),
    (tables.VolumeTest(HOURS, ("r",), above=False),
     "below the volume v (5 spans of 1 h in 7 d)"),
    (tables.VolumeTest(SAMPLES, ("r",), above=True),
     "above the volume w (9 samples in 1 d)"),
]  # fmt: skip
TRANSFORMS: list[tuple[tables.Transform, str]] = [
    (tables.Round(0.5, down=True), "rounded down to 0.5"),
    (tables.Clamp(0.0, 9.0), "clamped to 0 .. 9"),
    (tables.Bucket((1.0, 2.0)), "2 buckets"),
    (tables.Grid(1100.0), "grid of 1100 m"),
    (tables.DropZones((ZONE, ZONE), 60), "not in zone depot"),
    (tables.TripEnds(500.0, 60), "first and last 500 m of a trip cut"),
    (tables.Every(60_000_000_000), "one in 60 s"),
    (tables.OnChange(0.0), "only changes"),
    (tables.OnChange(2.0), "only changes by more than 2"),
    (tables.Aggregate(600_000_000_000, ("min", "max")), "min, max of 10 min"),
    (tables.Mask(3, 0), "masked but 3 first, 0 last"),
    (tables.Pseudonymise("p", 86_400_000_000_000), "pseudonym for p, new every 1 d"),
    (tables.Noise(2.0, 1.0), "noise of scale 0.5"),
    (tables.Blank(), "without its value"),
]


@pytest.mark.parametrize(("condition", "words"), CONDITIONS)
def test_conditions_have_words(condition: tables.Condition, words: str) -> None:
    assert condition_words(condition, ["A.b"]) == words


@pytest.mark.parametrize(("step", "words"), TRANSFORMS)
def test_transforms_have_words(step: tables.Transform, words: str) -> None:
    assert transform_words(step) == words


def test_no_kind_of_condition_or_transform_is_without_words() -> None:
    """A new kind needs words in policies/words.py, and a line in the tables above."""
    assert {type(one) for one, _ in CONDITIONS} == set(
        typing.get_args(tables.Condition)
    )
    assert {type(one) for one, _ in TRANSFORMS} == set(
        typing.get_args(tables.Transform)
    )


def test_no_field_of_a_match_or_a_floor_rule_is_without_words() -> None:
    """A new field needs words in policies/explain.py, then its name here."""
    assert set(Match.__struct_fields__) == {
        "category", "item", "min_tier", "max_tier", "pi", "geo", "region", "when",
        "inside", "outside", "time", "consent", "hysteresis",
    }  # fmt: skip
    assert set(FloorRule.__struct_fields__) == {
        "name", "match", "never_leaves", "min_action", "min_grid", "max_rate",
        "allowed_regions", "allowed_destinations", "allowed_suites", "note",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ns", "words"),
    [
        (250_000_000, "250 ms"), (1_500_000_000, "1.5 s"), (60_000_000_000, "60 s"),
        (90_000_000_000, "90 s"), (600_000_000_000, "10 min"),
        (3_600_000_000_000, "1 h"), (7 * 86_400_000_000_000, "7 d"),
    ],
)  # fmt: skip
def test_spans_are_said_as_people_say_them(ns: int, words: str) -> None:
    assert span(ns) == words
