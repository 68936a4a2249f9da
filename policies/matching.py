"""Patterns and category prefixes over whole columns of items.

A policy may have thousands of rules and a gateway tens of thousands of items: to ask
every rule about every item is minutes. So names stand sorted, once each. A name is
looked up; what is below ``A.B.**`` is a range; of any other pattern only the names with
its first, last or longest literal text are matched one by one, once per pattern. What
is kept of that is one bit per name.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final

import numpy as np

from policies.catalogue import is_under
from policies.quantities import ItemGlob

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from protocols.frames import I64, U8, Bool

KNOWN_MAX: Final = 4096  # patterns whose names are kept: 8 KiB each of 65,536 names
UNDER_MAX: Final = 512  # columns of bool that are kept: 64 KiB each
FEW: Final = 64  # names that are matched without a search for their text
_LAST: Final = chr(0x10FFFF)  # stands behind every character of a name


class Matcher:
    """Answers for one column of item names, and any columns of categories."""

    def __init__(self, names: Sequence[str]) -> None:
        """``names``: item names as ``policies.quantities.item_name`` accepts them."""
        self._names = sorted(set(names))
        self._number = {name: number for number, name in enumerate(self._names)}
        self._name_of = np.fromiter(map(self._number.__getitem__, names), np.int64)
        self._reversed: list[tuple[str, int]] = []  # made when a pattern asks
        self._text = ""
        self._starts: list[int] = []
        self._known: dict[str, U8] = {}
        self._codes: dict[str, int] = {}
        self._under: dict[tuple[int, tuple[str, ...]], Bool] = {}
        self._columns: dict[int, tuple[tuple[str, ...], I64]] = {}  # by id, kept alive

    def named(self, patterns: Iterable[str]) -> Bool:
        """Return which items any of the patterns matches [N].

        ValueError for a text that is no pattern.
        """
        found = np.zeros(len(self._names), np.bool_)
        for pattern in patterns:
            self._mark(pattern, found)
        return np.asarray(found[self._name_of])

    def under(self, column: tuple[str, ...], prefixes: Iterable[str]) -> Bool:
        """Return which categories of a column [N] are one of the prefixes or below."""
        key = id(column), tuple(prefixes)
        if key not in self._under:
            codes = self._coded(column)
            holds = [any(is_under(c, prefix) for prefix in key[1]) for c in self._codes]
            if len(self._under) >= UNDER_MAX:
                self._under.clear()
            self._under[key] = np.array(holds, np.bool_)[codes]
        return self._under[key]

    def _coded(self, column: tuple[str, ...]) -> I64:
        known = self._columns.get(id(column))
        if known is None:
            codes = self._codes
            for name in set(column):
                codes.setdefault(name, len(codes))
            numbers = np.fromiter(map(codes.__getitem__, column), np.int64)
            small = numbers.astype(np.min_scalar_type(len(codes)))
            known = self._columns[id(column)] = column, small
        return known[1]

    def first_of(self, patterns: Sequence[str]) -> list[int]:
        """Return for each item the first pattern that matches it, -1 for none."""
        out = np.full(len(self._name_of), -1, np.int64)
        for number in reversed(range(len(patterns))):
            out[self.named([patterns[number]])] = number
        return out.tolist()

    def _mark(self, pattern: str, found: Bool) -> None:
        if "*" not in pattern:
            if (number := self._number.get(pattern)) is not None:
                found[number] = True
            return
        head, _, rest = pattern.partition("*")
        if rest == "*" and (not head or head.endswith(".")):
            found[self._below(head)] = True
            return
        if pattern not in self._known:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[pattern] = np.packbits(self._matched(pattern))
        bits = self._known[pattern]
        found |= np.unpackbits(bits, count=len(found)).view(np.bool_)

    def _matched(self, pattern: str) -> Bool:
        match = ItemGlob(pattern).fullmatch
        names = self._names
        numbers = [n for n in self._candidates(pattern) if match(names[n])]
        found = np.zeros(len(names), np.bool_)
        found[numbers] = True
        return found

    def _candidates(self, pattern: str) -> Sequence[int]:
        """Return names that have a literal text of the pattern: few, all that match."""
        head = self._below(pattern.partition("*")[0])
        best: Sequence[int] = range(head.start, head.stop)
        # Of "**.Latitude" the dot may be missing: ** is any number of parts, or none.
        tail = pattern.rpartition("*")[2]
        if pattern.removesuffix(tail).endswith("**"):
            tail = tail.removeprefix(".")
        if tail and len(best) > FEW:
            ending = self._ending(tail)
            best = ending if len(ending) < len(best) else best
        between = [one.strip(".") for one in pattern.split("*")[1:-1]]
        inner = max(between, key=len, default="")
        if inner and len(best) > FEW:
            best = self._holding(inner, best)
        return best

    def _below(self, head: str) -> slice:
        first = bisect_left(self._names, head)
        return slice(first, bisect_left(self._names, head + _LAST, first))

    def _ending(self, tail: str) -> list[int]:
        if not self._reversed:
            self._reversed = sorted((one[::-1], n) for n, one in enumerate(self._names))
        first = bisect_left(self._reversed, (tail[::-1], -1))
        last = bisect_left(self._reversed, (tail[::-1] + _LAST, -1), first)
        return [number for _, number in self._reversed[first:last]]

    def _holding(self, inner: str, names: Sequence[int]) -> Sequence[int]:
        """Return the numbers of names with a text in it, where they are fewer."""
        if not self._text:
            self._text = "\n".join(self._names)
            lengths = np.fromiter(map(len, self._names), np.int64)
            self._starts = [0, *np.cumsum(lengths + 1).tolist()]
        out: list[int] = []
        at = self._text.find(inner)
        while at >= 0:
            number = bisect_right(self._starts, at) - 1
            out.append(number)
            if len(out) >= len(names):
                return names
            at = self._text.find(inner, self._starts[number + 1])
        return out
