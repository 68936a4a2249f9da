"""The form of a metadata file, looked at before any of it is believed or built.

One metadata has one possible file: JSON with keys in the order of their code points, no
space, everything beyond ASCII escaped by its code; python-tuf's
``JSONSerializer(compact=True)`` writes the same. docs/formats/trust.md section 3.
"""

from __future__ import annotations

import json
import re
from typing import Final

from policies.errors import TrustError
from policies.trust.model import ROOT_BYTES_MAX

BYTES_MAX: Final = {
    "root": ROOT_BYTES_MAX,
    "timestamp": 8 * 1024,
    "snapshot": 16 * 1024,
    "targets": 256 * 1024,
    "rollout": 16 * 1024,
}
DEPTH_MAX: Final = 10  # targets: signed, targets, path, custom, terms make 6
SIGNATURES_MAX: Final = 32
# A string without an end takes all that follows: else every quote in it would be tried
# as a beginning, and that holds the whole process up for a minute over 64 KiB.
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKETS: Final = b"[]{}"
_OTHERS: Final = bytes(set(range(256)) - set(_BRACKETS))
_KEY_ID: Final = re.compile(r"[0-9a-f]{64}")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}")


def check_form(kind: str, raw: bytes) -> dict[str, object]:
    """Return the plain JSON of a metadata file of the role ``kind``; TrustError.

    Steps: (1) size (2) depth, on the bytes (3) JSON (4) the canonical form (5) the
    signatures: each has a key id and the length of Ed25519, no key id twice.
    """
    if len(raw) > BYTES_MAX[kind]:  # (1)
        raise TrustError("size", f"{kind}: larger than {BYTES_MAX[kind]} bytes")
    if depth(raw) > DEPTH_MAX:  # (2)
        raise TrustError("depth", f"{kind}: nested deeper than {DEPTH_MAX}")
    try:  # (3)
        plain: object = json.loads(raw)
    except (ValueError, RecursionError):
        raise TrustError("format", f"{kind}: is not JSON") from None
    if canonical(plain) != raw:  # (4)
        raise TrustError("non-canonical", f"{kind}: has another form than its one")
    match plain:  # (5)
        case {"signatures": list(signatures), "signed": dict(signed), **rest} if (
            not rest
        ):
            _check_signatures(kind, signatures)
        case _:
            raise TrustError("format", f"{kind}: is not signatures and signed")
    return {"signatures": signatures, "signed": signed}


def canonical(plain: object) -> bytes:
    """Return the one form of plain JSON."""
    return json.dumps(plain, separators=(",", ":"), sort_keys=True).encode("ascii")


def depth(raw: bytes) -> int:
    """Return how deep JSON text nests, without parsing it."""
    deepest = level = 0
    for bracket in _STRING.sub(b"", raw).translate(None, _OTHERS):
        level += 1 if bracket in b"[{" else -1
        deepest = max(deepest, level)
    return deepest


def is_key_id(text: str) -> bool:
    """Tell whether a text can name a key: SHA-256 in lower-case hex."""
    return _KEY_ID.fullmatch(text) is not None


def _check_signatures(kind: str, signatures: list[object]) -> None:
    if not signatures:
        raise TrustError("unsigned", f"{kind}: carries no signature")
    if len(signatures) > SIGNATURES_MAX:
        raise TrustError("size", f"{kind}: more than {SIGNATURES_MAX} signatures")
    seen: set[str] = set()
    for one in signatures:
        match one:
            case {"keyid": str(key_id), "sig": str(signature), **rest} if not rest:
                pass
            case {"keyid": _, **_rest}:
                raise TrustError("format", f"{kind}: a signature is not keyid and sig")
            case _:
                raise TrustError("key-id", f"{kind}: a signature names no key")
        if not is_key_id(key_id):
            raise TrustError("key-id", f"{kind}: a key id is not 64 hex digits")
        if not _SIGNATURE.fullmatch(signature):
            raise TrustError("unsigned", f"{kind}: a signature is not 128 hex digits")
        if key_id in seen:
            raise TrustError("same-key", f"{kind}: two signatures name one key")
        seen.add(key_id)
