"""What the format documents show is what the product reads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from policies.files import load
from policies.firewall.spans import GROUPS
from policies.floor import compile_floor
from policies.lint.rules import LINT_RULES
from policies.model import Match, Step
from policies.model_firewall import Firewall, FirewallRuleFile
from policies.parse import parse_floor
from policies.steps import ACTIONS

if TYPE_CHECKING:
    from pathlib import Path

DBC = """VERSION ""
BU_: ECU
BO_ 256 SPEEDS: 8 ECU
 SG_ FRONT : 0|16@1+ (0.01,0) [0|655] "km/h" ECU
 SG_ REAR : 16|16@1+ (0.01,0) [0|655] "km/h" ECU
"""


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs/formats/policy.md").read_text(encoding="utf-8")


def _blocks(page: str) -> list[str]:
    return re.findall(r"```yaml\n(schema: .*?)```", page, re.DOTALL)


def test_the_examples_of_the_pages_compile(
    page: str, root: Path, tmp_path: Path
) -> None:
    policy, floor = _blocks(page)
    (bindings,) = _blocks((root / "docs/formats/bindings.md").read_text("utf-8"))
    (tmp_path / "policy.yaml").write_text(policy, "utf-8")
    (tmp_path / "bindings.yaml").write_text(bindings, "utf-8")
    (tmp_path / "example.dbc").write_text(DBC)
    loaded = load(tmp_path / "policy.yaml", [tmp_path / "bindings.yaml"])
    assert loaded.errors == ()
    assert loaded.compiled.policy.items.name[-1] == "Sluicegate.Event"
    assert len(loaded.compiled.policy.items) == 3 + 2 + 2 + 1 + 1
    assert len(compile_floor(parse_floor(floor.encode()))) == 3


def test_the_page_names_every_field_step_and_action(page: str) -> None:
    tables = "\n".join(line for line in page.splitlines() if line.startswith("| `"))
    for name in (*Match.__struct_fields__, *Step.__struct_fields__, *ACTIONS, "blank"):
        assert f"`{name}`" in tables, name


def test_the_page_names_every_field_of_the_firewall(page: str) -> None:
    _, _, section = page.partition("### Modbus firewall")
    tables = [line for line in section.splitlines() if line.startswith("| `")]
    named = [line.split("`")[1] for line in tables]
    for model in (Firewall, FirewallRuleFile):
        for name in model.__struct_encode_fields__:
            assert name in named, name
    for group, codes in GROUPS.items():
        told = ", ".join(map(str, sorted(codes)))
        assert group not in {"reads", "writes"} or f"`{group}` ({told})" in section


def test_the_page_lists_every_lint_rule_as_the_table_has_it(page: str) -> None:
    listed = [line for line in page.splitlines() if line.startswith("| `SG")]
    assert listed == [
        f"| `{name}` | {'error' if rule.is_error else 'warning'} |"
        f" {rule.about} | {rule.duty} |"
        for name, rule in LINT_RULES.items()
    ]
    assert list(LINT_RULES) == sorted(LINT_RULES)
