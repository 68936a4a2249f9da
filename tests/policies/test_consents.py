"""Consents: what a policy may say of them, what compiles, what lint finds odd."""

from __future__ import annotations

from typing import Any

import pytest

from policies.errors import PolicyError
from policies.lint.linting import lint
from policies.tables import CompiledConsent, ItemTest
from tests.policies.building import (
    Compile,
    consent_of,
    points_of,
    policy_of,
    rule_of,
)

DAY = 86_400 * 10**9
ITEMS = (
    "Vehicle.CurrentLocation.Latitude", "Vehicle.CurrentLocation.Longitude",
    "Vehicle.Chassis.Brake.PedalPosition", "Vehicle.LowVoltageSystemState",
    "Vehicle.Cabin.Door.Row1.IsOpen",
)  # fmt: skip
PLACE = {"category": "location.precise"}
CHASSIS = {"category": "chassis"}
TRACK = consent_of("location.precise")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"at_most": "permanent"}, "at_most: a consent has an end, it is not"),
        ({"at_most": "Always"}, "at_most: a consent has an end, it is not"),
        ({"at_most": "366d"}, "at_most: a consent lasts a year at most, not '366d'"),
        ({"at_most": "99y"}, "at_most: a consent lasts a year at most, not '99y'"),
        ({"at_most": "0d"}, "at_most: a duration between"),
        ({"at_most": "soon"}, "at_most: not a duration: 'soon'"),
        ({"about": "  "}, "about: says nothing to the person who is asked"),
        ({"categories": ["locaton.precise"]},
         "categories[0]: no such category: 'locaton.precise' (did you mean"),
        ({"categories": []}, "categories: expected `array`"),
        ({"purpse": "x"}, "purpse: no such field (did you mean 'purpose'?)"),
    ],
)  # fmt: skip
def test_a_consent_that_is_none_is_one_line(
    compile_text: Compile, fields: dict[str, Any], told: str
) -> None:
    text = policy_of(consents={"track": {**TRACK, **fields}})
    with pytest.raises(PolicyError) as raised:
        compile_text(text)
    assert f"consents.track.{told}".replace("`array`", "list") in str(
        raised.value
    ).replace("'list'", "list")
    assert raised.value.line


def test_at_most_has_no_default(compile_text: Compile) -> None:
    consent = {key: TRACK[key] for key in ("about", "categories")}
    with pytest.raises(PolicyError, match="missing field 'at_most'"):
        compile_text(policy_of(consents={"track": consent}))


def test_an_undeclared_consent_names_the_nearest(compile_text: Compile) -> None:
    rule = rule_of(match={**PLACE, "consent": "trak"})
    with pytest.raises(PolicyError) as raised:
        compile_text(policy_of(rules=[rule], consents={"track": TRACK}))
    assert "rules[0].match.consent: no such consent: 'trak'" in str(raised.value)
    assert raised.value.hint == "did you mean 'track'?"
    with pytest.raises(PolicyError, match="known: none"):
        compile_text(policy_of(rules=[rule]))


def test_what_a_consent_compiles_to(compile_text: Compile) -> None:
    def compiled(**fields: Any) -> CompiledConsent:
        text = policy_of(consents={"track": {**TRACK, **fields}})
        (found,) = compile_text(text).policy.consents
        return found

    first = compiled()
    assert (first.name, first.classes) == ("track", ("location.precise",))
    assert (first.at_most_ns, first.survives_ignition) == (30 * DAY, False)
    assert compiled(survives_ignition=True).survives_ignition
    assert compiled(at_most="1y").at_most_ns == 365 * DAY
    # What the person was told is what the terms say; how long is asked each time.
    assert compiled(at_most="1d", survives_ignition=True).terms == first.terms
    others = [
        compiled(about="Else."), compiled(purpose="other"),
        compiled(categories=["location"]),
    ]  # fmt: skip
    assert len({first.terms, *(one.terms for one in others)}) == 4


def test_the_ignition_item(compile_text: Compile) -> None:
    def tests(**ignition: Any) -> tuple[ItemTest, ...]:
        text = policy_of(ignition=ignition)
        return compile_text(text, points_of(*ITEMS)).policy.ignition

    item = "Vehicle.LowVoltageSystemState"
    assert compile_text(policy_of()).policy.ignition == ()
    assert tests(item=item) == (ItemTest((3,), "==", 1.0),)
    assert tests(item=item, on=4) == (ItemTest((3,), "==", 4.0),)
    assert tests(item=item, on={">=": 3, "!=": 7}) == (
        ItemTest((3,), ">=", 3.0),
        ItemTest((3,), "!=", 7.0),
    )
    assert tests(item="Not.Bound") == (ItemTest((), "==", 1.0),)
    for wrong, told in (
        ({"item": "x"}, "ignition.item: not an item name"),
        ({"item": item, "on": {}}, "ignition.on: compares with nothing"),
    ):
        with pytest.raises(PolicyError) as raised:
            tests(**wrong)
        assert told in str(raised.value)


def _found(
    compile_text: Compile, *rules: dict[str, Any], **fields: Any
) -> list[tuple[str, bool]]:
    compiled = compile_text(policy_of(rules=list(rules), **fields), points_of(*ITEMS))
    return [(one.rule, one.is_error) for one in lint(compiled) if one.rule >= "SG030"]


def _asking(consent: str = "track", **match: Any) -> dict[str, Any]:
    return {**(match or PLACE), "consent": consent}


ERROR, WARNING = True, False
# Each rule id: a policy that triggers it, and one beside it that just does not.
LINT: list[tuple[str, dict[str, Any], dict[str, Any], list[tuple[str, bool]]]] = [
    ("its own class", rule_of(match=_asking()), {"track": TRACK}, []),
    ("a wider consent", rule_of(match=_asking()), {"track": consent_of("location")},
     []),
    ("another class", rule_of(match=_asking()), {"track": consent_of("cabin")},
     [("SG030", ERROR)]),
    ("a narrower class", rule_of(match=_asking(category="location")),
     {"track": TRACK}, [("SG030", ERROR)]),
    ("everything", rule_of(match={"consent": "track"}), {"track": TRACK},
     [("SG030", ERROR)]),
    ("not bound here", rule_of(match=_asking(category="charging.session")),
     {"track": TRACK}, [("SG030", ERROR)]),
    ("its purpose", rule_of(match=_asking()),
     {"track": {**TRACK, "purpose": "p"}}, []),
    ("another purpose", rule_of(match=_asking()),
     {"track": {**TRACK, "purpose": "q"}}, [("SG031", ERROR)]),
    ("no consent", rule_of(match=PLACE), {}, [("SG032", WARNING)]),
    ("an approval", rule_of(match=PLACE, approval="CAC-2026-1"), {}, []),
    ("a duty", rule_of(match=PLACE, purpose="emergency-call"), {}, []),
    ("safety is no duty", rule_of(match=PLACE, purpose="driving-safety"), {},
     [("SG032", WARNING)]),
    ("coarse is not sensitive",
     rule_of(match={**PLACE, "item": ["**.Latitude", "**.Longitude"]},
             do=[{"grid": "1100m"}, {"every": "60s"}, "encrypt"]), {}, []),
    ("it stays", rule_of(match=PLACE, do=["drop"]), {}, []),
    ("nobody asks", rule_of(match=CHASSIS), {"track": TRACK}, [("SG033", WARNING)]),
    ("two classes", rule_of(match=_asking()),
     {"track": consent_of("location", "cabin")}, [("SG034", WARNING)]),
    ("two of one class", rule_of(match=_asking()),
     {"track": consent_of("location.precise", "location.track")}, []),
    ("keeps data in", rule_of(match=_asking(), do=["drop"]), {"track": TRACK},
     [("SG036", WARNING)]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "consents", "found"), [one[1:] for one in LINT], ids=[o[0] for o in LINT]
)
def test_each_duty_of_consents(
    compile_text: Compile,
    rule: dict[str, Any],
    consents: dict[str, Any],
    found: list[tuple[str, bool]],
) -> None:
    assert _found(compile_text, rule, consents=consents) == found


def test_an_ignition_that_nobody_tells(compile_text: Compile) -> None:
    found = _found(compile_text, ignition={"item": "Vehicle.NotBound"})
    assert found == [("SG037", WARNING)]
    assert _found(compile_text, ignition={"item": ITEMS[3]}) == []
