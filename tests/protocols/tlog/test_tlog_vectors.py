"""Every published vector of transparency-dev/merkle: what holds and what must not."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from protocols.tlog.proof import (
    ProofError,
    verify_consistency,
    verify_inclusion,
    verify_subtree_consistency,
    verify_subtree_inclusion,
)

if TYPE_CHECKING:
    from pathlib import Path


def _hash(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def _verify(kind: str, case: dict[str, Any]) -> None:
    proof = [_hash(step) for step in case["proof"] or []]
    match kind:
        case "inclusion":
            verify_inclusion(
                case["leafIdx"], case["treeSize"], _hash(case["leafHash"]), proof,
                _hash(case["root"]),
            )  # fmt: skip
        case "consistency":
            verify_consistency(
                case["size1"], case["size2"], _hash(case["root1"]),
                _hash(case["root2"]), proof,
            )  # fmt: skip
        case "subtreeinclusion":
            verify_subtree_inclusion(
                case["leafIdx"], (case["start"], case["end"]), _hash(case["leafHash"]),
                proof, _hash(case["root"]),
            )  # fmt: skip
        case _:
            verify_subtree_consistency(
                (case["start"], case["end"]), case["size"], _hash(case["root1"]),
                _hash(case["root2"]), proof,
            )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("inclusion", 80),
        ("consistency", 80),
        ("subtreeinclusion", 80),
        ("subtreeconsistency", 80),
    ],
)
def test_every_vector_is_judged_as_published(data: Path, kind: str, least: int) -> None:
    wrong: list[str] = []
    verdicts = {True: 0, False: 0}
    for file in sorted((data / "vectors" / "rfc6962-merkle" / kind).rglob("*.json")):
        case = json.loads(file.read_text(encoding="utf-8"))
        try:
            _verify(kind, case)
            held = True
        except ProofError:
            held = False
        verdicts[held] += 1
        if held is case["wantErr"]:
            wrong.append(f"{file.parent.name}/{file.name}: {case['desc']}")
    assert wrong == []
    assert sum(verdicts.values()) >= least
    assert all(verdicts.values())
