"""The life of an epoch: a fresh data key, wrapped and announced, then only counted.

One epoch per (destination, label, kind, consent) and per start, policy or day. Nothing
about nonces is persisted: a new process makes new keys (DESIGN section 7). The data
key exists here only until it is wrapped; the device keeps the AEAD key of running
epochs and nothing that could read what was sealed before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PublicKey,
    Suite,
)

from protocols.announcement import (
    DICTIONARY_SEQUENCE,
    Announcement,
    Wrap,
    context,
    dictionary_data,
    encode_announcement,
    wrap_info,
)
from protocols.envelope import (
    EPOCH_BYTES,
    KEY_BYTES,
    MLKEM768X25519,
    OPEN,
    X25519,
    derive_keys,
    nonce,
)
from protocols.recipients import MLKEM768_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.ports import Signer
    from agent.protection.vocabulary import Wording
    from protocols.recipients import RecipientCard

BATCHES_MAX: Final = 2**20  # far below the 2**32 of NIST SP 800-38D section 8.3
LIFE_NS: Final = 24 * 3600 * 1_000_000_000

# RFC 9180 ciphersuites: KEM 0x0020 DHKEM(X25519, HKDF-SHA256), KEM 0x647a X-Wing
_HPKE: Final = {
    X25519: Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
    MLKEM768X25519: Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
}


@dataclass(frozen=True, slots=True)
class Place:
    """What an epoch is for; the key under which the sealer finds it again."""

    destination: str
    label: int
    kind: str  # data | event | keep
    suite: str
    consent: str = ""  # that all of it was released under


@dataclass(slots=True)
class Epoch:
    """A running epoch. Written by the sealer only."""

    epoch: bytes
    place: Place
    aead: AESGCM | None  # None where the suite is open
    born_ns: int
    wording: Wording  # what its column numbers mean
    sequence: int = 0  # last used

    def is_over(self, now_ns: int) -> bool:
        """Tell whether a new epoch is due; a clock that jumped back does not decide."""
        return self.sequence >= BATCHES_MAX or now_ns - self.born_ns >= LIFE_NS


def wrap_key(
    data_key: bytes, suite: str, card: RecipientCard, context_bytes: bytes
) -> Wrap:
    """Return the data key sealed to one recipient (HPKE base mode, single shot)."""
    raw = card.public_key(suite)
    public: X25519PublicKey | MLKEM768X25519PublicKey
    if suite == X25519:
        public = X25519PublicKey.from_public_bytes(raw)
    else:
        public = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(raw[:MLKEM768_KEY_BYTES]),
            X25519PublicKey.from_public_bytes(raw[MLKEM768_KEY_BYTES:]),
        )
    wrapped = _HPKE[suite].encrypt(data_key, public, wrap_info(context_bytes))
    return Wrap(card.name, card.key_id(suite), wrapped)


def begin(
    place: Place,
    cards: Sequence[RecipientCard],
    words: tuple[Wording, bytes],
    boot: bytes,
    signer: Signer,
    entropy: Callable[[int], bytes],
    now_ns: int,
) -> tuple[Epoch, bytes]:
    """Return a new epoch and its signed announcement.

    ``words``: the dictionary, and the content with its definitions. ``entropy(n)``
    gives n bytes of a cryptographic random source.
    """
    wording, dictionary = words
    epoch = entropy(EPOCH_BYTES)
    ties = context(place.suite, signer.device, epoch, place.destination, place.label)
    aead: AESGCM | None = None
    commitment = b""
    wraps: tuple[Wrap, ...] = ()
    if place.suite != OPEN:
        data_key = entropy(KEY_BYTES)
        keys = derive_keys(data_key, place.suite, signer.device, epoch)
        aead, commitment = AESGCM(keys.key), keys.commitment
        wraps = tuple(wrap_key(data_key, place.suite, card, ties) for card in cards)
        dictionary = aead.encrypt(
            nonce(DICTIONARY_SEQUENCE), dictionary, dictionary_data(ties)
        )
    said = Announcement(
        place.suite, signer.device, epoch, place.destination, place.label, boot, now_ns,
        commitment, wraps, dictionary,
    )  # fmt: skip
    message = encode_announcement(said, signer.sign)
    return Epoch(epoch, place, aead, now_ns, wording), message
