"""The comparison of policies is bounded; what lies beyond counts as looser."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest

from fleet.keys import generate
from policies.diff import columns as diff_columns
from policies.diff import compare as diff
from policies.diff.decisions import TOO_MANY
from policies.files import load
from protocols.labels import Tier
from tests.policies.building import Compile, points_of, policy_of, rule_of

if TYPE_CHECKING:
    from pathlib import Path

    from policies.compile import Compiled
    from protocols.recipients import RecipientCard

MAP = {"item": "Vehicle.Map.Tile", "table": 4, "address": 0, "category": "geo.map"}
ITEMS = [f"Vehicle.Chassis.S{number}" for number in range(12)]


@pytest.fixture
def pair(compile_text: Compile) -> tuple[Compiled, Compiled]:
    """Return two policies that differ for every item, each in its own way."""
    bound = points_of(*ITEMS)
    link: dict[str, Any] = {"link": "plc", "unit": 2, "points": [MAP]}
    bound = {**bound, "modbus": [*bound["modbus"], link]}

    def compiled(factor: int) -> Compiled:
        rules = [
            rule_of(
                f"r{n}",
                match={"item": item},
                do=[{"every": f"{n + factor}s"}, "encrypt"],
            )
            for n, item in enumerate(ITEMS)
        ]
        maps = rule_of("maps", match={"category": "geo.map"}, approval="a",
                       do=[{"every": f"{factor}s"}, "encrypt"])  # fmt: skip
        return compile_text(policy_of(rules=[*rules, maps]), bound)

    return compiled(2), compiled(1)


def test_every_item_is_looser_in_its_own_line(pair: tuple[Compiled, Compiled]) -> None:
    found = diff.compare(*pair)
    assert len(found.looser) == len(found.lines) == len(ITEMS) + 1
    assert not found.omitted
    assert len(found.guarded) == 1


def test_groups_beyond_the_budget_are_changed_and_guarded_all_the_same(
    pair: tuple[Compiled, Compiled], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diff, "GROUPS_MAX", 0)
    found = diff.compare(*pair)
    assert {line.why for line in found.changed} == {TOO_MANY}
    assert len(found.weakens) == len(ITEMS) + 1
    assert [one.item for one in found.guarded] == ["Vehicle.Map.Tile"]
    assert not diff.compare(pair[0], pair[0]).lines


def test_the_guarded_lines_are_the_last_to_be_left_out(
    pair: tuple[Compiled, Compiled], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diff, "LINES_MAX", 1)
    found = diff.compare(*pair)
    assert found.lines[0].is_guarded
    assert found.omitted == len(ITEMS)
    assert found.is_looser
    assert found.guarded


@pytest.mark.parametrize("cells", [1, 3, 7])
def test_blocks_of_rows_change_nothing(
    pair: tuple[Compiled, Compiled], monkeypatch: pytest.MonkeyPatch, cells: int
) -> None:
    whole = [str(line) for line in diff.compare(*pair).lines]
    monkeypatch.setattr(diff_columns, "CELLS_MAX", cells)
    assert [str(line) for line in diff.compare(*pair).lines] == whole


# --- Recipients by their keys ---------------------------------------------------------


def card(name: str) -> RecipientCard:
    return generate(name, dt.date(2020, 1, 1), dt.date(2099, 1, 1)).card()


def test_another_key_under_the_same_name_is_another_recipient(
    pair: tuple[Compiled, Compiled],
) -> None:
    policy = pair[0]
    before = {"oem-key": card("oem-key"), "keeper": card("keeper")}
    assert not diff.compare(policy, policy, (before, dict(before))).lines
    after = {**before, "oem-key": card("oem-key")}
    found = diff.compare(policy, policy, (before, after))
    assert [(line.kind, line.destination) for line in found.lines] == [
        ("changed", "oem")
    ]
    assert [one.item for one in found.guarded] == ["Vehicle.Map.Tile"]


def test_another_key_of_the_custodian_is_another_custodian(
    compile_text: Compile,
) -> None:
    keep = {"name": "k", "match": {"category": "geo.map"}, "do": ["keep"]}
    bound = {**points_of(), "modbus": [{"link": "plc", "unit": 2, "points": [MAP]}]}
    policy = compile_text(policy_of(rules=[keep]), bound)
    before, after = ({"keeper": card("keeper")} for _ in range(2))
    found = diff.compare(policy, policy, (before, after))
    assert {line.kind for line in found.lines} == {"changed"}
    assert found.guarded
    assert "another custodian" in found.guarded[0].why


# --- Classification -------------------------------------------------------------------

CATALOGUE = """
schema: sluicegate/catalogue/1
name: own
version: 1
categories:
  - id: A-1
    category: plant.value
    about: x
    label: {tier: TIER, recognition: candidate}
    default: x
    basis: [x]
    basis_mark: ours
    items: ["Plant.**"]
"""


def test_a_lower_classification_is_a_weakening(tmp_path: Path) -> None:
    point = {"item": "Plant.A", "table": 4, "address": 0}
    bound = {**points_of(), "modbus": [{"link": "l", "unit": 1, "points": [point]}]}
    (tmp_path / "b.yaml").write_text(json.dumps(bound))
    (tmp_path / "p.yaml").write_bytes(policy_of(catalogues=["own.yaml"], custodian=""))

    def compiled(tier: str) -> Compiled:
        text = CATALOGUE.replace("TIER", tier)
        (tmp_path / "own.yaml").write_text(text)
        return load(tmp_path / "p.yaml", [tmp_path / "b.yaml"]).compiled

    high, low = compiled("important"), compiled("G1")
    (line,) = diff.compare(high, low).lines
    assert (line.kind, line.items) == ("looser", ("Plant.A",))
    assert line.before.startswith("classified important/")
    (weak,) = diff.compare(high, low).guarded
    assert weak.tier == Tier.IMPORTANT
    (back,) = diff.compare(low, high).lines
    assert back.kind == "tighter"
    assert not diff.compare(low, high).weakens
