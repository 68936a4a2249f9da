"""A recipient card: the public keys of somebody who may open what is sealed to them.

JSON, one card a file, made by ``sluicectl keys`` and copied to the gateways by the same
way as their configuration: who can change that directory can name recipients, so a card
carries no signature of its own; its digest is printed on both sides to be compared.
docs/formats/envelope.md section 7.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
from typing import Annotated, Final

import msgspec

from protocols.announcement import KEY_ID_BYTES
from protocols.envelope import MLKEM768X25519, X25519
from protocols.errors import WireError
from protocols.plain import printable

SCHEMA: Final = "sluicegate/recipient/1"
CARD_BYTES_MAX: Final = 16 * 1024
X25519_KEY_BYTES: Final = 32  # RFC 7748
MLKEM768_KEY_BYTES: Final = 1184  # encapsulation key, FIPS 203 table 3
PUBLIC_KEY_BYTES: Final = {
    X25519: X25519_KEY_BYTES,
    MLKEM768X25519: MLKEM768_KEY_BYTES + X25519_KEY_BYTES,
}
_CARD: Final = "recipient card"


class RecipientCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who they are, their public keys (base64), and how long these are good."""

    schema: str
    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$(?!\n)")]
    x25519: str  # 32 bytes
    mlkem768x25519: str  # 1184 bytes ML-KEM-768 ek, then 32 bytes X25519
    receipt_ed25519: str  # 32 bytes: signs receipts, where they run a collector
    not_before: dt.date
    not_after: dt.date  # the last good day, UTC

    def public_key(self, suite: str) -> bytes:
        """Return the raw public key for a suite; ValueError where there is none."""
        if suite == X25519:
            return base64.b64decode(self.x25519)
        if suite == MLKEM768X25519:
            return base64.b64decode(self.mlkem768x25519)
        raise ValueError(f"{self.name}: no key for suite {suite}")

    def key_id(self, suite: str) -> bytes:
        """Return the first 16 bytes of SHA-256 of the public key for a suite."""
        return key_id(self.public_key(suite))

    def receipt_key(self) -> bytes:
        """Return the 32-byte Ed25519 key that signs receipts."""
        return base64.b64decode(self.receipt_ed25519)

    def check(self, now_s: float) -> None:
        """Return where the card is good at ``now_s`` (s since the epoch).

        ValueError with the reason otherwise, such as ``expired on 2026-12-31``.
        """
        today = dt.datetime.fromtimestamp(now_s, dt.UTC).date()
        if today < self.not_before:
            raise ValueError(f"not valid before {self.not_before.isoformat()}")
        if today > self.not_after:
            raise ValueError(f"expired on {self.not_after.isoformat()}")

    def digest(self) -> str:
        """Return SHA-256 (hex) of the card's canonical form, for people to compare."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


def key_id(public_key: bytes) -> bytes:
    """Return what an announcement names a public key by."""
    return hashlib.sha256(public_key).digest()[:KEY_ID_BYTES]


def encode_card(card: RecipientCard) -> bytes:
    """Return the card as a file's bytes."""
    return msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n"


def parse_card(data: bytes) -> RecipientCard:
    """Return the card of a file's bytes; WireError with the field and the reason."""
    if len(data) > CARD_BYTES_MAX:
        raise WireError(_CARD, f"larger than {CARD_BYTES_MAX} bytes")
    try:
        card = msgspec.json.decode(data, type=RecipientCard)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError(_CARD, _without_values(str(error))) from None
    if card.schema != SCHEMA:
        raise WireError(_CARD, f"schema is not {SCHEMA}")
    _check_key("x25519", card.x25519, PUBLIC_KEY_BYTES[X25519])
    _check_key("mlkem768x25519", card.mlkem768x25519, PUBLIC_KEY_BYTES[MLKEM768X25519])
    _check_key("receipt_ed25519", card.receipt_ed25519, 32)
    if card.not_after < card.not_before:
        raise WireError(_CARD, "not_after is before not_before")
    return card


def _check_key(field: str, text: str, size: int) -> None:
    try:
        found = len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise WireError(_CARD, f"{field} is not base64") from None
    if found != size:
        raise WireError(_CARD, f"{field} has {found} bytes, not {size}")


def _without_values(reason: str) -> str:
    """Return msgspec's reason; it names fields and types, and quotes unknown fields."""
    return printable(reason)[:200]
