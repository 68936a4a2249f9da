"""Tree, proofs and checkpoints: published vectors, and a slow tree as judge."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocols.tlog.checkpoint import (
    Checkpoint,
    CheckpointError,
    open_checkpoint,
    sign_checkpoint,
)
from protocols.tlog.proof import (
    ProofError,
    consistency_proof,
    inclusion_proof,
    verify_consistency,
    verify_inclusion,
)
from protocols.tlog.tree import Growth, leaf_hash

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def slow_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, as written there."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    left, right = slow_root(leaves[:k]), slow_root(leaves[k:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def b64(text: str) -> bytes:
    return base64.b64decode(text)


def test_published_inclusion_proofs(data: Path) -> None:
    files = sorted((data / "vectors/rfc6962-merkle/inclusion").rglob("*.json"))
    assert len(files) > 50
    for file in files:
        case = json.loads(file.read_text())
        proof = [b64(node) for node in case["proof"] or []]
        args = (
            case["leafIdx"],
            case["treeSize"],
            b64(case["leafHash"]),
            proof,
            b64(case["root"]),
        )
        if case["wantErr"]:
            with pytest.raises(ProofError):
                verify_inclusion(*args)
        else:
            verify_inclusion(*args)


def test_published_consistency_proofs(data: Path) -> None:
    files = sorted((data / "vectors/rfc6962-merkle/consistency").rglob("*.json"))
    assert len(files) > 50
    for file in files:
        case = json.loads(file.read_text())
        args = (
            case["size1"],
            case["size2"],
            b64(case["root1"] or ""),
            b64(case["root2"] or ""),
            [b64(node) for node in case["proof"] or []],
        )
        if case["wantErr"]:
            with pytest.raises(ProofError):
                verify_consistency(*args)
        else:
            verify_consistency(*args)


@given(st.integers(0, 70), st.lists(st.integers(1, 9), max_size=12))
def test_growth_equals_the_slow_tree_however_it_is_cut(
    count: int, cuts: list[int]
) -> None:
    leaves = [leaf_hash(str(i).encode()) for i in range(count)]
    tree, rest = Growth(0, {}), list(leaves)
    for cut in cuts:
        tree.append(rest[:cut])
        rest = rest[cut:]
    tree.append(rest)
    assert tree.size == count
    assert tree.root() == slow_root(leaves)


@given(st.integers(1, 80), st.data())
def test_every_proof_that_is_made_holds_and_no_other(
    size: int, draw: st.DataObject
) -> None:
    leaves = [leaf_hash(str(i).encode()) for i in range(size)]
    tree = Growth(0, {})
    nodes = {(level, place): digest for level, place, digest in tree.append(leaves)}
    index = draw.draw(st.integers(0, size - 1))
    first = draw.draw(st.integers(1, size))
    proof = inclusion_proof(index, size, lambda *place: nodes[place])
    verify_inclusion(index, size, leaves[index], proof, tree.root())
    if size > 1:
        other = (index + 1) % size
        with pytest.raises(ProofError):
            verify_inclusion(other, size, leaves[index], proof, tree.root())
    old = slow_root(leaves[:first])
    steps = consistency_proof(first, size, lambda *place: nodes[place])
    verify_consistency(first, size, old, tree.root(), steps)
    with pytest.raises(ProofError):
        verify_consistency(first, size, bytes(32), tree.root(), steps)


class Key:
    """A key pair as the device has one."""

    def __init__(self, seed: int) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()


ORIGIN = "sluicegate/demo/gw-1/0011223344556677"


def test_a_checkpoint_is_a_signed_note_as_c2sp_writes_it() -> None:
    key = Key(1)
    note = sign_checkpoint(Checkpoint(ORIGIN, 7, b"\x22" * 32), key)
    text, _, signatures = note.decode().partition("\n\n")
    assert text.split("\n") == [ORIGIN, "7", base64.b64encode(b"\x22" * 32).decode()]
    dash, name, blob = signatures.rstrip("\n").split(" ")
    assert (dash, name) == ("\u2014", ORIGIN)
    # signed-note: key id = SHA-256(name || 0x0A || 0x01 || key)[:4]
    hashed = hashlib.sha256(name.encode() + b"\n\x01" + key.public_key()).digest()
    assert base64.b64decode(blob)[:4] == hashed[:4]
    assert open_checkpoint(note, ORIGIN, key.public_key()).size == 7


def test_a_published_signed_note_verifies() -> None:
    """The example of golang.org/x/mod/sumdb/note: another implementation's bytes."""
    public = b64("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    assert public[:1] == b"\x01"
    note = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
        "\n"
        "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1"
        "FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )
    with pytest.raises(CheckpointError, match="not origin, size and root"):
        # The signature holds (another reason would be told); it is no checkpoint.
        open_checkpoint(note.encode(), "x", public[1:], name="PeterNeumann")


def test_signatures_of_unknown_keys_are_passed_over() -> None:
    """C2SP tlog-checkpoint: so that keys can be rotated and witnesses can cosign."""
    note = sign_checkpoint(Checkpoint(ORIGIN, 3, bytes(32)), Key(1))
    other = base64.b64encode(b"key!" + bytes(72)).decode()
    more = note + f"\u2014 witness.example.com/w1 {other}\n".encode()
    assert open_checkpoint(more, ORIGIN, Key(1).public_key()).size == 3
    with pytest.raises(CheckpointError, match="not signed by this key"):
        open_checkpoint(more, ORIGIN, Key(2).public_key())


def signed_text(text: str) -> bytes:
    """Return a note of any text under our key."""
    key = Key(1)
    hashed = hashlib.sha256(ORIGIN.encode() + b"\n\x01" + key.public_key()).digest()
    blob = base64.b64encode(hashed[:4] + key.sign(text.encode())).decode()
    return f"{text}\n\u2014 {ORIGIN} {blob}\n".encode()


ROOT = base64.b64encode(bytes(32)).decode()


def test_extension_lines_are_taken_and_mean_nothing() -> None:
    note = signed_text(f"{ORIGIN}\n5\n{ROOT}\nextension\n")
    assert open_checkpoint(note, ORIGIN, Key(1).public_key()).size == 5


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{ORIGIN}\n5\n", "not origin"),
        (f"{ORIGIN}\n05\n{ROOT}\n", "no number"),
        (f"{ORIGIN}\n-5\n{ROOT}\n", "no number"),
        (f"{ORIGIN}\n\u0665\n{ROOT}\n", "no number"),
        (f"{ORIGIN}\n{'9' * 5000}\n{ROOT}\n", "too large"),
        (f"{ORIGIN}\n5\n{ROOT[:-4]}\n", "32 bytes"),
        (f"{ORIGIN}\n5\n?\n", "no base64"),
        (f"{ORIGIN}\n5\n{ROOT}\n\nextension\n", "extension line is empty"),
        (f"other\n5\n{ROOT}\n", "another log"),
    ],
)
def test_a_signed_note_that_is_no_checkpoint_is_refused(text: str, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        open_checkpoint(signed_text(text), ORIGIN, Key(1).public_key())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda n: n.replace(b"\n7\n", b"\n8\n"), "does not hold"),
        (lambda n: n.replace(b"\n\n", b"\n"), "empty line"),
        (lambda n: n[:-1], "empty line"),
        (lambda n: n + b"x\n", "no signature"),
        (lambda n: n.replace(b"gw-1", b"gw-2"), "not signed by this key"),
        (lambda n: b"\xff" + n, "UTF-8"),
        (lambda n: b"\x01" + n, "control"),
        (lambda n: n * 100, "larger|no signature"),
    ],
)
def test_a_changed_note_is_refused(
    change: Callable[[bytes], bytes], reason: str
) -> None:
    key = Key(1)
    note = change(sign_checkpoint(Checkpoint(ORIGIN, 7, bytes(32)), key))
    with pytest.raises(CheckpointError, match=reason):
        open_checkpoint(note, ORIGIN, key.public_key())


@given(st.binary(max_size=300))
def test_any_bytes_are_a_checkpoint_or_one_error(note: bytes) -> None:
    with pytest.raises(CheckpointError):
        open_checkpoint(note, ORIGIN, Key(1).public_key())
