"""Multiplexed signals: which of them a frame carries, nested ones too, as columns.

A selector is a multiplexer signal. It is evaluated once per frame of its message; a
signal (or a selector below another) is present where its parent selector is present and
holds one of the values that the database lists for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from protocols.can.fields import FieldTable, extract, field_table, fits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.can.database import Message, Signal
    from protocols.frames import I64, U8, Bool, Index


@dataclass(frozen=True, slots=True)
class MultiplexTable:
    """S selectors by message, and for fields and selectors the condition on them.

    A condition is (a place among the selectors of its message, a set of values); sets
    are rows of ``members``: sorted keys ``set * len(values) + index of value``.
    """

    selectors: FieldTable  # [S]
    end: Index  # [R + 2] behind the last selector of a message
    count: Index  # [R + 2]
    parent: Index  # [S] place of the parent among the message's selectors, -1 none
    parent_set: Index  # [S] values of the parent that make this selector present
    known_set: Index  # [S] all values that the database knows of this selector
    field_parent: Index  # [F] place of the field's selector, -1 not multiplexed
    field_set: Index  # [F]
    values: I64  # [V] sorted, every value of every set once
    members: I64  # [M] sorted keys
    depth: int  # longest chain of selectors


@dataclass(frozen=True, slots=True)
class Selection:
    """What the selectors said about the (frame, field) pairs that were asked for."""

    present: Bool  # [K] the field is in the frame
    short: Bool  # [K] a selector of its chain lies behind the frame's end
    unknown: int  # present selectors that held a value in no branch


class _Sets:
    """Sets of values, equal ones once, while the table is built."""

    def __init__(self) -> None:
        self.number: dict[tuple[int, ...], int] = {}

    def add(self, values: Sequence[int]) -> int:
        key = tuple(sorted(set(values)))
        return self.number.setdefault(key, len(self.number))

    def keys(self) -> tuple[I64, I64]:
        every = {v for key in self.number for v in key if -(2**63) <= v < 2**63}
        values = np.array(sorted(every), np.int64)
        place = {value: at for at, value in enumerate(sorted(every))}
        members = [
            number * len(values) + place[value]
            for key, number in self.number.items()
            for value in key
            if value in place
        ]
        return values, np.array(sorted(members), np.int64)


def _chain(signal: Signal, message: Message) -> list[Signal]:
    """Return the selectors above ``signal``, the outermost first."""
    chain: list[Signal] = []
    above = signal
    while above.mux_parent is not None:
        found = message.signal(above.mux_parent)
        assert found is not None  # load_database checks every chain
        chain.append(found)
        above = found
    return chain[::-1]


def multiplex_table(
    fields: Sequence[tuple[Signal, Message]], count: Index
) -> MultiplexTable | None:
    """Compile the conditions of fields; None where none of them is multiplexed.

    ``fields`` are F (signal, its message), by message; ``count`` [R + 2] says how many
    belong to each message row.
    """
    if not any(signal.mux_parent for signal, _ in fields):
        return None
    sets = _Sets()
    flat: list[Signal] = []
    counts: list[int] = []
    parent: list[int] = []
    parent_set: list[int] = []
    known_set: list[int] = []
    field_parent: list[int] = []
    field_set: list[int] = []
    depth = 0
    ends = count.cumsum().tolist()
    for start, end in zip([0, *ends], ends, strict=False):
        place: dict[tuple[str, str], int] = {}
        for signal, message in fields[start:end]:
            chain = _chain(signal, message)
            depth = max(depth, len(chain))
            for selector in (s for s in chain if (message.name, s.name) not in place):
                place[message.name, selector.name] = len(place)
                flat.append(selector)
                parent.append(place.get((message.name, selector.mux_parent or ""), -1))
                parent_set.append(sets.add(selector.mux_values))
                known = (
                    s.mux_values
                    for s in message.signals
                    if s.mux_parent == selector.name
                )
                known_set.append(sets.add([v for values in known for v in values]))
            field_parent.append(place.get((message.name, signal.mux_parent or ""), -1))
            field_set.append(sets.add(signal.mux_values))
        counts.append(len(place))
    values, members = sets.keys()
    counted = np.array(counts, np.intp)
    return MultiplexTable(
        selectors=field_table(flat),
        end=np.cumsum(counted),
        count=counted,
        parent=np.array(parent, np.intp),
        parent_set=np.array(parent_set, np.intp),
        known_set=np.array(known_set, np.intp),
        field_parent=np.array(field_parent, np.intp),
        field_set=np.array(field_set, np.intp),
        values=values,
        members=members,
        depth=depth,
    )


def _is_member(table: MultiplexTable, number: Index, value: I64) -> Bool:
    """Tell per pair whether ``value`` is in the set ``number``: bool [K]."""
    if not len(table.members):
        return np.zeros(len(value), np.bool_)
    at = table.values.searchsorted(value)
    np.minimum(at, len(table.values) - 1, out=at)
    key = number * len(table.values) + at
    found = np.minimum(table.members.searchsorted(key), len(table.members) - 1)
    hit: Bool = table.members.take(found) == key
    hit &= table.values.take(at) == value
    return hit


def expand(end: Index, count: Index, row: Index) -> tuple[Index, Index]:
    """Repeat each frame for every entry of its message.

    ``row`` [N] message row per frame, ``end`` and ``count`` of its entries; returns
    (frame, entry), both [K], by frame.
    """
    repeats = count.take(row)
    ends = repeats.cumsum()
    total = int(ends[-1]) if len(ends) else 0
    frame = np.arange(len(row)).repeat(repeats)
    base = end.take(row)
    base -= ends
    entry = base.take(frame)
    entry += np.arange(total)
    return frame, entry


def select(
    table: MultiplexTable,
    payload: U8,
    size: U8,
    row: Index,
    pairs: tuple[Index, Index],
) -> Selection:
    """Evaluate the selectors of every frame; tell which (frame, field) are present.

    ``row`` [N] message rows, ``pairs`` = (frame, field), both [K].
    """
    owner, selector = expand(table.end, table.count, row)
    value = extract(table.selectors, payload, owner, selector)
    fitting = fits(table.selectors, size, owner, selector)
    counts = table.count.take(row)
    start = counts.cumsum() - counts  # [N] first evaluated selector of a frame
    parent = table.parent.take(selector)
    is_root = parent < 0
    above = np.where(is_root, 0, start.take(owner) + parent)
    inside = _is_member(table, table.parent_set.take(selector), value.take(above))
    present = is_root.copy()
    readable = fitting.copy()
    for _ in range(table.depth - 1):
        present = is_root | present.take(above) & inside
        readable = fitting & (is_root | readable.take(above))
    known = _is_member(table, table.known_set.take(selector), value)
    unknown = int((present & readable & ~known).sum())

    frame, field = pairs
    of_field = table.field_parent.take(field)
    free = of_field < 0
    if not len(value):
        return Selection(free, np.zeros(len(field), np.bool_), unknown)
    at = np.where(free, 0, start.take(frame) + of_field)
    held = _is_member(table, table.field_set.take(field), value.take(at))
    short = ~free & ~readable.take(at)
    return Selection(free | present.take(at) & held & ~short, short, unknown)
