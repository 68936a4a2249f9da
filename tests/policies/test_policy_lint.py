from __future__ import annotations

from typing import Any

import pytest

from policies.lint import linting
from policies.lint.linting import lint
from tests.policies.building import Compile, consent_of, points_of, policy_of, rule_of

ITEMS = (
    "Vehicle.CurrentLocation.Latitude", "Vehicle.CurrentLocation.Longitude",
    "Vehicle.CurrentLocation.Altitude", "Vehicle.Speed",
    "Vehicle.Chassis.Brake.PedalPosition", "Vehicle.Map.Lane",
)  # fmt: skip
COARSE = [{"grid": "1100m"}, {"every": "60s"}, "encrypt"]
PLACE = {"category": "location.precise", "item": ["**.Latitude", "**.Longitude"]}


def _rules(compile_text: Compile, *rules: dict[str, Any], **fields: Any) -> list[str]:
    text = policy_of(rules=list(rules), **fields)
    found = lint(compile_text(text, points_of(*ITEMS)))
    # SG032, sensitive data without a consent, stands in test_consents.py.
    return [finding.rule for finding in found if finding.rule != "SG032"]


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        # GOV-07: every rule that lets data leave names a purpose
        (rule_of(match={"category": "chassis"}, purpose=""), ["SG001"]),
        (rule_of(match={"category": "chassis"}), []),
        # DSL 31, TRX-03: sensitive or important data abroad needs an approval
        (rule_of(match=PLACE, to="abroad"), ["SG002"]),
        (rule_of(match=PLACE, to="abroad", approval="CAC-2026-1"), []),
        (rule_of(match=PLACE, to="abroad", do=COARSE), []),
        (rule_of(match=PLACE, to="oem"), []),
        (rule_of(match={"category": "geo.map"}, to="abroad"), ["SG002"]),
        (rule_of(match={"category": "geo.map"}, to="oem"), []),
        # ... also of categories that this vehicle does not bind
        (rule_of(match={"category": "exterior.image"}, to="abroad"),
         ["SG002", "SG008"]),
        # GOV-06: a claim without a transform that gives it
        (rule_of(match=PLACE, becomes="location.coarse"), ["SG003"]),
        (rule_of(match=PLACE, do=[{"round": 0.01}, "encrypt"],
                 becomes="location.coarse"), ["SG003"]),
        (rule_of(match=PLACE, do=[{"grid": "500m"}, *COARSE[1:]],
                 becomes="location.coarse"), ["SG003"]),
        (rule_of(match=PLACE, do=[COARSE[0], "encrypt"], becomes="location.coarse"),
         ["SG003"]),
        (rule_of(match=PLACE, do=COARSE, becomes="location.coarse"), []),
        (rule_of(match=PLACE, do=COARSE, becomes="environment"), ["SG003"]),
        (rule_of(match={"category": "location.precise"}, do=COARSE,
                 becomes="location.coarse"), ["SG014"]),
        # COL-04: noise on the points of a track averages out
        (rule_of(match=PLACE, do=[{"noise": {"epsilon": 1, "sensitivity": 1}},
                                  "encrypt"]), ["SG004"]),
        (rule_of(match={"category": "chassis"},
                 do=[{"noise": {"epsilon": 1, "sensitivity": 1}}, "encrypt"]), []),
        # TRX-01: nothing personal or above G2 in the open
        (rule_of(match={"category": "chassis"}, do=["allow"]), []),
        (rule_of(match={"item": "Vehicle.Speed"}, do=["allow"]), ["SG005"]),
        (rule_of(match=PLACE, do=[*COARSE[:2], "allow"]), ["SG005"]),
        # steps and conditions that come to nothing
        (rule_of(match={"category": "chassis"}, do=COARSE), ["SG013"]),
        (rule_of(match={"category": "chassis"}, do=[{"mask": {}}, "encrypt"]),
         ["SG013"]),
        (rule_of(match={"category": "chassis", "when": {"Vehicle.Sped": 1}}),
         ["SG009"]),
    ],
)  # fmt: skip
def test_each_duty(
    compile_text: Compile, rule: dict[str, Any], found: list[str]
) -> None:
    assert _rules(compile_text, rule) == found


def test_a_rule_that_earlier_rules_shadow_is_told(compile_text: Compile) -> None:
    wide = rule_of("wide", match={"category": "chassis"})
    narrow = rule_of("narrow", match={"item": "Vehicle.Chassis.Brake.**"})
    assert _rules(compile_text, wide, narrow) == ["SG007"]
    assert _rules(compile_text, narrow, wide) == ["SG007"]  # one item: both take it all
    wide["match"]["consent"] = "c"
    consents = {"c": consent_of("chassis")}
    assert _rules(compile_text, wide, narrow, consents=consents) == []


def test_core_data_needs_an_approval_even_at_home(compile_text: Compile) -> None:
    # No category of ours is core; an owner's catalogue may have some.
    compiled = compile_text(
        policy_of(rules=[rule_of(match={"category": "chassis"})]), points_of(*ITEMS)
    )
    compiled.policy.rules[0].label_out[4] = 5 << 8
    assert [finding.rule for finding in lint(compiled)] == ["SG006"]


def test_retention_of_tracks_and_unclassified_items(compile_text: Compile) -> None:
    text = policy_of(retention={"location": "15d", "location.coarse": "1y"})
    found = lint(
        compile_text(text, points_of("Vehicle.CurrentLocation.Latitude", "X.Y"))
    )
    assert {finding.rule for finding in found} == {"SG010", "SG011", "SG012"}


def test_a_finding_is_one_line_with_its_duty(compile_text: Compile) -> None:
    text = policy_of(rules=[rule_of(match={"category": "chassis"}, purpose="")])
    (finding,) = lint(compile_text(text, points_of(*ITEMS)))
    assert finding.is_error
    assert str(finding) == (
        f"t.yaml:{finding.line}: rules[0]: error SG001: lets data leave without a"
        " purpose [GOV-07, AUTO 4]"
    )
    assert text.decode().splitlines()[finding.line - 1].strip() == "{"


def test_near_names_are_looked_for_a_few_times(
    compile_text: Compile, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def near(name: str, known: object) -> str:
        assert known
        asked.append(name)
        return f"did you mean {name}?"

    monkeypatch.setattr(linting, "nearest", near)
    rules = [
        rule_of(f"r{n}", match={"when": {f"Vehicle.Odd{n // 2}": {">": n}}})
        for n in range(100)
    ]
    found = lint(compile_text(policy_of(rules=rules)))
    assert sum(one.rule == "SG009" for one in found) == 100
    assert asked == [f"Vehicle.Odd{n}" for n in range(linting.HINTS_MAX)]
