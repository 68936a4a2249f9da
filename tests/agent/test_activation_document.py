"""docs/formats/activation.md says what the table, the limits and the documents are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from agent.activation import NEXT, RESTING
from agent.adapters.policy.inbox import BYTES_MAX
from agent.store.documents import CHECKED

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def page(root: Path) -> str:
    return (root / "docs" / "formats" / "activation.md").read_text(encoding="utf-8")


def test_every_transition_is_a_row_and_no_other(page: str) -> None:
    rows = re.findall(
        r"^\| (at rest|`\w+`) \| `(\w+)` \| `(\w+)` \|", page, re.MULTILINE
    )
    ours = {
        ("at rest" if state in RESTING else f"`{state.value}`", event.value, to.value)
        for (state, event), to in NEXT.items()
    }
    assert set(rows) == ours


def test_limits_and_documents_are_told(page: str) -> None:
    told = [int(n.replace(",", "")) for n in re.findall(r"\| ([0-9,]+) KiB \|", page)]
    assert told == [size // 1024 for size in BYTES_MAX.values()]
    ours = {name for name in CHECKED if name.startswith("policy.")}
    assert set(re.findall(r"^\| `(policy\.\w+)` \|", page, re.MULTILINE)) == ours
