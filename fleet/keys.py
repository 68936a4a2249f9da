"""A recipient's private keys: made, kept in one file of mode 0600, shown as a card.

The file is JSON; who can read it can open everything that was sealed to its owner. It
is refused where group or others may read it. The private half of the hybrid key is kept
as FIPS 203 seed and X25519 scalar, apart from the plain X25519 key: no key serves two
suites.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt  # noqa: TC003  # msgspec reads the annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    Suite,
)

from fleet.errors import BadInput
from fleet.files import read_private, write_private
from protocols.envelope import MLKEM768X25519, X25519
from protocols.recipients import SCHEMA as CARD_SCHEMA
from protocols.recipients import RecipientCard

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA: Final = "sluicegate/recipient-keys/1"
FILE_BYTES_MAX: Final = 16 * 1024
_SEED_BYTES: Final = 64  # d || z, FIPS 203 section 7.1


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file's form; key fields are base64."""

    schema: str
    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$(?!\n)")]
    x25519: str
    mlkem768_seed: str
    mlkem768_x25519: str
    receipt_ed25519: str
    not_before: dt.date
    not_after: dt.date


@dataclass(frozen=True)
class RecipientKeys:
    """What opens, and signs receipts. Never printed: ``repr`` names the owner only."""

    name: str
    x25519: X25519PrivateKey
    mlkem: MLKEM768PrivateKey
    mlkem_x25519: X25519PrivateKey
    receipt: Ed25519PrivateKey
    not_before: dt.date
    not_after: dt.date

    def __repr__(self) -> str:
        return f"RecipientKeys({self.name!r})"

    def card(self) -> RecipientCard:
        """Return the public card."""
        hybrid = (
            self.mlkem.public_key().public_bytes_raw()
            + self.mlkem_x25519.public_key().public_bytes_raw()
        )
        return RecipientCard(
            CARD_SCHEMA,
            self.name,
            _text(self.x25519.public_key().public_bytes_raw()),
            _text(hybrid),
            _text(self.receipt.public_key().public_bytes_raw()),
            self.not_before,
            self.not_after,
        )

    def unwrap(self, suite: str, wrapped: bytes, info: bytes) -> bytes:
        """Return the data key of a wrap; InvalidTag where it is not for this key."""
        if suite == X25519:
            return _X25519.decrypt(wrapped, self.x25519, info)
        if suite == MLKEM768X25519:
            private = MLKEM768X25519PrivateKey(self.mlkem, self.mlkem_x25519)
            return _MLKEM768X25519.decrypt(wrapped, private, info)
        raise ValueError(f"no key for suite {suite}")

    def sign(self, message: bytes) -> bytes:
        """Return the receipt key's 64-byte Ed25519 signature."""
        return self.receipt.sign(message)


_X25519: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_MLKEM768X25519: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def generate(name: str, not_before: dt.date, not_after: dt.date) -> RecipientKeys:
    """Return new keys, good from the first to the last day (UTC), both included."""
    return RecipientKeys(
        name,
        X25519PrivateKey.generate(),
        MLKEM768PrivateKey.generate(),
        X25519PrivateKey.generate(),
        Ed25519PrivateKey.generate(),
        not_before,
        not_after,
    )


def save(keys: RecipientKeys, path: Path) -> None:
    """Write the key file, mode 0600, durably; BadInput where it exists or cannot be."""
    data = msgspec.json.format(msgspec.json.encode(_form(keys)), indent=2) + b"\n"
    write_private(path, data)


def load(path: Path) -> RecipientKeys:
    """Return the keys of a file; BadInput with one clear line, never with a key."""
    data = read_private(path, FILE_BYTES_MAX)
    return _parsed(str(path), data)


def _parsed(file: str, data: bytes) -> RecipientKeys:
    try:
        form = msgspec.json.decode(data, type=_File)
    except msgspec.ValidationError as error:
        raise BadInput(file, "", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadInput(file, "", "is not JSON") from None  # never quote: it holds keys
    if form.schema != SCHEMA:
        raise BadInput(file, "schema", f"is not {SCHEMA}")
    if form.not_after < form.not_before:
        raise BadInput(file, "not_after", "is before not_before")

    def octets(field: str, size: int) -> bytes:
        try:
            found = base64.b64decode(getattr(form, field), validate=True)
        except (binascii.Error, ValueError):
            raise BadInput(file, field, "is not base64") from None
        if len(found) != size:
            raise BadInput(file, field, f"has {len(found)} bytes, not {size}")
        return found

    return RecipientKeys(
        form.name,
        X25519PrivateKey.from_private_bytes(octets("x25519", 32)),
        MLKEM768PrivateKey.from_seed_bytes(octets("mlkem768_seed", _SEED_BYTES)),
        X25519PrivateKey.from_private_bytes(octets("mlkem768_x25519", 32)),
        Ed25519PrivateKey.from_private_bytes(octets("receipt_ed25519", 32)),
        form.not_before,
        form.not_after,
    )


def _form(keys: RecipientKeys) -> _File:
    return _File(
        SCHEMA,
        keys.name,
        _text(keys.x25519.private_bytes_raw()),
        _text(keys.mlkem.private_bytes_raw()),
        _text(keys.mlkem_x25519.private_bytes_raw()),
        _text(keys.receipt.private_bytes_raw()),
        keys.not_before,
        keys.not_after,
    )


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")
