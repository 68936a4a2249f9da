"""Two compiled policies side by side: one axis of items, equal rows in one group.

Items are matched by name and source. A group holds the items of one destination that
have the same lists of rules on both sides and the same labels, category and role: what
is true of its first item is true of all. Grouping is exact (bytes are compared, not
hashes) and reads every column once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from policies.diff.decisions import Step, Way
from policies.diff.strength import atom
from policies.tables import NO_RULE, Action, DropZones, ZoneTest
from protocols.labels import unpack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from policies.compile import Compiled
    from policies.diff.strength import Atom
    from policies.tables import (
        CompiledDestination,
        CompiledPolicy,
        CompiledRule,
        Transform,
        Zone,
    )
    from protocols.frames import I16, I32, I64, U8, U16, Bool
    from protocols.labels import Label

ABSENT: Final = -1  # in rows: this side has no such item
CELLS_MAX: Final = 2_000_000  # of one block of rows: bounds memory
KEY_SHOWN: Final = 16  # characters of a card's digest: enough to tell two apart
NO_LABEL: Final = 0xFFFF  # no label packs to it


Keys: TypeAlias = "tuple[Mapping[str, str], Mapping[str, str]]"
NO_KEYS: Final[Keys] = ({}, {})


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One policy, its rules reduced to what matters (class) and rows on the axis."""

    compiled: Compiled
    rows: I64  # [joint items] row of the item table, ABSENT where it has none
    classes: I32  # [rules + 1] class of each rule; last: none
    outputs: tuple[U16, ...]  # distinct columns of label_out
    output_of: I32  # [rules + 1] which of them

    @property
    def policy(self) -> CompiledPolicy:
        """Return the compiled policy."""
        return self.compiled.policy


@dataclass(frozen=True, slots=True)
class Group:
    """Items of one destination for which everything is the same, on both sides."""

    items: I64  # numbers on the joint axis, rising
    same: bool  # and both sides do the same with them


class Pair:
    """Both sides; ``old`` None is a policy that lets nothing out."""

    def __init__(
        self, old: Compiled | None, new: Compiled, keys: Keys = NO_KEYS
    ) -> None:
        """Match the items and intern the rules of both sides.

        ``keys``: of (old, new), recipient name -> digest of its card.
        """
        self._keys = keys
        self._ids: dict[object, int] = {}
        self._zones: dict[int, int] = {}
        joint: dict[tuple[str, str, int], int] = {}
        rows_new = _numbered(new.policy, joint)
        rows_old = _numbered(old.policy, joint) if old is not None else []
        self.items = tuple((name, source) for name, source, _ in joint)
        self.new = self._side(new, rows_new, keys[1])
        self.old = None if old is None else self._side(old, rows_old, keys[0])
        self._facts = np.column_stack(
            [self._column(side, what) for what in range(4) for side in self.sides]
        )

    @property
    def sides(self) -> tuple[Side | None, Side]:
        """Return (old, new)."""
        return self.old, self.new

    def groups(self, name: str, *, unchanged: bool) -> Iterator[Group]:
        """Yield the groups of a destination, block by block of items.

        ``unchanged``: those, too, for which both sides do the same.
        """
        chains = [_chain(side, name) for side in self.sides]
        depth = max(1, *(0 if one is None else one.shape[1] for one in chains))
        many = max(1, CELLS_MAX // depth)
        for start in range(0, len(self.items), many):
            block = np.arange(start, min(start + many, len(self.items)))
            yield from self._block(block, chains, depth, unchanged=unchanged)

    def _block(
        self, block: I64, chains: list[I16 | None], depth: int, *, unchanged: bool
    ) -> Iterator[Group]:
        parts = [
            _keys(side, chain, block, depth)
            for side, chain in zip(self.sides, chains, strict=True)
        ]
        facts = self._facts[block]
        alike: Bool = np.all(parts[0] == parts[1], axis=1)
        alike &= np.all(facts[:, 0::2] == facts[:, 1::2], axis=1)
        if unchanged:
            yield from _grouped(block[alike], parts[1][alike], facts[alike], same=True)
        other = ~alike
        both = np.concatenate([part[other] for part in parts], axis=1)
        yield from _grouped(block[other], both, facts[other], same=False)

    def steps(self, side: Side | None, item: int, name: str) -> list[Step]:
        """Return the rules of one item at one destination, in order."""
        return [
            Step(self._tests(side, rule), self._way(side, rule, row))
            for side, rule, row in self._rules(side, item, name)
        ]

    def rules(self, side: Side | None, item: int, name: str) -> list[CompiledRule]:
        """Return the same rules as the policy has them, for words."""
        return [rule for _, rule, _ in self._rules(side, item, name)]

    def label(self, item: int) -> Label:
        """Return the graver of an item's labels on both sides."""
        codes = [int(code) for code in self._facts[item, :2] if code != ABSENT]
        first, *rest = map(unpack, codes)
        return first.join(rest[0]) if rest else first

    def key_of(self, side: Side, name: str) -> str:
        """Return a recipient by name and, where cards are known, by its key."""
        return _named(name, self._keys[int(side is self.new)])

    def labels(self) -> I64:
        """Return [joint items, 2] the packed labels (old, new), ABSENT for none."""
        return self._facts[:, :2]

    def label_of(self, side: Side | None, item: int) -> Label | None:
        """Return an item's label on one side; None where it is not there."""
        code = int(self._facts[item, int(side is self.new)])
        return None if code == ABSENT else unpack(code)

    def category(self, item: int) -> str:
        """Return an item's category, the new one where it has two; "" for none."""
        for side in (self.new, self.old):
            if side is not None and side.rows[item] != ABSENT:
                return side.policy.items.category[int(side.rows[item])]
        raise AssertionError  # an item stands on one side at least

    def _rules(
        self, side: Side | None, item: int, name: str
    ) -> Iterator[tuple[Side, CompiledRule, int]]:
        chain = _chain(side, name)
        if side is None or chain is None or side.rows[item] == ABSENT:
            return
        row = int(side.rows[item])
        for number in chain[row].tolist():
            if number != NO_RULE:
                yield side, side.policy.rules[number], row

    def _tests(self, side: Side, rule: CompiledRule) -> tuple[Atom, ...]:
        return tuple(atom(one, side.policy.items) for one in rule.conditions)

    def _way(self, side: Side, rule: CompiledRule, row: int) -> Way:
        items = side.policy.items
        keeps = rule.action == Action.KEEP
        return Way(
            rule.action,
            rule.transforms,
            rule.purpose,
            self.key_of(side, side.policy.custodian) if keeps else "",
            int(items.label[row]),
            int(rule.label_out[row]),
            rule.category_out[row],
            int(items.role[row]),
        )

    # --- Making both sides comparable -------------------------------------------------

    def _side(
        self, compiled: Compiled, numbers: list[int], keys: Mapping[str, str]
    ) -> Side:
        rows = np.full(len(self.items), ABSENT, np.int64)
        rows[numbers] = np.arange(len(numbers))
        outputs: dict[bytes, int] = {}
        columns: list[U16] = []
        known: dict[int, int] = {}
        output_of: list[int] = []
        rules = compiled.policy.rules
        for rule in rules:
            column = rule.label_out
            if id(column) not in known:
                at = outputs.setdefault(column.tobytes(), len(columns))
                if at == len(columns):
                    columns.append(column)
                known[id(column)] = at
            output_of.append(known[id(column)])
        classes = [
            self._class(compiled, number, rule, keys)
            for number, rule in enumerate(rules)
        ]
        return Side(
            compiled,
            rows,
            np.array([*classes, -1], np.int32),
            tuple(columns),
            np.array([*output_of, 0], np.int32),
        )

    def _class(
        self,
        compiled: Compiled,
        number: int,
        rule: CompiledRule,
        keys: Mapping[str, str],
    ) -> int:
        """Return the number of what a rule does, wherever and whatever it is named."""
        form = compiled.document.model.rules[compiled.forms[number].number]
        keeps = rule.action == Action.KEEP
        items = compiled.policy.items
        tests = frozenset(self._key(atom(one, items)) for one in rule.conditions)
        return self._intern(
            (
                rule.action,
                tuple(map(self._key, rule.transforms)),
                tests,
                rule.purpose,
                form.becomes,
                _named(compiled.policy.custodian, keys) if keeps else "",
            )
        )

    def _key(self, thing: Atom | Transform) -> int:
        """Return a number for a test or step; zones, which are large, by theirs."""
        if not isinstance(thing, DropZones | ZoneTest):
            return self._intern(thing)
        zones = tuple(map(self._zone, thing.zones))
        rest = replace(thing, zones=())
        return self._intern((rest, zones))

    def _zone(self, zone: Zone) -> int:
        if id(zone) not in self._zones:  # both policies live as long as this does
            self._zones[id(zone)] = self._intern(zone)
        return self._zones[id(zone)]

    def _intern(self, thing: object) -> int:
        return self._ids.setdefault(thing, len(self._ids))

    def _column(self, side: Side | None, what: int) -> I64:
        """Return [joint items] label, category, role or classified; -1 where absent."""
        out = np.full(len(self.items), ABSENT, np.int64)
        if side is None:
            return out
        items = side.policy.items
        have = side.rows != ABSENT
        rows = side.rows[have]
        if what == 0:
            out[have] = items.label[rows]
        elif what == 1:
            numbers = np.array([self._intern(one) for one in items.category], np.int64)
            out[have] = numbers[rows]
        else:
            out[have] = (items.role if what == 2 else items.classified)[rows]
        return out


def _named(name: str, keys: Mapping[str, str]) -> str:
    key = keys.get(name, "")
    return f"{name} ({key[:KEY_SHOWN]})" if key else name


def names_of(pair: Pair) -> list[str]:
    """Return the names of all destinations, the old ones first."""
    sides = [one for one in pair.sides if one is not None]
    names = [place.name for side in sides for place in side.policy.destinations]
    return list(dict.fromkeys(names))


def place(side: Side | None, name: str) -> CompiledDestination | None:
    """Return a destination by name, None where this side has none of it."""
    if side is None:
        return None
    found = [one for one in side.policy.destinations if one.name == name]
    return found[0] if found else None


def _numbered(
    policy: CompiledPolicy, joint: dict[tuple[str, str, int], int]
) -> list[int]:
    """Return the number of each row on the axis, adding what is new to it."""
    items = policy.items
    times: dict[tuple[str, str], int] = {}
    out: list[int] = []
    for pair in zip(items.name, items.source or ("",) * len(items), strict=True):
        times[pair] = times.get(pair, 0) + 1
        out.append(joint.setdefault((*pair, times[pair]), len(joint)))
    return out


def _chain(side: Side | None, name: str) -> I16 | None:
    found = place(side, name)
    return None if found is None else found.chain


def _keys(side: Side | None, chain: I16 | None, block: I64, depth: int) -> I32:
    """Return [block, 2 * depth] class and output label of every rule of a list."""
    classes = np.full((len(block), depth), -1, np.int32)
    labels = np.full((len(block), depth), NO_LABEL, np.int32)
    if side is None or chain is None or not chain.shape[1]:
        return np.concatenate([classes, labels], axis=1)
    here = np.flatnonzero(side.rows[block] != ABSENT)
    rows = side.rows[block[here]]
    numbers = chain[rows]  # NO_RULE is the last entry of both tables
    wide = chain.shape[1]
    classes[here, :wide] = side.classes[numbers]
    which = np.where(numbers == NO_RULE, -1, side.output_of[numbers])
    found = np.full(numbers.shape, NO_LABEL, np.int32)
    for column in np.unique(which[which >= 0]).tolist():
        at, level = np.nonzero(which == column)
        found[at, level] = side.outputs[column][rows[at]]
    labels[here, :wide] = found
    return np.concatenate([classes, labels], axis=1)


def _grouped(items: I64, keys: I32, facts: I64, *, same: bool) -> Iterator[Group]:
    if not len(items):
        return
    whole = np.concatenate([facts.astype(np.int32), keys], axis=1)
    whole = np.ascontiguousarray(whole)
    seen: dict[bytes, int] = {}
    rows: U8 = whole.view(np.uint8).reshape(len(items), -1)
    number = np.fromiter(
        (seen.setdefault(row.tobytes(), len(seen)) for row in rows),
        np.int64,
        len(items),
    )
    order = np.argsort(number, kind="stable")
    bounds = np.flatnonzero(np.diff(number[order])) + 1
    for part in np.split(items[order], bounds):
        yield Group(part, same)
