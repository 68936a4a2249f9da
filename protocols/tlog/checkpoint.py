"""Checkpoints: C2SP tlog-checkpoint in a C2SP signed note, Ed25519.

Lines: origin; size; base64 root; an empty one; then for each signature an em dash, the
key name and base64 of key id (4 bytes) and signature (64).

The key name is the origin (tlog-checkpoint: "SHOULD match"); the key id is the first 4
bytes of SHA-256(name 0A 01 public key), signed-note section "Signatures", Ed25519. The
signature is over the note's text itself, as that format says, without our prefix, so
that other people's verifiers work.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

if TYPE_CHECKING:
    from collections.abc import Callable

NOTE_BYTES_MAX: Final = 16 * 1024
SIGNATURES_MAX: Final = 64
HASH_BYTES: Final = 32
KEY_ID_BYTES: Final = 4
ED25519: Final = b"\x01"
SIZE_DIGITS_MAX: Final = 18
DASH: Final = "\u2014 "  # an em dash and a space begin every signature line


class CheckpointError(ValueError):
    """A note that is no checkpoint of this log, or is not signed by this key."""


class Key(Protocol):
    """Whoever signs checkpoints."""

    @property
    def sign(self) -> Callable[[bytes], bytes]:
        """Return the function that signs: message bytes to 64 bytes."""

    @property
    def public_key(self) -> Callable[[], bytes]:
        """Return the function that gives the 32-byte public key."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: ``size`` leaves under ``root``."""

    origin: str
    size: int
    root: bytes


def key_id(name: str, public_key: bytes) -> bytes:
    """Return the 4-byte key id of an Ed25519 note key."""
    return sha256(name.encode() + b"\n" + ED25519 + public_key).digest()[:KEY_ID_BYTES]


def checkpoint_text(checkpoint: Checkpoint) -> str:
    """Return the text that is signed; ends with a newline."""
    root = base64.b64encode(checkpoint.root).decode("ascii")
    return f"{checkpoint.origin}\n{checkpoint.size}\n{root}\n"


def sign_checkpoint(checkpoint: Checkpoint, key: Key) -> bytes:
    """Return the signed note of a checkpoint."""
    text = checkpoint_text(checkpoint)
    blob = key_id(checkpoint.origin, key.public_key()) + key.sign(text.encode())
    line = f"{DASH}{checkpoint.origin} {base64.b64encode(blob).decode('ascii')}\n"
    return f"{text}\n{line}".encode()


def open_checkpoint(
    note: bytes, origin: str, public_key: bytes, name: str = ""
) -> Checkpoint:
    """Return the checkpoint where ``public_key`` signed it and it is of ``origin``.

    ``name``: of the key, the origin by default. Signatures of other keys are passed
    over, as the format asks. CheckpointError otherwise.
    """
    text, lines = _split(note)
    signer = name or origin
    wanted = key_id(signer, public_key)
    signatures = [
        blob[KEY_ID_BYTES:]
        for named, blob in map(_signature, lines)
        if named == signer and blob[:KEY_ID_BYTES] == wanted
    ]
    if not signatures:
        raise CheckpointError("not signed by this key")
    key = Ed25519PublicKey.from_public_bytes(public_key)
    try:
        for signature in signatures:
            key.verify(signature, text.encode())
    except InvalidSignature:
        raise CheckpointError("the signature does not hold") from None
    checkpoint = _parse(text)
    if checkpoint.origin != origin:
        raise CheckpointError("of another log")
    return checkpoint


def _split(note: bytes) -> tuple[str, list[str]]:
    if len(note) > NOTE_BYTES_MAX:
        raise CheckpointError(f"larger than {NOTE_BYTES_MAX} bytes")
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError:
        raise CheckpointError("not UTF-8") from None
    if any(ord(c) < 0x20 and c != "\n" for c in whole):
        raise CheckpointError("a control character")
    text, gap, tail = whole.rpartition("\n\n")
    if not gap or not tail.endswith("\n"):
        raise CheckpointError("no signatures behind an empty line")
    lines = tail[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise CheckpointError(f"more than {SIGNATURES_MAX} signatures")
    return text + "\n", lines


def _signature(line: str) -> tuple[str, bytes]:
    name, space, encoded = line.removeprefix(DASH).partition(" ")
    if not line.startswith(DASH) or not space or not name:
        raise CheckpointError("a line that is no signature")
    return name, _base64(encoded, "signature")


def _parse(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) < 4 or not lines[0]:
        raise CheckpointError("not origin, size and root")
    size = lines[1]
    if not size.isascii() or not size.isdigit() or (size[0] == "0" and size != "0"):
        raise CheckpointError("the size is no number")
    if len(size) > SIZE_DIGITS_MAX:
        raise CheckpointError("the size is too large")
    if not all(lines[3:-1]):  # what stands behind the last newline is no line
        raise CheckpointError("an extension line is empty")
    root = _base64(lines[2], "root")
    if len(root) != HASH_BYTES:
        raise CheckpointError(f"the root has not {HASH_BYTES} bytes")
    return Checkpoint(lines[0], int(size), root)


def _base64(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CheckpointError(f"the {what} is no base64") from None
