"""What a device says of the policy offered to it: signed, retained, newest wins.

One message a device on ``sg/1/<fleet>/<device>/ack``: msgpack ``[body, signature]``
(``protocols/signed.py``), body JSON text. docs/formats/rollout.md section 4. No field
holds a value that was read from a bus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from protocols.errors import WireError
from protocols.plain import printable
from protocols.signed import open_signed, pack_signed
from protocols.topics import NAME

if TYPE_CHECKING:
    from collections.abc import Callable

ACK: Final = "ack"
ACK_BYTES_MAX: Final = 16 * 1024
REASON_CHARACTERS_MAX: Final = 200
GROUPS_MAX: Final = 16
APPROVERS_MAX: Final = 16
NO_SLOT: Final = -1  # no rollout is known yet
# UTF-8 takes 4 bytes a character at most; JSON's escapes are not needed for any of them
assert 4 * (REASON_CHARACTERS_MAX + 100 * APPROVERS_MAX) + 70 * GROUPS_MAX < 14 * 1024
assert ACK_BYTES_MAX > 14 * 1024 + 1536  # and the other fields

_END: Final = r"$(?!\n)"  # a bare $ also matches before a last line break

DeviceName: TypeAlias = Annotated[str, Meta(pattern=f"^{NAME.pattern}{_END}")]
Word: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{0,64}" + _END)]
Hex32: TypeAlias = Annotated[str, Meta(pattern=r"^(?:[0-9a-f]{32})?" + _END)]
Digest: TypeAlias = Annotated[str, Meta(pattern=r"^(?:[0-9a-f]{64})?" + _END)]
Person: TypeAlias = Annotated[str, Meta(min_length=1, max_length=100)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
AckState: TypeAlias = Literal[
    "waiting",  # nothing is offered to this device: not in the cohort, or not yet
    "verified",  # the candidate's signatures hold
    "staged",  # it compiles, is above the floor, lies durably beside the active one
    "trial",  # it decides, and is watched
    "active",  # it decides, confirmed
    "refused",  # it never decided; rule says why
    "reverted",  # it decided, and was taken back; rule says why
    "lockdown",  # no policy decides: everything stays
    "local",  # the policy of the device's own files decides, no pushed one yet
]


class Ack(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The device's word on one step; ``number`` rises with each, across restarts.

    ``policy_*`` is what decides now. ``candidate_*`` and ``attempt`` are what ``state``
    speaks of, kept after ``active``, ``refused`` and ``reverted`` for as long as the
    signed rollout names that candidate; version 0: none is offered.
    """

    v: Literal[1] = 1
    device: DeviceName
    number: Count
    time_ns: Count  # of the step, by the device's clock
    boot: Word
    nonce: Hex32 = ""  # what a freshness answer must carry; "": none is asked for
    clock: Literal["good", "low"]
    root_version: Count = 0
    timestamp_version: Count = 0
    targets_version: Count = 0
    policy_name: Word = ""
    policy_version: Count = 0
    policy_digest: Digest = ""
    candidate_version: Count = 0
    candidate_digest: Digest = ""
    attempt: Count = 0
    state: AckState
    rule: Word = ""  # stable id of the refusal or revert, "" otherwise
    reason: Annotated[str, Meta(max_length=REASON_CHARACTERS_MAX)] = ""  # no values
    slot: Annotated[int, Meta(ge=NO_SLOT, le=9999)] = NO_SLOT
    groups: Annotated[tuple[DeviceName, ...], Meta(max_length=GROUPS_MAX)] = ()
    approvers: Annotated[tuple[Person, ...], Meta(max_length=APPROVERS_MAX)] = ()
    evidence_index: Annotated[int, Meta(ge=-1, le=2**63 - 1)] = -1  # -1: no entry yet
    since_ns: Count = 0  # when ``state`` was entered


def encode_ack(ack: Ack) -> bytes:
    """Return the JSON body; the reason printable and cut, WireError for all else."""
    reason = printable(ack.reason)[:REASON_CHARACTERS_MAX]
    body = msgspec.json.encode(msgspec.structs.replace(ack, reason=reason))
    decode_ack(body)  # what a reader would refuse is not sent
    return body


def decode_ack(body: bytes) -> Ack:
    """Return the ack; WireError where the body is none."""
    if len(body) > ACK_BYTES_MAX:
        raise WireError(ACK, f"larger than {ACK_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(body, type=Ack)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # msgspec names the field and what it wanted, never the value; an unknown
        # field's name is the sender's word and not repeated.
        unknown = "unknown field" in str(error)
        reason = "has an unknown field" if unknown else str(error)
        raise WireError(ACK, printable(reason)[:REASON_CHARACTERS_MAX]) from None


def pack_ack(ack: Ack, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the signed message; ``sign`` gives 64-byte Ed25519 signatures."""
    return pack_signed(ACK, encode_ack(ack), sign)


def open_ack(message: bytes, public_key: bytes, device: str) -> Ack:
    """Return the ack of ``device`` signed with ``public_key``, else WireError.

    The signature is verified before the body is parsed.
    """
    ack = decode_ack(open_signed(ACK, message, public_key, ACK_BYTES_MAX))
    if ack.device != device:
        raise WireError(ACK, "is of another device than its topic")
    return ack
