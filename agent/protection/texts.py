"""Transforms that give text: mask and pseudonymise. Low rate: these may loop."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b32encode
from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.samples import Kind, TextBatch, concat_texts

if TYPE_CHECKING:
    from agent.protection.keyring import KeyRing
    from agent.protection.rows import Flow
    from policies.tables import ItemTable, Mask, Pseudonymise
    from protocols.frames import I64, U32
    from protocols.samples import SampleBatch

PSEUDONYM_CHARACTERS: Final = 26  # of base32: 130 bits of the HMAC


class MaskStep:
    """Text: all but the first and last so many characters become ``*``."""

    def __init__(self, mask: Mask) -> None:
        """ValueError where a length is negative."""
        if mask.keep_first < 0 or mask.keep_last < 0:
            raise ValueError("mask: a length is negative")
        self._first = mask.keep_first
        self._last = mask.keep_last

    def apply(self, flow: Flow) -> None:
        """Mask texts; numbers have no characters to mask and fail."""
        flow.fail_rows()
        texts = flow.texts
        masked = tuple(map(self.masked, texts.text))
        flow.texts = TextBatch(texts.time_ns, texts.item, masked)

    def held(self) -> tuple[tuple[U32, I64 | None], ...]:
        """Return nothing."""
        return ()

    def masked(self, text: bytes) -> bytes:
        """Return the masked text; one too short to hide anything becomes all ``*``.

        Characters are those of UTF-8, or bytes where the text is none.
        """
        try:
            letters = text.decode("utf-8")
        except UnicodeDecodeError:
            letters = text.decode("latin-1")
        hidden = len(letters) - self._first - self._last
        if hidden <= 0:
            return b"*" * len(letters)
        end = letters[len(letters) - self._last :]
        return (letters[: self._first] + "*" * hidden + end).encode("utf-8")


class PseudonymiseStep:
    """base32(HMAC-SHA-256(key of purpose and period, category 00 value))[:26].

    inspection.md section 4.2. The period is ``time // period_ns``. A number is taken as
    ``repr`` of the exact raw number (of the float for items of kind FLOAT).
    """

    def __init__(
        self, transform: Pseudonymise, items: ItemTable, keyring: KeyRing
    ) -> None:
        """ValueError where the period is not positive or the purpose is empty."""
        if transform.period_ns <= 0 or not transform.purpose:
            raise ValueError("pseudonymise: senseless parameters")
        self._transform = transform
        self._items = items
        self._keyring = keyring

    def apply(self, flow: Flow) -> None:
        """Turn texts and numbers into pseudonyms; all of them are texts afterwards."""
        texts = concat_texts([flow.texts, self._written(flow.rows.samples)])
        epochs = (texts.time_ns // self._transform.period_ns).tolist()
        rows = zip(texts.item.tolist(), epochs, texts.text, strict=True)
        known: dict[tuple[int, int, bytes], bytes] = {}
        names: list[bytes] = []
        for row in rows:
            if row not in known:
                known[row] = self.pseudonym(*row)
            names.append(known[row])
        flow.texts = TextBatch(texts.time_ns, texts.item, tuple(names))
        flow.rows = flow.rows.take(slice(0, 0))

    def held(self) -> tuple[tuple[U32, I64 | None], ...]:
        """Return nothing."""
        return ()

    def pseudonym(self, item: int, epoch: int, text: bytes) -> bytes:
        """Return the 26 ASCII characters that stand for ``text``."""
        key = self._keyring.pseudonym_key(self._transform.purpose, epoch)
        message = self._items.category[item].encode() + b"\x00" + text
        digest = hmac.new(key, message, hashlib.sha256).digest()
        return b32encode(digest)[:PSEUDONYM_CHARACTERS]

    def _written(self, samples: SampleBatch) -> TextBatch:
        """Return numbers as text; each distinct (kind, raw) is written once."""
        kind = self._items.kind[samples.item]
        texts = np.empty(len(samples), object)
        for code, dtype in ((Kind.INT, "i8"), (Kind.UINT64, "u8"), (Kind.FLOAT, "f8")):
            rows = np.flatnonzero(kind == int(code))
            raw, back = np.unique(samples.raw[rows], return_inverse=True)
            written = [repr(number).encode() for number in raw.view(dtype).tolist()]
            texts[rows] = np.array([*written, b""], object)[back]
        return TextBatch(samples.time_ns, samples.item, tuple(texts.tolist()))
