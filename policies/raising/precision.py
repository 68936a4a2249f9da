"""Precision lifts a label: what is finer than a category allows is another category.

The resolution of an item is the step of its binding: the scale of whole numbers, in
metres for latitudes and longitudes in degrees; of floats nobody knows it, so it is 0.
Of what leaves it is what the transforms make of it: ``round`` and ``grid`` coarsen, a
mean or a sum is finer than what went in, noise hides no step. All static.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

from policies.datum import METRES_A_DEGREE
from policies.derive import POSITION_ROLES
from policies.errors import shown
from policies.quantities import length_m
from policies.raising.raised import check_category
from policies.tables import Aggregate, Blank, Grid, Mask, Noise, Pseudonymise, Round
from protocols.samples import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from policies.catalogue import CatalogueSet
    from policies.rows import Row
    from policies.tables import Role, Transform
    from protocols.labels import Label

_DEGREES: Final = frozenset({"", "deg", "degree", "degrees", "°"})
_FINER: Final = frozenset({"mean", "sum"})  # statistics between the steps


@dataclass(frozen=True, slots=True)
class Bound:
    """What is finer than ``than`` is of category ``becomes``."""

    than: float  # metres for latitudes and longitudes, else units
    of_place: bool
    becomes: str
    label: Label


@dataclass(frozen=True, slots=True)
class Grain:
    """How fine one item is bound, and its category before that counts."""

    category: str
    resolution: float  # metres or units; 0: unknown, as fine as can be


@dataclass(frozen=True, slots=True)
class Lifted:
    """What an item is at a resolution."""

    category: str
    label: Label
    bound: Bound | None = None  # the finest that it passes


class Precisions:
    """The bounds of all categories of one policy's catalogues."""

    def __init__(self, catalogues: CatalogueSet) -> None:
        """Read them; PolicyError where one is wrong."""
        self._labels = catalogues.labels
        self._bounds: dict[str, tuple[Bound, ...]] = {}
        for document in catalogues.documents:
            for number, entry in enumerate(document.model.categories):
                found: list[Bound] = []
                for index, one in enumerate(entry.finer):
                    path = ("categories", number, "finer", index)
                    here = (*path, "becomes")
                    check_category(
                        document, here, catalogues, [one.becomes], prefix=False
                    )
                    try:
                        than = _than(one.than)
                    except ValueError as error:
                        raise document.error((*path, "than"), str(error)) from None
                    label = catalogues.labels[one.becomes]
                    of_place = isinstance(one.than, str)
                    found.append(Bound(than, of_place, one.becomes, label))
                if found:
                    self._bounds[entry.category] = tuple(found)

    def __contains__(self, category: str) -> bool:
        """Tell whether precision matters for a category."""
        return category in self._bounds

    def at(self, category: str, role: Role, resolution: float) -> Lifted:
        """Return the category and label of what is ``resolution`` fine."""
        label = self._labels[category]
        place = role in POSITION_ROLES
        passed = [
            bound
            for bound in self._bounds.get(category, ())
            if bound.of_place == place and resolution < bound.than
        ]
        if not passed:
            return Lifted(category, label)
        for bound in passed:
            label = label.join(bound.label)
        finest = min(passed, key=lambda bound: bound.than)
        return Lifted(finest.becomes, label, finest)


def _than(given: str | float) -> float:
    if isinstance(given, str):
        return length_m(given)
    if not given > 0:
        raise ValueError(f"a step above 0 is needed: {shown(given)}")
    return given


def resolution_of(row: Row, role: Role) -> float:
    """Return how fine a bound item is: metres for a place, else its unit."""
    if row.kind == Kind.TEXT:
        return inf
    if row.kind == Kind.FLOAT:
        return 0.0
    if role not in POSITION_ROLES:
        return abs(row.scale)
    return abs(row.scale) * METRES_A_DEGREE if row.unit.lower() in _DEGREES else 0.0


def resolution_after(
    resolution: float, role: Role, transforms: Iterable[Transform]
) -> float:
    """Return how fine the output of transforms is, in the same terms."""
    place = role in POSITION_ROLES
    for step in transforms:
        match step:
            case Round():
                size = step.step * METRES_A_DEGREE if place else step.step
                resolution = max(resolution, size)
            case Grid() if place:
                resolution = max(resolution, step.size_m)
            case Aggregate() if _FINER & set(step.of):
                resolution = 0.0
            case Noise():
                resolution = 0.0
            case Blank() | Mask() | Pseudonymise():
                resolution = inf
            case _:
                pass
    return resolution
