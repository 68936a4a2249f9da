"""Rows of unequal length, one behind the other: where each lies, and its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from protocols.frames import I64, U8, U16, Bool


@dataclass(frozen=True, slots=True)
class Bytes:
    """The bytes of a batch, and the same as registers that begin at any of them."""

    chars: U8
    words: U16  # [len(chars) - 1] big-endian: words[i] is chars[i] << 8 | chars[i + 1]


def bytes_of(chars: U8) -> Bytes:
    """Return ``chars`` so that a register is one gather."""
    words = chars[:-1].astype(np.uint16)
    words <<= 8
    words |= chars[1:]
    return Bytes(chars, words)


def offsets(counts: I64) -> I64:
    """Return where each row begins, and behind the last one where it ends: [N + 1]."""
    made = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=made[1:])
    return made


def gather(data: Bytes, at: I64, counts: I64, coils: Bool, offset: I64) -> U16:
    """Return the values of all rows: ``counts[i]`` registers or coils from ``at[i]``.

    Coils are 0/1, the lowest bit of the first byte first (V1.1b3 clause 6.1).
    """
    total = int(offset[-1])
    if total == 0:
        return np.empty(0, np.uint16)
    packed = coils & (counts > 0)
    if not packed.any():
        where = np.repeat(at - 2 * offset[:-1], counts)
        where += np.arange(0, 2 * total, 2)
        return data.words[where]
    place = np.arange(total) - np.repeat(offset[:-1], counts)
    start = np.repeat(at, counts)
    bit = np.repeat(packed, counts)
    states = data.chars[start + (place >> 3)] >> (place & 7).astype(np.uint8) & 1
    return np.where(bit, states, data.words[np.where(bit, 0, start + 2 * place)])
