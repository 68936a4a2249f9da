"""docs/faults.md names tests and scenarios that exist, at least one in each row."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
SCENARIO = re.compile(r"`vm (\w+)`")


def rows(root: Path) -> list[str]:
    page = (root / "docs" / "faults.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return [line for line in lines if not line.startswith("| fault |")]


def test_each_row_is_shown_by_something(root: Path) -> None:
    found = rows(root)
    assert len(found) > 25
    for row in found:
        assert row.count(" | ") == 3, row
        assert TEST.search(row) or SCENARIO.search(row), row


def test_what_shows_it_exists(root: Path) -> None:
    told = "\n".join(rows(root))
    for file, name in TEST.findall(told):
        tree = ast.parse((root / file).read_text(encoding="utf-8"))
        functions = ast.FunctionDef | ast.AsyncFunctionDef
        names = {node.name for node in tree.body if isinstance(node, functions)}
        assert name in names, f"{file}::{name}"
    for name in SCENARIO.findall(told):
        assert (root / "tests/vm/scenarios" / f"{name}.py").exists(), name
