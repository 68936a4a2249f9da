"""Takes names and values out of what leaves in a support bundle. Pure.

Names (device, fleet, hosts) become the same short word wherever they stand in one
bundle, under a key that only that bundle had: who reads it can follow one device
through it, and cannot tell which device it is, nor join two bundles.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WORD_CHARACTERS: Final = 8

# ISO 3779: 17 of digits and letters but I, O, Q. At least a letter and a digit, else
# a number of nanoseconds would be one.
VIN: Final = re.compile(
    r"(?<![A-Za-z0-9])(?=[A-HJ-NPR-Z0-9]*[0-9])(?=[A-HJ-NPR-Z0-9]*[A-HJ-NPR-Z])"
    r"[A-HJ-NPR-Z0-9]{17}(?![A-Za-z0-9])"
)
# Four decimals of a degree are 11 m: the coarsest that names a house. A full stop or a
# letter (48.1371N) may stand behind it.
COORDINATE: Final = re.compile(r"(?<![\d.])[-+]?\d{1,3}\.\d{4,}(?!\.?\d)")
MAC: Final = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}(?![\w:])")
IPV4: Final = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)")
IPV6: Final = re.compile(
    r"(?<![\w:])(?:(?:[0-9A-Fa-f]{0,4}:){3,7}[0-9A-Fa-f]{1,4}"
    r"|(?:[0-9A-Fa-f]{1,4}:){1,6}:(?:[0-9A-Fa-f]{1,4})?)(?!\w)"
)
PIN: Final = re.compile(r"(pin-value=)[^&;\s\"']+")  # of a PKCS#11 URI, taken or not
PEM: Final = re.compile(
    r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)", re.DOTALL
)
LOOPBACK: Final = re.compile(r"127(?:\.\d{1,3}){3}|0\.0\.0\.0|::1?")


class Mask:
    """Replaces what it knows by name, and what looks like a name or a value."""

    def __init__(self, key: bytes, known: Iterable[tuple[str, str]]) -> None:
        """``key``: 16 to 64 random bytes; ``known``: (kind, text) to be replaced."""
        self._key = key
        words = {text: self.word(kind, text) for kind, text in known if text}
        longest_first = sorted(words, key=len, reverse=True)
        self._words: Mapping[str, str] = words
        self._known = (
            re.compile("|".join(map(re.escape, longest_first))) if words else None
        )

    def word(self, kind: str, text: str) -> str:
        """Return what stands for ``text``: the kind and a short keyed digest."""
        digest = hashlib.blake2s(text.encode("utf-8", "replace"), key=self._key[:32])
        return f"{kind}-{digest.hexdigest()[:WORD_CHARACTERS]}"

    def names(self, text: str) -> str:
        """Return ``text`` without known names, addresses, VINs and PEM blocks."""
        text = PIN.sub(r"\1[taken out]", PEM.sub("[PEM taken out]", text))
        if self._known is not None:
            text = self._known.sub(lambda found: self._words[found[0]], text)
        text = VIN.sub(lambda found: self.word("vin", found[0]), text)
        text = MAC.sub(lambda found: self.word("mac", found[0]), text)
        for pattern in (IPV4, IPV6):
            text = pattern.sub(self._address, text)
        return text

    def values(self, text: str) -> str:
        """Return ``text`` also without numbers that could be a position."""
        return COORDINATE.sub("#.####", self.names(text))

    def _address(self, found: re.Match[str]) -> str:
        text = found[0]
        return text if LOOPBACK.fullmatch(text) else self.word("address", text)


def leaks(text: str, secrets: Iterable[str]) -> str:
    """Return what must not be in ``text`` and is, in words; "" where it is clean."""
    if "PRIVATE KEY" in text:
        return "a private key"
    if any(secret and secret in text for secret in secrets):
        return "a secret of this device"
    if VIN.search(text):
        return "what looks like a VIN"
    return ""
