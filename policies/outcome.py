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

    def of(
        self, rule: Rule, matched: Bool, transforms: tuple[Transform, ...]
    ) -> Outcome:
        """Return labels of the output; items whose claim fails are taken out."""
        items = self._items
        if rule.becomes is None and not transforms:
            return Outcome(matched, items.label, items.category, ())
        kept, label = matched.copy(), items.label.copy()
        category = list(items.category)
        refused: list[tuple[int, str]] = []
        known: dict[tuple[int, int, Grain], _Judged] = {}
        for row in np.flatnonzero(matched).tolist():
            key = int(items.label[row]), int(items.role[row]), self._grains[row]
            if key not in known:
                known[key] = self._judged(rule, row, transforms)
            judged = known[key]
            if judged.reason:
                refused.append((row, judged.reason))
                kept[row] = False
                continue
            label[row], category[row] = judged.label, judged.category
        # Columns that nothing changed are shared: rules times items would be memory.
        same = np.array_equal(label, items.label)
        categories = tuple(category)
        return Outcome(
            kept,
            items.label if same else label,
            items.category if categories == items.category else categories,
            tuple(refused),
        )

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
