"""Samples as columns: where both buses meet.

``item`` indexes the compiled item table (``policies/tables.py``). ``raw`` is the
exact number that was on the wire; for items of kind FLOAT it is the bit pattern of the
float64 value, for kind UINT64 the two's complement view of the unsigned integer.
``value`` is the physical value: ``raw * scale + offset``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.frames import F64, I64, U8, U16, U32, Bool, Index


class Kind(IntEnum):
    """How ``raw`` is to be read."""

    INT = 0  # signed (or unsigned below 2**63) integer; value = raw * scale + offset
    UINT64 = 1  # raw.view(uint64); value = that * scale + offset
    FLOAT = 2  # raw.view(float64); value is that number itself
    TEXT = 3  # never in a SampleBatch: see TextBatch


@dataclass(frozen=True, slots=True)
class SampleBatch:
    """N numeric samples as columns, in order of time within an item."""

    time_ns: I64  # [N]
    item: U32  # [N] index into the item table
    raw: I64  # [N]
    value: F64  # [N] physical value in the item's unit

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.time_ns)

    def take(self, rows: Index | Bool | slice) -> SampleBatch:
        """Return the samples that ``rows`` selects."""
        return SampleBatch(
            self.time_ns[rows], self.item[rows], self.raw[rows], self.value[rows]
        )


@dataclass(frozen=True, slots=True)
class TextBatch:
    """N byte strings: VIN, ECU serials, device identification. Low rate by nature."""

    time_ns: I64  # [N]
    item: U32  # [N]
    text: tuple[bytes, ...]  # N of them

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.text)

    def take(self, rows: Index | Bool) -> TextBatch:
        """Return the texts that ``rows`` selects."""
        index = np.arange(len(self.text))[rows]
        return TextBatch(
            self.time_ns[rows],
            self.item[rows],
            tuple(self.text[i] for i in index.tolist()),
        )


@dataclass(frozen=True, slots=True)
class TransactionBatch:
    """N Modbus transactions: a request paired with its response; 0-based addresses.

    ``values`` holds the registers (or coils as 0/1) of all rows one behind the other;
    row i owns ``values[offset[i]:offset[i + 1]]``. ``table``: 0 coils, 1 discrete
    inputs, 3 input registers, 4 holding registers (first digit of the old notation).
    """

    time_ns: I64  # [N]
    link: U8  # [N] index into the caller's link table
    unit: U8  # [N]
    function: U8  # [N]
    table: U8  # [N]
    address: U16  # [N]
    count: U16  # [N]
    is_write: Bool  # [N]
    exception: U8  # [N] Modbus exception code, 0 none
    offset: I64  # [N + 1]
    values: U16  # [sum of counts]

    def __len__(self) -> int:
        """Return the number of transactions."""
        return len(self.time_ns)


def empty_samples() -> SampleBatch:
    """Return a batch of no samples."""
    return SampleBatch(
        np.empty(0, np.int64),
        np.empty(0, np.uint32),
        np.empty(0, np.int64),
        np.empty(0, np.float64),
    )


def concat_samples(batches: Sequence[SampleBatch]) -> SampleBatch:
    """Join batches in order."""
    if not batches:
        return empty_samples()
    if len(batches) == 1:
        return batches[0]
    return SampleBatch(
        np.concatenate([b.time_ns for b in batches]),
        np.concatenate([b.item for b in batches]),
        np.concatenate([b.raw for b in batches]),
        np.concatenate([b.value for b in batches]),
    )


def empty_texts() -> TextBatch:
    """Return a batch of no texts."""
    return TextBatch(np.empty(0, np.int64), np.empty(0, np.uint32), ())


def concat_texts(batches: Sequence[TextBatch]) -> TextBatch:
    """Join batches in order."""
    if not batches:
        return empty_texts()
    return TextBatch(
        np.concatenate([b.time_ns for b in batches]),
        np.concatenate([b.item for b in batches]),
        tuple(text for b in batches for text in b.text),
    )


def raw_of_floats(values: F64) -> I64:
    """Return the bit patterns that ``raw`` holds for items of kind FLOAT."""
    return np.ascontiguousarray(values, np.float64).view(np.int64)
