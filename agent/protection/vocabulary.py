"""What the column numbers of an epoch mean: a dictionary made once from the policy.

A column is one item as one rule released it: its category, purpose and statistic come
from the rule. The dictionary of an epoch holds every column that the policy could put
there; a batch with another one (very large policies) defines it for itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from agent.protection.transforms import gives_floats
from policies.tables import Action, Aggregate
from protocols.columns import Rows
from protocols.content import Definition
from protocols.samples import Kind, TextBatch, concat_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.protection.bundles import Part
    from policies.tables import CompiledPolicy, CompiledRule
    from protocols.frames import I32, Bool, Index

DICTIONARY_MAX: Final = 8192  # entries; about 100 kB in an announcement
_NONE: Final = -1

Variant: TypeAlias = "tuple[int, str, bool]"  # rule, statistic, whether raw is floats


@dataclass(frozen=True, slots=True)
class Wording:
    """Columns 0..D-1 of an epoch."""

    numbers: dict[Variant, I32]  # [items] column number, -1 where it has none
    definitions: dict[int, Definition]
    is_float: Bool  # [D]


@dataclass(frozen=True, slots=True)
class Worded:
    """Parts of a bundle, joined; what their columns mean beyond the dictionary."""

    rows: Rows
    texts: TextBatch
    row_edges: Index  # [parts + 1] where each part's rows begin
    text_edges: Index  # [parts + 1]
    is_float: Bool  # [columns]
    definitions: dict[int, Definition]  # this batch's own

    @property
    def size(self) -> int:
        """Return how many rows and texts there are."""
        return len(self.rows) + len(self.texts)

    def halves(self) -> tuple[Worded, Worded]:
        """Return the first and the second half of rows and texts; needs two of them."""
        rows, texts = len(self.rows), len(self.texts)
        row, text = (rows + 1) // 2, texts // 2  # neither half is empty
        return (
            self._cut(slice(0, row), slice(0, text)),
            self._cut(slice(row, rows), slice(text, texts)),
        )

    def _cut(self, rows: slice, texts: slice) -> Worded:
        return replace(
            self,
            rows=self.rows.take(rows),
            texts=self.texts.take(np.arange(len(self.texts))[texts]),
            row_edges=np.clip(self.row_edges, rows.start, rows.stop) - rows.start,
            text_edges=np.clip(self.text_edges, texts.start, texts.stop) - texts.start,
        )


class Vocabulary:
    """Names the columns of one policy."""

    def __init__(self, policy: CompiledPolicy) -> None:
        """Take the policy's tables."""
        self._policy = policy

    def dictionary(
        self, destination: int, label: int, action: Action, *, texts_only: bool
    ) -> Wording:
        """Return the columns that rules of ``destination`` may release under ``label``.

        ``texts_only``: of an epoch of events, which are texts.
        """
        policy = self._policy
        chain = policy.destinations[destination].chain
        numbers: dict[Variant, I32] = {}
        definitions: dict[int, Definition] = {}
        for number, rule in enumerate(policy.rules):
            if rule.destination != destination or rule.action != action:
                continue
            items = np.flatnonzero(
                (rule.label_out == label) & (chain == number).any(axis=1)
            )
            if texts_only:
                items = items[policy.items.kind[items] == Kind.TEXT]
            for statistic in _statistics(rule):
                room = DICTIONARY_MAX - len(definitions)
                variant = (number, statistic, gives_floats(rule))
                numbers[variant] = self._name(variant, items[:room], definitions)
        return Wording(numbers, definitions, _floats(definitions, 0))

    def word(self, wording: Wording, pieces: Sequence[Part]) -> Worded:
        """Return the pieces with column numbers in place of items."""
        own: dict[int, Definition] = {}
        numbers = dict(wording.numbers)
        first = len(wording.definitions)
        rows: list[Rows] = []
        texts: list[TextBatch] = []
        for piece in pieces:
            released = piece.released
            variant = (released.rule, released.statistic, piece.is_float)
            samples, told = released.samples, released.texts
            table = numbers.get(variant)
            if table is None:
                table = np.full(len(self._policy.items), _NONE, np.int32)
            items = np.concatenate([samples.item, told.item])
            missing = np.unique(items[table[items] == _NONE])
            if len(missing):
                fresh = self._name(variant, missing, own, first)
                table = np.where(table == _NONE, fresh, table)
                numbers[variant] = table
            column = table[samples.item].astype(np.uint32)
            rows.append(Rows(samples.time_ns, column, samples.raw))
            texts.append(replace(told, item=table[told.item].astype(np.uint32)))
        return Worded(
            Rows(
                np.concatenate([part.time_ns for part in rows]),
                np.concatenate([part.column for part in rows]),
                np.concatenate([part.raw for part in rows]),
            ),
            concat_texts(texts),
            np.cumsum([0, *map(len, rows)]),
            np.cumsum([0, *map(len, texts)]),
            np.concatenate([wording.is_float, _floats(own, first)]),
            own,
        )

    def _name(
        self,
        variant: Variant,
        items: Index,
        definitions: dict[int, Definition],
        first: int = 0,
    ) -> I32:
        """Define ``items`` from the next free number on; return their number table."""
        table = self._policy.items
        number, statistic, is_float = variant
        rule = self._policy.rules[number]
        begin = first + len(definitions)
        numbers = np.full(len(table), _NONE, np.int32)
        numbers[items] = np.arange(begin, begin + len(items))
        for place, item in enumerate(items.tolist(), begin):
            kind = int(table.kind[item])
            definitions[place] = Definition(
                table.name[item],
                table.unit[item],
                rule.category_out[item],
                rule.purpose,
                statistic,
                table.source[item] if table.source else "",
                int(Kind.FLOAT) if is_float and kind != Kind.TEXT else kind,
                float(table.scale[item]),
                float(table.offset[item]),
            )
        return numbers


def _statistics(rule: CompiledRule) -> tuple[str, ...]:
    """Return the statistics that a rule's output comes in; "" the sample itself."""
    for step in rule.transforms:
        if isinstance(step, Aggregate):
            return step.of
    return ("",)


def _floats(definitions: dict[int, Definition], first: int) -> Bool:
    """Return whether each column from ``first`` on has raw that is float64 bits."""
    count = len(definitions)
    return np.array(
        [definitions[first + i].kind == Kind.FLOAT for i in range(count)], np.bool_
    )
