"""What time it is and which timestamp is the newest, for one device that asked.

The device puts 16 random bytes (hex) into the ``nonce`` of its ack; whoever renews the
fleet's timestamp answers on ``sg/1/<fleet>/<device>/command`` with msgpack
``[body, key id, signature]``, Ed25519 by a key of TUF's timestamp role over the domain
``freshness`` (``protocols.signed``). So a device whose clock is wrong still sees that
it is shown old metadata. docs/formats/trust.md section 6.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocols.envelope import pack, unpacked
from protocols.errors import WireError
from protocols.signed import SIGNATURE_BYTES, signing_input, verify
from protocols.topics import check_name

if TYPE_CHECKING:
    from collections.abc import Callable

FRESHNESS: Final = "freshness"
VERSION: Final = 1
FRESH: Final = "fresh"
NONCE_BYTES: Final = 16
ANSWER_BYTES_MAX: Final = 1024
DIGEST_BYTES: Final = 32
TIME_NS_MAX: Final = 2**63 - 1
_NONCE: Final = re.compile(rf"[0-9a-f]{{{2 * NONCE_BYTES}}}")
_KEY_ID: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the answer says; to be believed once its signature holds."""

    fleet: str
    device: str
    nonce: str  # 32 hex digits, as the device asked
    time_ns: int
    timestamp_version: int
    timestamp_digest: bytes  # SHA-256 of the newest timestamp.json


def is_nonce(text: str) -> bool:
    """Tell whether a text is 16 bytes in lower-case hex."""
    return _NONCE.fullmatch(text) is not None


def encode_answer(answer: Answer, key_id: str, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the signed message; ``key_id`` is TUF's, of the key behind ``sign``."""
    body = pack(
        [
            VERSION,
            FRESH,
            answer.fleet,
            answer.device,
            answer.nonce,
            answer.time_ns,
            answer.timestamp_version,
            answer.timestamp_digest,
        ]
    )
    return pack([body, key_id, sign(signing_input(FRESHNESS, body))])


def answer_key_id(message: bytes) -> str:
    """Return the id of the key that the message says it is signed by."""
    return _split(message)[1]


def open_answer(message: bytes, public_key: bytes) -> Answer:
    """Return the answer that ``public_key`` signed; WireError otherwise.

    The signature is verified before the body is parsed. Whether it is for this device
    and this nonce is the caller's to check.
    """
    body, _, signature = _split(message)
    verify(FRESHNESS, body, signature, public_key)
    match unpacked(FRESHNESS, body, ANSWER_BYTES_MAX):
        case [
            int(version), str(kind), str(fleet), str(device), str(nonce),
            int(time_ns), int(number), bytes(digest),
        ]:  # fmt: skip
            pass
        case _:
            raise WireError(FRESHNESS, "has not the eight fields")
    if version != VERSION or kind != FRESH:
        raise WireError(FRESHNESS, "of another version or kind")
    if not (is_nonce(nonce) and len(digest) == DIGEST_BYTES):
        raise WireError(FRESHNESS, "nonce or digest has another length")
    if not (0 < time_ns <= TIME_NS_MAX and number > 0):
        raise WireError(FRESHNESS, "time or version out of range")
    check_name("fleet", fleet)
    check_name("device", device)
    return Answer(fleet, device, nonce, time_ns, number, digest)


def _split(message: bytes) -> tuple[bytes, str, bytes]:
    if len(message) > ANSWER_BYTES_MAX:
        raise WireError(FRESHNESS, f"larger than {ANSWER_BYTES_MAX} bytes")
    match unpacked(FRESHNESS, message, ANSWER_BYTES_MAX):
        case [bytes(body), str(key_id), bytes(signature)] if len(
            signature
        ) == SIGNATURE_BYTES and _KEY_ID.fullmatch(key_id):
            return body, key_id, signature
    raise WireError(FRESHNESS, "is not [body, key id, signature]")
