"""What the transforms of one rule pass along: rows, texts, and the tally of losses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agent.records import Outcome
from protocols.samples import (
    SampleBatch,
    TextBatch,
    concat_samples,
    empty_samples,
    empty_texts,
    raw_of_floats,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.track import Track
    from protocols.frames import F64, I64, U32, Bool, Index

Column: TypeAlias = NDArray[np.bool_] | NDArray[np.float64]
# What became of samples: outcome, item of each, and how many each stands for (None: 1).
Cell: TypeAlias = "tuple[Outcome, U32, I64 | None]"


@dataclass(frozen=True, slots=True)
class Rows:
    """Samples with what the position steps found out about them on arrival."""

    samples: SampleBatch  # [N]
    columns: tuple[Column, ...] = ()  # [N] each, one per position step

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def take(self, rows: Index | Bool | slice) -> Rows:
        """Return the rows that ``rows`` selects."""
        return Rows(self.samples.take(rows), tuple(c[rows] for c in self.columns))

    def with_values(self, value: F64) -> Rows:
        """Return the rows with new values [N]; raw becomes their bit patterns."""
        # -0.0 would tell that a rounded value was negative.
        value = value + 0.0
        samples = SampleBatch(
            self.samples.time_ns, self.samples.item, raw_of_floats(value), value
        )
        return Rows(samples, self.columns)


def concat_rows(parts: Sequence[Rows]) -> Rows:
    """Join rows in order; they must have the same columns."""
    if len(parts) == 1:
        return parts[0]
    width = len(parts[0].columns) if parts else 0
    columns: list[NDArray[Any]] = [
        np.concatenate([part.columns[i] for part in parts]) for i in range(width)
    ]
    return Rows(concat_samples([part.samples for part in parts]), tuple(columns))


class Tally:
    """Where samples went that do not come out at the end. Items and numbers only."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.cells: list[Cell] = []

    def add(self, outcome: Outcome, item: U32, weight: I64 | None = None) -> None:
        """Count samples of these items [N]; ``weight`` [N]: how many each is."""
        if len(item):
            self.cells.append((outcome, item, weight))


@dataclass(slots=True)
class Flow:
    """One batch on its way through one rule; steps replace ``rows`` and ``texts``."""

    rows: Rows
    texts: TextBatch
    track: Track
    now_ns: int
    tally: Tally = field(default_factory=Tally)

    def keep(self, mask: Bool, outcome: Outcome) -> None:
        """Keep the rows where ``mask`` [N] holds; the others end with ``outcome``."""
        if not mask.all():
            self.tally.add(outcome, self.rows.samples.item[~mask])
            self.rows = self.rows.take(mask)

    def keep_texts(self, mask: Bool, outcome: Outcome) -> None:
        """Keep the texts where ``mask`` [N] holds; the others end with ``outcome``."""
        if not mask.all():
            self.tally.add(outcome, self.texts.item[~mask])
            self.texts = self.texts.take(mask)

    def fail_texts(self) -> None:
        """Refuse all texts: this step makes no sense on them (fail closed)."""
        self.tally.add(Outcome.FAILED, self.texts.item)
        self.texts = empty_texts()

    def fail_rows(self) -> None:
        """Refuse all rows: this step makes no sense on numbers (fail closed)."""
        self.tally.add(Outcome.FAILED, self.rows.samples.item)
        self.rows = Rows(empty_samples(), tuple(c[:0] for c in self.rows.columns))


class Step(Protocol):
    """One transform of one rule, with its state from batch to batch."""

    def apply(self, flow: Flow) -> None:
        """Replace ``flow.rows`` and ``flow.texts``; tally what does not go on."""

    def held(self) -> tuple[tuple[U32, I64 | None], ...]:
        """Return items (and how many samples each stands for) that wait in here."""


def by_item(item: U32, time_ns: I64) -> tuple[Index, Index]:
    """Return (order, heads): rows sorted by item and time, start of each item in it.

    Stable: equal times keep their order. Batches are in order of time within an item by
    contract; where one is not, this sorts it so.
    """
    order = np.argsort(item.astype(np.uint16) if _narrow(item) else item, kind="stable")
    sorted_item, sorted_time = item[order], time_ns[order]
    same = sorted_item[1:] == sorted_item[:-1]
    if (same & (sorted_time[1:] < sorted_time[:-1])).any():
        order = np.lexsort((time_ns, item))
        sorted_item = item[order]
        same = sorted_item[1:] == sorted_item[:-1]
    heads = np.flatnonzero(
        np.concatenate((np.ones(min(1, len(item)), np.bool_), ~same))
    )
    return order, heads


def _narrow(item: U32) -> bool:
    """Tell whether 16 bits hold the items: numpy then sorts by radix."""
    return not len(item) or int(item.max()) < 65_536
