"""A bindings file to edit: what is sure is bound, all else stands there as comment."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from policies.suggest.naming import Namer
from policies.suggest.positions import Position, positions
from protocols.plain import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.catalogue import CatalogueSet
    from policies.suggest.suggesting import Proposal

_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*")
_REASON_CHARACTERS_MAX: Final = 160


@dataclass(frozen=True, slots=True)
class Source:
    """The proposals of one database and how bindings name it."""

    database: str
    bus: str
    proposals: tuple[Proposal, ...]


def is_bound(proposal: Proposal, minimum: float) -> bool:
    """Tell whether a draft binds a signal, or only mentions it."""
    can_be = proposal.facts.is_bindable
    return bool(proposal.category) and proposal.confidence >= minimum and can_be


def draft(
    name: str,
    sources: Sequence[Source],
    catalogue: CatalogueSet,
    minimum: float,
    namer: Namer | None = None,
) -> str:
    """Return the text of a bindings file; everything at ``minimum`` or above is bound.

    It parses and compiles as it is. What is below, or in no category, is a comment.
    """
    namer = namer or Namer()
    lines = [
        "# Drafted by `sluicectl catalogue suggest`; every line wants a person's eye.",
        "# A number is the confidence, the words behind it the evidence.",
        "schema: sluicegate/bindings/1",
        f"name: {name}",
        "can:" if sources else "can: []",
    ]
    for source in sources:
        lines += _source(source, catalogue, minimum, namer)
    return "\n".join(lines) + "\n"


def _source(
    source: Source, catalogue: CatalogueSet, minimum: float, namer: Namer
) -> list[str]:
    lines = [
        f"  - bus: {json.dumps(source.bus)}",
        f"    database: {json.dumps(printable(source.database))}",
    ]
    whole = [p for p in positions(source.proposals) if p.confidence >= minimum]
    inside = {id(one) for position in whole for one, _ in position.parts}
    chosen = [
        one
        for one in source.proposals
        if is_bound(one, minimum) and id(one) not in inside
    ]
    lines += _combined(whole, namer)
    lines.append("    signals:" if chosen else "    signals: {}")
    category = ""
    for one in sorted(chosen, key=lambda p: (p.category, p.facts.group)):
        if one.category != category:
            category = one.category
            lines.append(f"      # --- {category} " + "-" * max(0, 66 - len(category)))
        item = namer.name(one)
        lines.append(f"      # {why(one)}")
        lines.append(f"      {_key(one)}: {_value(item, category, catalogue)}")
    return lines + _rest(source, minimum)


def _combined(whole: Sequence[Position], namer: Namer) -> list[str]:
    if not whole:
        return []
    lines = [
        "    # Parts of one position belong together: what coarsens it must act on the",
        "    # sum, so they are one item. The hemisphere stands below.",
        "    combined:",
    ]
    for position in whole:
        item = namer.name(position.parts[-1][0])
        lines += [f"      - item: {item}", "        category: location.precise"]
        lines += [f"        message: {json.dumps(position.group)}", "        parts:"]
        lines += [
            f"          {json.dumps(one.facts.name)}: {factor:.10g}"
            for one, factor in position.parts
        ]
    return lines


def _rest(source: Source, minimum: float) -> list[str]:
    """Return what is not bound, as comments: below ``minimum``, then in no category."""
    weak = [p for p in source.proposals if p.category and p.confidence < minimum]
    none = [p for p in source.proposals if not p.category]
    lost = [p for p in source.proposals if p.category and not p.facts.is_bindable]
    weak += [p for p in lost if p.confidence >= minimum]
    lines: list[str] = []
    if weak:
        lines.append("      # --- perhaps " + "-" * 58)
        lines += [f"      # {_key(one)}: {one.category}?  {why(one)}" for one in weak]
    if none:
        lines.append("      # --- in no category, or not known " + "-" * 37)
        lines += [f"      # {_key(one)}  {why(one)}" for one in none]
    return lines


def _key(proposal: Proposal) -> str:
    key = printable(f"{proposal.facts.place}.{proposal.facts.name}")
    return key if _PLAIN_KEY.fullmatch(key) else json.dumps(key)


def _value(item: str, category: str, catalogue: CatalogueSet) -> str:
    """Return the item; with its category where the catalogue's patterns say another."""
    if catalogue.category_of(item) == category:
        return item
    return f"{{item: {item}, category: {category}}}"


def why(proposal: Proposal) -> str:
    """Return confidence, topic, unit and evidence on one line."""
    unit = f" [{proposal.facts.unit}]" if proposal.facts.unit else ""
    topic = f" {proposal.topic}" if proposal.topic else ""
    text = f"{proposal.confidence:.2f}{topic}{unit}: {proposal.reason}"
    return printable(" ".join(text.split()))[:_REASON_CHARACTERS_MAX]
