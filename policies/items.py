"""The item table: rows with category, label, role and position group.

A group is one receiver: latitude and longitude of one source. Fix quality, heading and
speed that come from elsewhere join the group of their name where there is exactly one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from policies.errors import PolicyError, shown
from policies.raising.precision import Grain, Lifted, resolution_of
from policies.tables import ItemTable, Role
from protocols.labels import UNCLASSIFIED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.catalogue import CatalogueSet, RoleHit
    from policies.matching import Matcher
    from policies.model import Policy
    from policies.parse import Document
    from policies.raising.precision import Precisions
    from policies.rows import Origin, Row

_PLACE = (Role.LATITUDE, Role.LONGITUDE)


def item_table(
    rows: Sequence[Row],
    catalogues: CatalogueSet,
    policy: Document[Policy],
    precisions: Precisions,
    matcher: Matcher,
    buses: tuple[str, ...],
    links: tuple[str, ...],
) -> tuple[ItemTable, tuple[Grain, ...]]:
    """Return the table of all rows, in their order, and how fine each is.

    ``matcher``: of the names of the rows.
    PolicyError where a binding's own category is in none of the policy's catalogues.
    """
    names = tuple(row.name for row in rows)
    hits = catalogues.roles_of(matcher, names)
    given = catalogues.categories_of(matcher)
    grains = tuple(
        Grain(
            _category(row, category, catalogues, policy), resolution_of(row, hit.role)
        )
        for row, hit, category in zip(rows, hits, given, strict=True)
    )
    found = [
        precisions.at(grain.category, hit.role, grain.resolution)
        if grain.category
        else Lifted("", UNCLASSIFIED)
        for grain, hit in zip(grains, hits, strict=True)
    ]
    categories = [one.category for one in found]
    groups = _groups(rows, hits)
    table = ItemTable(
        name=names,
        category=tuple(categories),
        unit=tuple(row.unit for row in rows),
        label=np.array([one.label.pack() for one in found], np.uint16),
        classified=np.array([bool(name) for name in categories], np.bool_),
        kind=np.array([row.kind for row in rows], np.uint8),
        scale=np.array([row.scale for row in rows], np.float64),
        offset=np.array([row.offset for row in rows], np.float64),
        role=np.array([hit.role for hit in hits], np.uint8),
        group=np.array(groups, np.int32),
        source=tuple(_source(row.origin, buses, links) for row in rows),
        gcj02=_gcj02(rows, hits, groups),
    )
    return table, grains


def _source(origin: Origin, buses: tuple[str, ...], links: tuple[str, ...]) -> str:
    """Return the name of the bus or link that a row comes from."""
    kind, number, _ = origin
    names = {"can": buses, "modbus": links}.get(kind, ())
    return names[number] if number < len(names) else kind


def _category(
    row: Row, given: str, catalogues: CatalogueSet, policy: Document[Policy]
) -> str:
    if not row.category:
        return given
    if row.category not in catalogues.entries:
        named = ", ".join(policy.model.catalogues)
        hint = catalogues.hint(row.category) or f"catalogues of the policy: {named}"
        reason = f"no such category: {shown(row.category)}"
        raise PolicyError(row.file, row.line, row.name, reason, hint)
    return row.category


def _gcj02(
    rows: Sequence[Row], hits: Sequence[RoleHit], groups: Sequence[int]
) -> frozenset[int]:
    """Return the groups whose coordinates are GCJ-02; both must be, or none."""
    datum: dict[int, str] = {}
    for row, hit, group in zip(rows, hits, groups, strict=True):
        if hit.role not in _PLACE:
            if row.datum:
                reason = "a datum belongs to a latitude or longitude, and to no other"
                raise PolicyError(row.file, row.line, row.name, reason)
            continue
        said = row.datum or "WGS-84"
        if datum.setdefault(group, said) != said:
            reason = "latitude and longitude of one position have different data"
            hint = "say datum at both"
            raise PolicyError(row.file, row.line, row.name, reason, hint)
    return frozenset(group for group, said in datum.items() if said == "GCJ-02")


def _groups(rows: Sequence[Row], hits: Sequence[RoleHit]) -> list[int]:
    numbers: dict[tuple[str, tuple[str, int, int]], int] = {}
    for row, hit in zip(rows, hits, strict=True):
        if hit.role in _PLACE:
            numbers.setdefault((hit.group, row.origin), len(numbers))
    by_name: dict[str, list[int]] = {}
    for (name, _), number in numbers.items():
        by_name.setdefault(name, []).append(number)
    out: list[int] = []
    for row, hit in zip(rows, hits, strict=True):
        if hit.role == Role.NONE:
            out.append(-1)
            continue
        same = by_name.get(hit.group, [])
        alone = same[0] if len(same) == 1 else -1
        out.append(numbers.get((hit.group, row.origin), alone))
    return out
