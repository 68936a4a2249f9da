"""The comparison of policies is bounded; what lies beyond counts as looser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from policies import diff, diff_columns
from policies.decisions import TOO_MANY
from tests.policies.building import Compile, points_of, policy_of, rule_of

if TYPE_CHECKING:
    from policies.compile import Compiled

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
