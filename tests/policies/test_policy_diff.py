"""What a policy lets out more or less than another: table, properties, an oracle."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.diff import settings as diff_settings
from policies.diff.compare import Kind, compare
from policies.model import Policy
from policies.tables import (
    CompiledConsent,
    CompiledDestination,
    CompiledPolicy,
    CompiledRule,
    ItemTable,
)
from protocols.labels import Form, Geo, Label, Pi, Recognition, Tier
from tests.policies.building import Compile, points_of, policy_of, rule_of

if TYPE_CHECKING:
    from policies.compile import Compiled
    from policies.diff.compare import Difference

ITEMS = (
    "Vehicle.Speed",
    "Vehicle.CurrentLocation.Latitude",
    "Vehicle.CurrentLocation.Longitude",
    "Vehicle.VehicleIdentification.VIN",
    "Vehicle.Exterior.AirTemperature",
    "Vehicle.Powertrain.TractionBattery.StateOfCharge.Current",
)
IMPORTANT = {
    **points_of(*ITEMS),
    "modbus": [
        {
            "link": "plc",
            "unit": 1,
            "points": [
                {"item": "Vehicle.Map.Tile", "table": 4, "address": 0,
                 "category": "geo.map"},
                {"item": "Vehicle.Speed", "table": 4, "address": 1},
            ],
        }
    ],
}  # fmt: skip
SPEED = {"match": {"item": "Vehicle.Speed"}}
CRUISE = {"item": "Vehicle.Speed", "outside": "z"}
ITEM = SPEED["match"]
AREA = {"datum": "WGS-84", "polygons": [[[30, 120], [30, 121], [31, 121]]]}
WIDE = {**AREA, "buffer": "900m"}


@pytest.fixture
def diff(compile_text: Compile) -> Any:
    def run(old: dict[str, Any] | None, new: dict[str, Any]) -> Difference:
        bound = points_of(*ITEMS)
        before = None if old is None else compile_text(policy_of(**old), bound)
        return compare(before, compile_text(policy_of(**new), bound))

    return run


def kinds(found: Difference) -> set[str]:
    return {str(line.kind) for line in found.lines}


def rules(*do: object, **more: Any) -> dict[str, Any]:
    return {"rules": [rule_of(do=list(do), **{**SPEED, **more})]}


def consent(**more: Any) -> dict[str, Any]:
    base = {"about": "you", "categories": ["location"], "at_most": "30d"}
    return {"consents": {"c": {**base, **more}}}


AGREED = consent()
ENCRYPT = rules("encrypt")
KEEP = {"rules": [{"name": "r", **SPEED, "do": ["keep"]}]}
DROP = {"rules": [{"name": "r", **SPEED, "do": ["drop"]}]}
OPEN = rules("allow")
NOTHING: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("tight", "loose"),
    [
        (NOTHING, ENCRYPT),
        (DROP, ENCRYPT),
        (DROP, KEEP),
        (ENCRYPT, OPEN),
        (rules({"every": "10s"}, "encrypt"), ENCRYPT),
        (rules({"every": "10s"}, "encrypt"), rules({"every": "5s"}, "encrypt")),
        (rules({"round": 2}, "encrypt"), rules({"round": 1}, "encrypt")),
        (
            rules({"every": "9s"}, {"round": 1}, "encrypt"),
            rules({"every": "9s"}, "encrypt"),
        ),
        (rules({"aggregate": {"window": "1m", "of": ["mean"]}}, "encrypt"), ENCRYPT),
        (
            {**rules("encrypt", match={**ITEM, "consent": "c"}), **AGREED},
            {**ENCRYPT, **AGREED},
        ),
        (consent(), consent(at_most="31d")),
        (consent(), consent(survives_ignition=True)),
        (consent(), consent(categories=["location", "cabin"])),
        ({"ignition": {"item": "Vehicle.Speed"}}, {}),
        (
            rules("encrypt", match={**ITEM, "time": "07:00-09:00"}),
            rules("encrypt", match={**ITEM, "time": "06:00-09:00"}),
        ),
        (
            rules("encrypt", match={**ITEM, "when": {"Vehicle.Speed": {"<": 3}}}),
            rules("encrypt", match={**ITEM, "when": {"Vehicle.Speed": {"<": 5}}}),
        ),
        (
            {**rules({"drop_zones": "z"}, "encrypt"), "zones": {"z": WIDE}},
            {**rules({"drop_zones": "z"}, "encrypt"), "zones": {"z": AREA}},
        ),
        (
            {**rules("encrypt", match=CRUISE), "zones": {"z": WIDE}},
            {**rules("encrypt", match=CRUISE), "zones": {"z": AREA}},
        ),
        ({"retention": {"location": "7d"}}, {"retention": {"location": "9d"}}),
        ({"min_version": 3}, {"min_version": 2}),
        ({"telemetry": {"interval": "60s"}}, {"telemetry": {"interval": "61s"}}),
    ],
)  # fmt: skip
def test_one_way_is_looser_and_the_other_tighter(
    diff: Any, tight: dict[str, Any], loose: dict[str, Any]
) -> None:
    assert kinds(diff(tight, loose)) == {"looser"}
    assert kinds(diff(loose, tight)) == {"tighter"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ENCRYPT, rules("encrypt", purpose="another")),
        (rules({"every": "60s"}, "allow"), ENCRYPT),
        (
            rules({"every": "10s"}, "encrypt"),
            rules({"aggregate": {"window": "1h", "of": ["mean"]}}, "encrypt"),
        ),
        (rules({"bucket": [0, 50]}, "encrypt"), rules({"round": 50}, "encrypt")),
        ({"home_region": "CN"}, {"home_region": "DE"}),
        (consent(), consent(about="somebody else")),
        (consent(at_most="9d", survives_ignition=True), consent()),
        (
            {"ignition": {"item": "Vehicle.Speed"}},
            {"ignition": {"item": "Vehicle.Speed", "on": {">": 1}}},
        ),
    ],
)
def test_what_cannot_be_ranked_is_changed_and_counts_as_looser(
    diff: Any, one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert kinds(diff(one, other)) == kinds(diff(other, one)) == {"changed"}
    assert diff(one, other).is_looser


def places(**fields: Any) -> dict[str, Any]:
    base = {"region": "CN", "recipients": ["a", "b"]}
    return {"destinations": {"oem": {**base, **fields}}, **ENCRYPT}


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (places(), places(recipients=["a", "b", "c"]), "looser"),
        (places(), places(recipients=["a"]), "tighter"),
        (places(), places(recipients=["a", "c"]), "changed"),
        (places(), places(region="DE"), "changed"),
        (places(suite="mlkem768x25519-aes256gcm"), places(), "looser"),
        (places(), places(suite="mlkem768x25519-aes256gcm"), "tighter"),
        (places(), places(confirm="puback"), "looser"),
        (places(confirm="puback"), places(), "tighter"),
    ],
)
def test_a_destination_changes_for_all_that_goes_there(
    diff: Any, old: dict[str, Any], new: dict[str, Any], kind: str
) -> None:
    found = diff(old, new)
    assert kinds(found) == {kind}
    weak = [one for one in found.weakens if one.item == "Vehicle.Speed"]
    assert bool(weak) == (kind != "tighter")


def test_a_new_destination_is_looser_and_a_removed_one_tighter(diff: Any) -> None:
    with_one = places()
    with_two = {
        **with_one,
        "destinations": {
            **with_one["destinations"],
            "abroad": {"region": "DE", "recipients": ["x"]},
        },
        "rules": [rule_of(to=["oem", "abroad"], **SPEED)],
    }
    found = diff(with_one, with_two)
    assert kinds(found) == {"looser"}
    assert {line.destination for line in found.lines} == {"abroad"}
    assert any("new destination in DE" in str(line) for line in found.lines)
    assert kinds(diff(with_two, with_one)) == {"tighter"}


def test_a_transform_that_earns_a_lower_label_is_tighter(diff: Any) -> None:
    where = {"match": {"category": "location.precise"}}
    raw = {"rules": [rule_of(**where)]}
    coarse = {
        "rules": [
            rule_of(
                do=[{"grid": "1100m"}, {"every": "60s"}, "encrypt"],
                becomes="location.coarse",
                **where,
            )
        ]
    }
    assert kinds(diff(raw, coarse)) == {"tighter"}
    assert kinds(diff(coarse, raw)) == {"looser"}


def test_the_first_policy_of_a_device_is_looser_than_none(diff: Any) -> None:
    found = diff(None, ENCRYPT)
    assert found.is_looser
    assert any("nothing left before" in str(line) for line in found.lines)


def test_important_data_asks_for_two_approvers(compile_text: Compile) -> None:
    def compiled(**fields: Any) -> Compiled:
        return compile_text(policy_of(**fields), IMPORTANT)

    nothing = compiled()
    speed = compiled(**ENCRYPT)
    tile = compiled(
        rules=[rule_of(match={"item": "Vehicle.Map.Tile"}, approval="CAC-1")]
    )
    assert not compare(nothing, speed).guarded
    guarded = compare(nothing, tile).guarded
    assert [one.item for one in guarded] == ["Vehicle.Map.Tile"]
    assert guarded[0].tier == Tier.IMPORTANT
    assert not compare(tile, nothing).guarded


def test_an_item_of_one_side_only_is_kept_back_on_the_other(
    compile_text: Compile,
) -> None:
    everything = policy_of(rules=[rule_of(match={"category": "location"})])
    few = compile_text(everything, points_of("Vehicle.Speed"))
    more = compile_text(everything, points_of(*reversed(ITEMS)))
    found = compare(few, more)
    assert kinds(found) == {"looser"}
    (line,) = found.lines
    assert set(line.items) == {*ITEMS[1:3]}
    assert line.count == 2  # latitude and longitude: one line
    assert kinds(compare(more, few)) == {"tighter"}


def test_the_order_of_bound_items_means_nothing(compile_text: Compile) -> None:
    text = policy_of(**ENCRYPT)
    one = compile_text(text, points_of(*ITEMS))
    other = compile_text(text, points_of(*reversed(ITEMS)))
    assert not compare(one, other).lines


def test_lines_speak_in_words(diff: Any) -> None:
    found = diff(rules({"every": "10s"}, "encrypt"), rules({"every": "5s"}, "encrypt"))
    assert str(found.lines[0]) == (
        "Vehicle.Speed (location.deadreckoning) to oem: leaves sealed (one in 10 s);"
        " now leaves sealed (one in 5 s) [before: one in 10 s; now: one in 5 s]"
    )


# --- Properties of whole policies -----------------------------------------------------

TESTS: list[dict[str, Any]] = [
    {},
    {"when": {"Vehicle.Speed": {"<": 3}}},
    {"when": {"Vehicle.Speed": {">=": 3}}},
    {"consent": "c"},
    {"time": "Mon-Fri 07:00-19:00"},
    {"outside": "z"},
]
STEPS: list[list[object]] = [
    [], [{"every": "10s"}], [{"every": "60s"}], [{"every": "60s"}, {"round": 1}],
]  # fmt: skip
WHAT: list[dict[str, Any]] = [
    {"item": "**"}, {"item": "Vehicle.Speed"}, {"category": "location"},
    {"max_tier": "G2"},
]  # fmt: skip
WHERE = ["oem", "abroad", ["oem", "abroad"], None]


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    out = []
    for number in range(draw(st.integers(0, 4))):
        action = draw(st.sampled_from(["encrypt", "allow", "keep", "drop"]))
        to = draw(st.sampled_from(WHERE))
        if to is None and action not in {"keep", "drop"}:
            to = "oem"
        steps = [] if action == "drop" else draw(st.sampled_from(STEPS))
        match = {**draw(st.sampled_from(WHAT)), **draw(st.sampled_from(TESTS))}
        rule = {"name": f"r{number}", "match": match, "do": [*steps, action]}
        rule |= {"purpose": draw(st.sampled_from(["p", "q"]))}
        out.append(rule if to is None else {**rule, "to": to})
    return {"rules": out, "zones": {"z": AREA}, **AGREED}


SWAPPED = {
    Kind.LOOSER: Kind.TIGHTER, Kind.TIGHTER: Kind.LOOSER, Kind.CHANGED: Kind.CHANGED,
}  # fmt: skip


@given(policies(), policies())
def test_sides_exchanged_exchange_looser_and_tighter(
    compile_text: Compile, one: dict[str, Any], other: dict[str, Any]
) -> None:
    bound = points_of(*ITEMS)
    a, b = (compile_text(policy_of(**fields), bound) for fields in (one, other))
    again = compile_text(policy_of(**one), bound)
    assert not compare(a, again).lines
    there = {(x.destination, x.items, x.kind) for x in compare(a, b).lines}
    back = {(x.destination, x.items, SWAPPED[x.kind]) for x in compare(b, a).lines}
    assert there == back


@given(policies())
def test_without_the_last_rule_that_lets_out_a_policy_is_only_tighter(
    compile_text: Compile, fields: dict[str, Any]
) -> None:
    leaves = {"name": "last", "match": {"item": "**"}, "to": "oem", "purpose": "p",
              "do": ["encrypt"]}  # fmt: skip
    # Items of no combination: there, what is set free leaves again (looser).
    bound = points_of(*ITEMS[:-1])
    old = compile_text(
        policy_of(**{**fields, "rules": [*fields["rules"], leaves]}), bound
    )
    new = compile_text(policy_of(**fields), bound)
    assert kinds(compare(old, new)) <= {"tighter"}


# --- Nothing is forgotten -------------------------------------------------------------


def fields(kind: type) -> set[str]:
    return {one.name for one in dataclasses.fields(kind)}


def test_every_part_of_a_compiled_policy_is_compared() -> None:
    """A new field must be compared in policies/diff*.py, then named here."""
    assert fields(CompiledPolicy) == {
        "name", "version", "digest", "catalogue_digest", "items", "destinations",
        "rules", "custodian", "retention_ns", "retention_default_ns", "telemetry_ns",
        "checkpoint_ns", "consents", "ignition",
        "volumes",
        "firewall", "inspection",  # compared as the sections stand, and guarded
    }  # fmt: skip
    assert fields(CompiledRule) == {
        "name", "purpose", "destination", "action", "transforms", "conditions",
        "label_out", "category_out", "volumes",
    }  # fmt: skip
    assert fields(CompiledConsent) == {
        "name", "about", "classes", "terms", "at_most_ns", "survives_ignition",
    }  # fmt: skip
    assert fields(CompiledDestination) == {
        "name", "region", "recipients", "suite", "confirm", "chain",
    }  # fmt: skip
    assert fields(ItemTable) == {
        "name", "category", "unit", "label", "classified", "kind", "scale", "offset",
        "role", "group", "source", "gcj02",
    }  # fmt: skip


def test_sections_that_are_not_compared_in_words_are_guarded() -> None:
    known = diff_settings.COMPARED
    assert known <= set(Policy.__struct_fields__)
    rest = set(Policy.__struct_fields__) - known
    assert rest == {"home_region", "inspection"}


def test_a_candidate_is_guarded_like_important_data() -> None:
    from policies.diff.difference import is_guarded

    general = Label(Tier.G2, Pi.NONE, Form.RAW, Geo.NONE, Recognition.NONE)
    assert not is_guarded(general)
    assert is_guarded(dataclasses.replace(general, recognition=Recognition.CANDIDATE))
    assert is_guarded(dataclasses.replace(general, tier=Tier.CORE))
