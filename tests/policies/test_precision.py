"""Precision: an item that is finer than its category allows is of another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from policies.compile import compile_policy
from policies.errors import PolicyError
from policies.lint.linting import lint
from policies.parse import parse_bindings, parse_catalogue, parse_policy
from protocols.labels import unpack
from tests.policies.building import Compile, as_text, points_of, policy_of, rule_of

if TYPE_CHECKING:
    from policies.compile import Compiled

LAT, LON = "Vehicle.CoarseLocation.Latitude", "Vehicle.CoarseLocation.Longitude"
LAST = {"aggregate": {"window": "1m", "of": ["max", "last"]}}
MEAN = {"aggregate": {"window": "1m", "of": ["mean"]}}
COARSE = "G2/personal/deidentified/coarse/none"
PRECISE = "G4/sensitive/raw/precise/none"


def bound(scale: float, **more: Any) -> dict[str, Any]:
    bindings = points_of(LAT, LON)
    for point in bindings["modbus"][0]["points"]:
        point |= {"type": "i32", "scale": scale, "unit": "deg", **more}
    bindings["modbus"][0]["points"][1]["address"] = 2
    return bindings


def label_in(compiled: Compiled, row: int = 0) -> tuple[str, str]:
    items = compiled.policy.items
    return items.category[row], str(unpack(int(items.label[row])))


def label_out(compiled: Compiled, row: int = 0) -> tuple[str, str]:
    (rule,) = compiled.policy.rules
    return rule.category_out[row], str(unpack(int(rule.label_out[row])))


@pytest.mark.parametrize(
    ("scale", "more", "is_fine"),
    [
        (1e-7, {}, True),
        (0.008984, {}, False),  # 1,000.1 m
        (0.008982, {}, True),  # 999.9 m
        (-0.01, {}, False),
        (0.01, {"unit": "min"}, True),  # not degrees: nobody knows
        (1.0, {"type": "f32"}, True),  # a float: nobody knows
    ],
)
def test_a_binding_says_how_fine_an_item_is(
    compile_text: Compile, scale: float, more: dict[str, Any], *, is_fine: bool
) -> None:
    compiled = compile_text(policy_of(), bound(scale, **more))
    coarse, precise = ("location.coarse", COARSE), ("location.precise", PRECISE)
    for row in (0, 1):
        assert label_in(compiled, row) == (precise if is_fine else coarse)
    found = [f for f in lint(compiled) if f.rule == "SG021"]
    assert len(found) == is_fine
    assert not found or found[0].reason.startswith(f"{LAT}, {LON}: bound finer than")


def test_rules_see_the_other_category(compile_text: Compile) -> None:
    """A name with Coarse in it opens no way for coordinates to the centimetre."""
    coarse = rule_of(match={"category": "location.coarse"})
    fine = compile_text(policy_of(rules=[coarse]), bound(1e-7))
    assert not fine.policy.destinations[0].chain.size
    cells = compile_text(policy_of(rules=[coarse]), bound(0.01))
    assert cells.policy.destinations[0].chain.shape == (3, 1)


@pytest.mark.parametrize(
    ("steps", "is_fine"),
    [
        ([{"round": 0.01}], False),
        ([{"round": 0.001}], True),
        ([{"grid": "1km"}], False),
        ([{"grid": "1km"}, {"every": "60s"}], False),
        ([{"round": 0.01}, LAST], False),
        ([{"round": 0.01}, MEAN], True),
        ([MEAN, {"round": 0.01}], False),
        ([{"every": "1h"}], True),
    ],
)
def test_what_leaves_is_judged_by_how_fine_it_leaves(
    compile_text: Compile, steps: list[Any], *, is_fine: bool
) -> None:
    rule = rule_of(match={"category": "location"}, do=[*steps, "encrypt"])
    category, label = label_out(compile_text(policy_of(rules=[rule]), bound(1e-7)))
    assert category == ("location.precise" if is_fine else "location.coarse")
    assert ("precise" in label) == ("sensitive" in label) == is_fine


def test_a_claim_of_what_is_finer_does_not_hold(compile_text: Compile) -> None:
    claim = rule_of(
        match={"category": "location"}, do=["encrypt"], becomes="location.coarse"
    )
    compiled = compile_text(policy_of(rules=[claim]), bound(0.01))
    assert label_out(compiled) == ("location.coarse", COARSE)
    compiled = compile_text(policy_of(rules=[claim]), bound(0.001))
    assert "SG003" in [f.rule for f in lint(compiled)]
    (form,) = compiled.forms
    assert form.refused[0][1] == "finer than 1000 m it is location.precise"


CATALOGUE = {
    "schema": "sluicegate/catalogue/1",
    "name": "own",
    "version": 1,
    "categories": [
        {"id": f"C{n}", "category": name, "about": "x", "label": label, "default": "x",
         "basis": ["x"], "basis_mark": "ours", "items": items, **more}
        for n, (name, label, items, more) in enumerate([
            ("level.coarse", {"tier": "G1"}, ["A.Level", "A.Text"],
             {"finer": [{"than": 10, "becomes": "level.fine"},
                        {"than": 1.0, "becomes": "level.exact"}]}),
            ("level.fine", {"tier": "G3"}, ["A.Fine"], {}),
            ("level.exact", {"tier": "G2", "pi": "personal"}, ["A.Exact"], {}),
        ])
    ],
}  # fmt: skip


def own(catalogue: Any, scale: float, **point: Any) -> Compiled:
    bindings = points_of("A.Level")
    bindings["modbus"][0]["points"][0] |= {"scale": scale, **point}
    return compile_policy(
        parse_policy(policy_of(catalogues=["own"])),
        [parse_catalogue(as_text(catalogue), "own")],
        [parse_bindings(as_text(bindings))],
        {},
        links=("plc",),
    )


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (10.0, ("level.coarse", "G1/none/raw/none/none")),
        (9.99, ("level.fine", "G3/none/raw/none/none")),
        (1.0, ("level.fine", "G3/none/raw/none/none")),
        (0.5, ("level.exact", "G3/personal/raw/none/none")),  # the graver of all
    ],
)
def test_numbers_are_bounds_in_units(scale: float, expected: tuple[str, str]) -> None:
    assert label_in(own(CATALOGUE, scale)) == expected


def test_a_text_has_no_step() -> None:
    compiled = own(CATALOGUE, 1.0, type="string", length=2)
    assert label_in(compiled)[0] == "level.coarse"


@pytest.mark.parametrize(
    ("bound", "line"),
    [
        ({"than": "10", "becomes": "level.fine"}, "finer[0].than: not a length: '10'"),
        ({"than": 0, "becomes": "level.fine"}, "finer[0].than: a step above 0"),
        ({"than": 1, "becomes": "level.fin"}, "finer[0].becomes: no such category"),
    ],
)
def test_a_wrong_bound_is_one_line(bound: dict[str, Any], line: str) -> None:
    first, *rest = CATALOGUE["categories"]
    wrong = {**CATALOGUE, "categories": [{**first, "finer": [bound]}, *rest]}
    with pytest.raises(PolicyError) as caught:
        own(wrong, 1.0)
    assert line in str(caught.value)
