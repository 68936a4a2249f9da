"""C2SP cosignatures: a collector testifies that it saw a checkpoint, and when.

c2sp.org/tlog-cosignature, Ed25519 (signature type 0x04): signed are the lines
``cosignature/v1`` and ``time <seconds>`` and then the text of the checkpoint note; the
signature line holds key id (4 bytes), the time as big-endian u64 and 64 bytes Ed25519.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from protocols.tlog.checkpoint import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable

COSIGNATURE_TYPE: Final = b"\x04"
DASH: Final = "\u2014 "
_BLOB_BYTES: Final = 4 + 8 + 64


def cosigned(
    note: bytes,
    name: str,
    public_key: bytes,
    sign: Callable[[bytes], bytes],
    time_s: int,
) -> bytes:
    """Return the note with our cosignature line behind the lines that it has.

    ``note``: a signed checkpoint that was verified; ``name``: of our key, without a
    space or a plus sign; ``time_s``: seconds since the epoch, when it was seen.
    """
    text = _text(note)
    blob = _key_id(name, public_key) + time_s.to_bytes(8, "big")
    blob += sign(_signed(text, time_s))
    line = f"{DASH}{name} {base64.b64encode(blob).decode('ascii')}\n"
    return note + line.encode()


def cosigned_at(note: bytes, name: str, public_key: bytes) -> int:
    """Return when (seconds) the key cosigned; CheckpointError where it did not."""
    wanted = _key_id(name, public_key)
    for line in note.decode("utf-8", "replace").split("\n"):
        named, _, encoded = line.removeprefix(DASH).partition(" ")
        if not line.startswith(DASH) or named != name:
            continue
        try:
            blob = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(blob) != _BLOB_BYTES or blob[:4] != wanted:
            continue
        time_s = int.from_bytes(blob[4:12], "big")
        try:
            key = Ed25519PublicKey.from_public_bytes(public_key)
            key.verify(blob[12:], _signed(_text(note), time_s))
        except InvalidSignature:
            raise CheckpointError("the cosignature does not hold") from None
        return time_s
    raise CheckpointError("not cosigned by this key")


def _signed(text: bytes, time_s: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % time_s + text


def _text(note: bytes) -> bytes:
    text, gap, _ = note.rpartition(b"\n\n")
    if not gap:
        raise CheckpointError("no signatures behind an empty line")
    return text + b"\n"


def _key_id(name: str, public_key: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + COSIGNATURE_TYPE + public_key).digest()[:4]
