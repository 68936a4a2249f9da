"""The worked example of docs/formats/evidence-log.md is what the code gives."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocols.tlog.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from protocols.tlog.proof import (
    consistency_proof,
    inclusion_proof,
    verify_consistency,
    verify_inclusion,
)
from protocols.tlog.tree import Growth, leaf_hash

if TYPE_CHECKING:
    from pathlib import Path

ORIGIN = "sluicegate/demo/gw-1/0011223344556677"


class Key:
    """The document's key."""

    _key = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()


def test_tree_proofs_and_note_are_as_written(root: Path) -> None:
    file = root / "docs" / "formats" / "evidence-log.md"
    example = file.read_text(encoding="utf-8").split("## 7. Worked example")[1]
    told = dict(re.findall(r"^\| (.+?) \| `([0-9a-f]{64})` \|$", example, re.MULTILINE))
    leaves = [leaf_hash(entry) for entry in (b"a", b"b", b"c")]
    tree = Growth(0, {})
    nodes = {(level, place): h for level, place, h in tree.append(leaves)}
    assert {name: bytes.fromhex(text) for name, text in told.items()} == {
        "leaf 0": leaves[0],
        "leaf 1": leaves[1],
        "leaf 2": leaves[2],
        "(1, 0)": nodes[1, 0],
        "root": tree.root(),
    }
    proof = inclusion_proof(0, 3, lambda *place: nodes[place])
    assert proof == [leaves[1], leaves[2]]
    verify_inclusion(0, 3, leaves[0], proof, tree.root())
    for size, steps, old in ((1, proof, leaves[0]), (2, [leaves[2]], nodes[1, 0])):
        assert consistency_proof(size, 3, lambda *place: nodes[place]) == steps
        verify_consistency(size, 3, old, tree.root(), steps)

    note = example.split("```")[1].removeprefix("\n").encode()
    key = Key()
    assert key.public_key().hex() in example
    assert note == sign_checkpoint(Checkpoint(ORIGIN, 3, tree.root()), key)
    assert open_checkpoint(note, ORIGIN, key.public_key()).root == tree.root()
