"""Bindings that no gateway has: one item for every pattern of a policy's catalogues.

A policy is written once and meets vehicles and plants that its author has not seen.
Checked, explained or compared without bindings it is compiled against these: for each
category an item by each of its patterns, and every item that a rule or condition names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from policies.parse import parse_bindings
from policies.quantities import NAME_CHARACTERS_MAX, item_name
from policies.rows import EVENT_ITEM
from policies.rules import listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from policies.catalogue import CatalogueSet
    from policies.model import Bindings, Policy
    from policies.parse import Document

SOURCE: Final = "any"  # the link that they all come from
NAME: Final = "one item for every pattern of the catalogues"
ITEMS_MAX: Final = 60_000  # registers of one unit
# Rules of lint about what is bound: nothing that a policy's author can mend here.
ABOUT_BOUND: Final = frozenset({
    "SG007", "SG008", "SG009", "SG011", "SG012", "SG013", "SG014", "SG037",
    "SG043",
})  # fmt: skip


def representative(
    policy: Document[Policy], catalogues: CatalogueSet, also: Sequence[str] = ()
) -> Document[Bindings]:
    """Return bindings of link ``any`` with the items that a policy can speak of.

    ``also``: names of items to be there, too; PolicyError where one is none.
    """
    points: dict[str, dict[str, object]] = {}
    for category, entry in catalogues.entries.items():
        patterns = entry.items or [f"Category.{category}"]
        for name in map(concrete, patterns):
            points.setdefault(name, {"item": name, "category": category})
    for name in (*also, *_named(policy.model)):
        points.setdefault(name, {"item": name})
    points.pop(EVENT_ITEM, None)  # is always there
    table = [
        {**point, "table": 4, "address": address}
        for address, point in enumerate(list(points.values())[:ITEMS_MAX])
    ]
    text = msgspec.json.encode(
        {
            "schema": "sluicegate/bindings/1",
            "name": "representative",
            "modbus": [{"link": SOURCE, "unit": 1, "points": table}],
        }
    )
    return parse_bindings(text, NAME)


def concrete(pattern: str) -> str:
    """Return an item name that matches a pattern."""
    split = pattern.split(".")
    parts = ["Any" if one == "**" else one.replace("*", "X") for one in split]
    return ".".join(parts if len(parts) > 1 else [*parts, "Any"])


def _named(policy: Policy) -> Iterator[str]:
    names = [name for rule in policy.rules for name in rule.match.when]
    names += [concrete(one) for rule in policy.rules for one in listed(rule.match.item)]
    if policy.ignition is not None:
        names.append(policy.ignition.item)
    for name in names:
        try:
            yield item_name(name[: NAME_CHARACTERS_MAX + 1])
        except ValueError:
            continue  # a pattern that the compiler refuses, with its line
