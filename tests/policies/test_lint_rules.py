"""Every rule of lint has a policy that triggers it and one that just does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from policies.compile import compile_policy
from policies.files import shipped_text
from policies.lint.linting import lint
from policies.lint.rules import LINT_RULES
from policies.parse import parse_bindings, parse_catalogue, parse_policy
from tests.policies.building import as_text, points_of, policy_of
from tests.policies.lint_cases import CASES, CORE, FLOAT

if TYPE_CHECKING:
    from policies.lint.findings import Finding
    from tests.policies.lint_cases import Case

OWN = {
    "schema": "sluicegate/catalogue/1", "name": "own", "version": 1,
    "categories": [
        {"id": "OWN-1", "category": "own.core", "about": "x", "default": "x",
         "label": {"tier": "core"}, "basis": ["x"], "basis_mark": "ours",
         "items": [CORE]},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def catalogues() -> list[Any]:
    return [
        parse_catalogue(shipped_text("catalogues", "cn-auto"), "cn-auto"),
        parse_catalogue(as_text(OWN), "own"),
    ]


def found(case: Case, catalogues: list[Any]) -> list[Finding]:
    fields, items = case
    bindings = points_of(*(item.removeprefix(FLOAT) for item in items))
    for item, point in zip(items, bindings["modbus"][0]["points"], strict=True):
        point["address"] *= 2
        if item.startswith(FLOAT):
            point["type"] = "f32"
    compiled = compile_policy(
        parse_policy(policy_of(catalogues=["cn-auto", "own"], **fields)),
        catalogues,
        [parse_bindings(as_text(bindings))],
        {},
        links=("plc",),
    )
    return list(lint(compiled))


def test_every_rule_has_its_pair() -> None:
    assert list(CASES) == list(LINT_RULES)


@pytest.mark.parametrize("rule", CASES)
def test_a_policy_triggers_it_and_another_just_does_not(
    catalogues: list[Any], rule: str
) -> None:
    triggers, just_not = (found(case, catalogues) for case in CASES[rule])
    mine = [one for one in triggers if one.rule == rule]
    assert mine
    assert not [one for one in just_not if one.rule == rule]
    for one in mine:
        assert one.is_error == LINT_RULES[rule].is_error
        assert one.duty == LINT_RULES[rule].duty
        assert str(one).count("\n") == 0
        assert one.reason


def test_every_rule_cites_its_duty_and_no_id_is_there_twice() -> None:
    for rule in LINT_RULES.values():
        assert rule.duty
        assert rule.about
    assert all(name[:2] == "SG" and name[2:].isdigit() for name in LINT_RULES)
