"""Families of categories, in which suggestions are measured (docs/labels/README.md)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

FAMILIES: Final = ("location", "identity", "behaviour", "energy", "other")
_FAMILY: Final = {
    "location": "location",
    "geo": "location",
    "identity": "identity",
    "cabin": "behaviour",
    "biometric": "behaviour",
    "energy": "energy",
    "charging": "energy",
}
_BEHAVIOUR: Final = frozenset({"driving.behaviour", "chassis.controls"})


def family_of(category: str) -> str:
    """Return the family of a category; "other" for "" and for none."""
    if category in _BEHAVIOUR:
        return "behaviour"
    return _FAMILY.get(category.partition(".")[0], "other")


@dataclass(slots=True)
class Confusion:
    """How often signals of one family were taken for another."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    exact: int = 0  # category and all

    def add(self, labelled: str, proposed: str) -> None:
        """Count one signal by its two categories, "" or "none" for none."""
        self.counts[family_of(labelled), family_of(proposed)] += 1
        self.exact += labelled.replace("none", "") == proposed

    @property
    def total(self) -> int:
        """Return how many signals were counted."""
        return self.counts.total()

    def recall(self, family: str) -> float:
        """Return the share of the family's signals that were found; 1 of none."""
        labelled = sum(self.counts[family, other] for other in FAMILIES)
        return self.counts[family, family] / labelled if labelled else 1.0

    def precision(self, family: str) -> float:
        """Return the share of the family's proposals that are right; 1 of none."""
        proposed = sum(self.counts[other, family] for other in FAMILIES)
        return self.counts[family, family] / proposed if proposed else 1.0
