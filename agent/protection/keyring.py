"""The secrets that transforms need, injected: this stage can make none itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from collections.abc import Callable

MASTER_BYTES_MIN: Final = 32
KEYS_MAX: Final = 64  # derived keys kept at hand; a few purposes, few periods


def _no_entropy(size: int) -> bytes:
    raise ValueError(f"no entropy source was given for {size} bytes")


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Master key of the pseudonyms and the source of entropy for noise.

    ``master``: at least 32 secret random bytes of this device; destroying it makes
    every pseudonym unlinkable. ``entropy(n)`` returns n unpredictable bytes.
    """

    master: bytes = field(repr=False)
    entropy: Callable[[int], bytes] = field(default=_no_entropy, repr=False)
    _keys: dict[tuple[str, int], bytes] = field(
        default_factory=dict, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if len(self.master) < MASTER_BYTES_MIN:
            raise ValueError(f"the master key has under {MASTER_BYTES_MIN} bytes")

    def pseudonym_key(self, purpose: str, epoch: int) -> bytes:
        """Return the 32-byte key of a purpose and period.

        HKDF-SHA-256 (RFC 5869), no salt, info = "purpose/epoch" in UTF-8. The epoch is
        a plain integer, so no two pairs give one info.
        """
        key = self._keys.get((purpose, epoch))
        if key is None:
            info = f"{purpose}/{epoch}".encode()
            key = HKDF(SHA256(), 32, salt=None, info=info).derive(self.master)
            while len(self._keys) >= KEYS_MAX:
                self._keys.pop(next(iter(self._keys)))
            self._keys[purpose, epoch] = key
        return key
