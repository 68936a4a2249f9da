"""What becomes of the labels of the items of one rule, over columns of items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from policies.derive import derive, unjustified
from policies.raising.precision import resolution_after
from policies.tables import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.catalogue import CatalogueSet
    from policies.model import Rule
    from policies.raising.precision import Grain, Precisions
    from policies.tables import ItemTable, Transform
    from protocols.frames import U16, Bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of the labels of the items of one rule."""

    items: Bool  # [N] those that it may decide on
    label: U16  # [N]
    category: tuple[str, ...]  # [N]
    refused: tuple[tuple[int, str], ...]  # items whose claim does not hold, and why


@dataclass(frozen=True, slots=True)
class _Judged:
    label: int
    category: str
    reason: str  # why the claim does not hold, "" where it does or there is none


class Outcomes:
    """Judges the outputs of rules against one item table."""

    def __init__(
        self,
        catalogues: CatalogueSet,
        items: ItemTable,
        precisions: Precisions,
        grains: Sequence[Grain],
    ) -> None:
        """``grains``: how fine each item is bound [N]."""
        self._catalogues = catalogues
        self._items = items
        self._precisions = precisions
        self._grains = grains
        # What is judged alike: label, role and grain. The category follows from them.
        numbers: dict[tuple[int, int, Grain], int] = {}
        self._of: list[int] = []  # [kinds] the first row of each
        self._kinds = np.zeros(len(items), np.int64)
        rows = zip(items.label.tolist(), items.role.tolist(), grains, strict=True)
        for row, key in enumerate(rows):
            kind = numbers.setdefault(key, len(numbers))
            if kind == len(self._of):
                self._of.append(row)
            self._kinds[row] = kind
        self._labels: dict[bytes, U16] = {}
        self._columns: dict[tuple[str, ...], tuple[str, ...]] = {}

    def of(
        self, rule: Rule, matched: Bool, transforms: tuple[Transform, ...]
    ) -> Outcome:
        """Return labels of the output; items whose claim fails are taken out."""
        items = self._items
        if rule.becomes is None and not transforms:
            return Outcome(matched, items.label, items.category, ())
        kinds = self._kinds
        present = np.flatnonzero(np.bincount(kinds[matched]))
        judged = {
            k: self._judged(rule, self._of[k], transforms) for k in present.tolist()
        }
        label, fails = items.label, np.zeros(len(self._of), np.bool_)
        fails[[kind for kind, one in judged.items() if one.reason]] = True
        kept = matched & ~fails[kinds] if fails.any() else matched
        good = {kind: one for kind, one in judged.items() if not one.reason}
        # Columns that nothing changed, or that stand already, are shared: rules times
        # items would be memory.
        if any(one.label != items.label[self._of[kind]] for kind, one in good.items()):
            codes = np.zeros(len(self._of), np.uint16)
            codes[[*good]] = [one.label for one in good.values()]
            data = np.where(kept, codes[kinds], items.label).tobytes()
            label = self._labels.setdefault(data, np.frombuffer(data, np.uint16))
        refused = tuple(
            (row, judged[int(kinds[row])].reason)
            for row in np.flatnonzero(matched & fails[kinds]).tolist()
        )
        return Outcome(kept, label, self._categories(kept, good), refused)

    def _categories(self, kept: Bool, good: dict[int, _Judged]) -> tuple[str, ...]:
        """Return the column of categories with those of ``good`` kinds where kept."""
        given, kinds = self._items.category, self._kinds
        other = {k: o for k, o in good.items() if o.category != given[self._of[k]]}
        if not other:
            return given
        is_other = np.zeros(len(self._of), np.bool_)
        is_other[[*other]] = True
        column = list(given)
        for row in np.flatnonzero(kept & is_other[kinds]).tolist():
            column[row] = other[int(kinds[row])].category
        categories = tuple(column)
        return self._columns.setdefault(categories, categories)

    def _judged(
        self, rule: Rule, row: int, transforms: tuple[Transform, ...]
    ) -> _Judged:
        role, grain = Role(self._items.role[row]), self._grains[row]
        resolution = resolution_after(grain.resolution, role, transforms)
        # What is coarse enough when it leaves is what its category says of it.
        given = self._precisions.at(grain.category, role, resolution)
        derived = derive(given.label, role, transforms)
        if rule.becomes is None:
            category = derived.category or given.category
            return _Judged(derived.label.pack(), category, "")
        claim = self._precisions.at(rule.becomes, role, resolution)
        reason = unjustified(
            given.label, derived, claim.label, approved=bool(rule.approval)
        )
        if claim.bound is not None:
            unit = " m" if claim.bound.of_place else ""
            reason = f"finer than {claim.bound.than:g}{unit} it is {claim.category}"
        return _Judged(
            self._catalogues.labels[rule.becomes].pack(), rule.becomes, reason
        )
