"""The announcement of an epoch: msgpack ``[body, signature]``, signed by the device.

It carries the data key, HPKE-wrapped (RFC 9180) to each recipient, the commitment to
it, and the dictionary: what the column numbers of the epoch's batches mean, sealed
under the epoch's key with sequence 0. docs/formats/envelope.md section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocols.envelope import (
    DIGEST_BYTES,
    OPEN,
    SUITES,
    VERSION,
    check_place,
    pack,
    suite_name,
    unpacked,
)
from protocols.errors import WireError
from protocols.labels import unpack
from protocols.signed import domain, open_signed, pack_signed

if TYPE_CHECKING:
    from collections.abc import Callable

ANNOUNCEMENT: Final = "announcement"
ANNOUNCEMENT_BYTES_MAX: Final = 1024 * 1024
KEY_ID_BYTES: Final = 16
BOOT_BYTES: Final = 16
WRAPS_MAX: Final = 64
DICTIONARY_SEQUENCE: Final = 0  # batches count from 1


@dataclass(frozen=True, slots=True)
class Wrap:
    """The data key for one recipient."""

    recipient: str
    key_id: bytes  # first 16 bytes of SHA-256 of the recipient's public key
    wrapped: bytes  # HPKE enc || ct


@dataclass(frozen=True, slots=True)
class Announcement:
    """An epoch as the device told it."""

    suite: str
    device: str
    epoch: bytes
    destination: str
    label: int  # packed
    boot: bytes  # 16 bytes
    created_ns: int
    commitment: bytes  # 32 bytes; empty where suite is open
    wraps: tuple[Wrap, ...]  # none where suite is open
    dictionary: bytes  # content of definitions alone; sealed unless suite is open


def context(
    suite: str, device: str, epoch: bytes, destination: str, label: int
) -> bytes:
    """Return what ties a wrap and a dictionary to their epoch."""
    return pack([VERSION, SUITES[suite], device, epoch, destination, label])


def wrap_info(context_bytes: bytes) -> bytes:
    """Return the ``info`` of the HPKE key schedule (RFC 9180 section 5.1)."""
    return domain("epoch-wrap") + context_bytes


def dictionary_data(context_bytes: bytes) -> bytes:
    """Return the associated data of the sealed dictionary."""
    return domain("dictionary") + context_bytes


def encode_announcement(said: Announcement, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the signed message."""
    body = pack(
        [
            VERSION,
            SUITES[said.suite],
            said.device,
            said.epoch,
            said.destination,
            said.label,
            str(unpack(said.label)),
            said.boot,
            said.created_ns,
            said.commitment,
            [[wrap.recipient, wrap.key_id, wrap.wrapped] for wrap in said.wraps],
            said.dictionary,
        ]
    )
    return pack_signed(ANNOUNCEMENT, body, sign)


def open_announcement(message: bytes, public_key: bytes) -> Announcement:
    """Return the announcement, its signature verified before its body is parsed.

    ``public_key``: the 32-byte Ed25519 key of the device that the topic names. The
    caller compares the device's name. WireError where anything is wrong.
    """
    body = open_signed(ANNOUNCEMENT, message, public_key, ANNOUNCEMENT_BYTES_MAX)
    return _parse(body)


def _parse(body: bytes) -> Announcement:
    match unpacked(ANNOUNCEMENT, body, ANNOUNCEMENT_BYTES_MAX, WRAPS_MAX):
        case [
            int(version), int(suite), str(device), bytes(epoch), str(destination),
            int(label), str(text), bytes(boot), int(created_ns), bytes(commitment),
            list(wraps), bytes(dictionary),
        ]:  # fmt: skip
            pass
        case _:
            raise WireError(ANNOUNCEMENT, "has not the twelve fields")
    if version != VERSION:
        raise WireError(ANNOUNCEMENT, f"version {version} is not {VERSION}")
    name = suite_name(ANNOUNCEMENT, suite)
    check_place(ANNOUNCEMENT, device, epoch, destination, label)
    if text != str(unpack(label)):
        raise WireError(ANNOUNCEMENT, "the two forms of the label differ")
    if len(boot) != BOOT_BYTES or not -(2**63) <= created_ns < 2**63:
        raise WireError(ANNOUNCEMENT, "boot or time out of range")
    if len(commitment) != (0 if name == OPEN else DIGEST_BYTES):
        raise WireError(ANNOUNCEMENT, f"a commitment of {len(commitment)} bytes")
    if name == OPEN and wraps:
        raise WireError(ANNOUNCEMENT, "an open epoch has no key to wrap")
    return Announcement(
        name, device, epoch, destination, label, boot, created_ns, commitment,
        tuple(map(_wrap, wraps)), dictionary,
    )  # fmt: skip


def _wrap(row: object) -> Wrap:
    match row:
        case [str(recipient), bytes(key_id), bytes(wrapped)] if (
            len(key_id) == KEY_ID_BYTES
        ):
            return Wrap(recipient, key_id, wrapped)
    raise WireError(ANNOUNCEMENT, "a wrap is not [recipient, key id, wrapped]")
