"""Combinations: sets of items whose joint release says more than each set alone.

Speed alone is a speed; with the steering angle at 1 Hz it is a track. A combination is
complete where rules let something of every one of its sets out to one receiver, at
least as often as ``every`` says. Then the label of each member is lifted there, once,
when the policy is compiled:

  * Members are judged by what leaves: by the category after the transforms, or by name.
    A value that is blanked is none; nor is one that ``every`` or a window makes rarer
    than the combination needs. How long it lasts is not asked: nothing here ends it.
  * Destinations that share a recipient are one receiver.
  * Conditions are not weighed against each other: two rules may hold at one moment.
  * A rule whose own match does not accept the lifted label lets the member out no more,
    and no later rule does (fail closed). What stays completes nothing any more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from policies.chains import placed
from policies.derive import slowest_ns
from policies.quantities import duration_ns, glob_parts
from policies.raising.raised import Raised, accepts, check_category, declared, joined
from policies.rules import LEAVES, listed
from policies.tables import Blank

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from policies.catalogue import CatalogueSet
    from policies.matching import Matcher
    from policies.model import Catalogue, Policy
    from policies.model_raising import Combination, Members
    from policies.parse import Document
    from policies.rules import RuleForm
    from policies.tables import ItemTable
    from policies.yaml_tree import Path
    from protocols.frames import U16, Bool
    from protocols.labels import Label

CELLS_MAX: Final = 20_000_000_000  # rules times items times sets: some 10 s
Reach: TypeAlias = "list[tuple[int, Bool]]"  # rule number, items where it may decide


@dataclass(frozen=True, slots=True)
class Selector:
    """One set of a combination."""

    prefixes: tuple[str, ...]
    names: tuple[str, ...]  # patterns of items


@dataclass(frozen=True, slots=True)
class CompiledCombination:
    """A combination with its quantities read."""

    name: str
    becomes: str
    label: Label
    every_ns: int  # 0: at any rate
    sets: tuple[Selector, ...]


def read_combinations(
    policy: Document[Policy], catalogues: CatalogueSet
) -> tuple[CompiledCombination, ...]:
    """Return those of the catalogues, then the policy's own.

    PolicyError where one is wrong, or a policy takes the name of a catalogue's: it can
    add to what a catalogue says, and change none of it.
    """
    said = declared(policy, catalogues, "combinations", lambda one: one.combinations)
    return tuple(
        _compiled(document, path, one, catalogues) for document, path, one in said
    )


def _compiled(
    document: Document[Policy] | Document[Catalogue],
    path: Path,
    given: Combination,
    catalogues: CatalogueSet,
) -> CompiledCombination:
    here = (*path, "becomes")
    check_category(document, here, catalogues, [given.becomes], prefix=False)
    sets: list[Selector] = []
    for number, members in enumerate(given.of):
        where = (*path, "of", number)
        check_category(
            document,
            (*where, "category"),
            catalogues,
            listed(members.category),
            prefix=True,
        )
        try:
            sets.append(_selector(members))
        except ValueError as error:
            raise document.error(where, str(error)) from None
    try:
        every_ns = 0 if given.every is None else duration_ns(given.every)
    except ValueError as error:
        raise document.error((*path, "every"), str(error)) from None
    label = catalogues.labels[given.becomes]
    return CompiledCombination(given.name, given.becomes, label, every_ns, tuple(sets))


def _selector(members: Members) -> Selector:
    names = listed(members.item)
    if not names and not listed(members.category):
        raise ValueError("names nothing: say category, item or both")
    for name in names:
        glob_parts(name)
    return Selector(tuple(listed(members.category)), tuple(names))


def receivers(policy: Policy) -> tuple[frozenset[int], ...]:
    """Return sets of destination numbers that one recipient reads."""
    of_recipient: dict[str, set[int]] = {}
    for number, place in enumerate(policy.destinations.values()):
        for name in place.recipients:
            of_recipient.setdefault(name, set()).add(number)
    found = {frozenset(numbers) for numbers in of_recipient.values()}
    return tuple(
        sorted((one for one in found if not any(one < o for o in found)), key=sorted)
    )


@dataclass(frozen=True, slots=True)
class Part:
    """What one rule contributes to one set of a combination."""

    form: int
    rows: Bool
    is_fast: bool  # as often as the combination needs


class Combiner:
    """Finds which combinations the rules of one policy complete."""

    def __init__(
        self,
        document: Document[Policy],
        items: ItemTable,
        combinations: Sequence[CompiledCombination],
        matcher: Matcher,
    ) -> None:
        """Take what does not change with the rules."""
        self.combinations = tuple(combinations)
        self.receivers = receivers(document.model)
        self._document = document
        self._items = items
        self._matcher = matcher
        self._named: dict[Selector, Bool] = {}

    def applied(self, forms: Sequence[RuleForm]) -> tuple[RuleForm, ...]:
        """Return the rules with lifted labels, and without what may leave no more.

        PolicyError where that is more work than a gateway should do.
        Two rounds at most: taking members out completes nothing, so what is accepted
        in the first round still is in the second.
        """
        now = list(forms)
        if not self.combinations:
            return tuple(now)
        sets = sum(len(one.sets) for one in self.combinations)
        if len(now) * len(self._items) * sets > CELLS_MAX:
            raise self._document.error(
                ("combinations",), "too many rules, items and combinations"
            )
        while True:
            lifted = self._lifted(now)
            refused = {
                number: ~self._accepted(now[number], lifted[number])
                for number in lifted
            }
            if not any(rows.any() for rows in refused.values()):
                break
            for number, rows in refused.items():
                now[number] = _without(now[number], rows, lifted[number])
        for number, found in lifted.items():
            now[number] = _raised(now[number], found)
        return tuple(now)

    def reach(self, forms: Sequence[RuleForm], receiver: frozenset[int]) -> Reach:
        """Return what the rules that let out may decide on for a receiver."""
        return [
            (number, rows)
            for destination in sorted(receiver)
            for number, rows in placed(forms, destination, len(self._items))
            if forms[number].action in LEAVES and not _blanks(forms[number])
        ]

    def parts(
        self,
        forms: Sequence[RuleForm],
        reach: Reach,
        combination: CompiledCombination,
    ) -> list[list[Part]]:
        """Return for each set of a combination what leaves to a receiver, fast or not.

        ``reach``: of that receiver.
        """
        return [
            list(self._parts(forms, reach, combination, one))
            for one in combination.sets
        ]

    def _lifted(
        self, forms: Sequence[RuleForm]
    ) -> dict[int, list[tuple[CompiledCombination, Bool]]]:
        """Return by rule the combinations that are complete, and the rule's members."""
        out: dict[int, list[tuple[CompiledCombination, Bool]]] = {}
        for receiver in self.receivers:
            reach = self.reach(forms, receiver)
            for combination in self.combinations:
                sets = [
                    [part for part in parts if part.is_fast]
                    for parts in self.parts(forms, reach, combination)
                ]
                if not all(sets):
                    continue
                for part in (part for parts in sets for part in parts):
                    out.setdefault(part.form, []).append((combination, part.rows))
        return out

    def _parts(
        self,
        forms: Sequence[RuleForm],
        reach: Reach,
        combination: CompiledCombination,
        members: Selector,
    ) -> Iterator[Part]:
        for number, rows in reach:
            form = forms[number]
            mine = rows & self._mask(form.category_out, members)
            if mine.any():
                slow = slowest_ns(form.transforms) > combination.every_ns > 0
                yield Part(number, mine, not slow)

    def _mask(self, categories: tuple[str, ...], members: Selector) -> Bool:
        rows = np.ones(len(categories), np.bool_)
        if members.prefixes:
            rows &= self._matcher.under(categories, members.prefixes)
        if members.names:
            if members not in self._named:
                self._named[members] = self._matcher.named(members.names)
            rows &= self._named[members]
        return rows

    def _accepted(
        self, form: RuleForm, found: list[tuple[CompiledCombination, Bool]]
    ) -> Bool:
        lifted = _labels(form, found)
        match = self._document.model.rules[form.number].match
        return np.asarray(accepts(match, lifted) | (lifted == form.label_out))


def _blanks(form: RuleForm) -> bool:
    return any(isinstance(step, Blank) for step in form.transforms)


def _labels(form: RuleForm, found: list[tuple[CompiledCombination, Bool]]) -> U16:
    label = form.label_out.copy()
    for combination, rows in found:
        label[rows] = joined(label[rows], combination.label)
    return label


def _rows(found: list[tuple[CompiledCombination, Bool]]) -> tuple[Raised, ...]:
    """Return the members by combination; one may be complete for two receivers."""
    by_name: dict[str, tuple[str, Bool]] = {}
    for one, rows in found:
        _, before = by_name.get(one.name, ("", np.zeros_like(rows)))
        by_name[one.name] = one.becomes, before | rows
    return tuple(
        Raised(name, becomes, tuple(np.flatnonzero(rows).tolist()))
        for name, (becomes, rows) in by_name.items()
    )


def _without(
    form: RuleForm, refused: Bool, found: list[tuple[CompiledCombination, Bool]]
) -> RuleForm:
    if not refused.any():
        return form
    cut = _rows([(one, rows & refused) for one, rows in found])
    return replace(
        form,
        items=form.items & ~refused,
        cut=(*form.cut, *(one for one in cut if one.rows)),
    )


def _raised(form: RuleForm, found: list[tuple[CompiledCombination, Bool]]) -> RuleForm:
    label = _labels(form, found)
    if np.array_equal(label, form.label_out):
        return form
    return replace(form, label_out=label, raised=(*form.raised, *_rows(found)))
