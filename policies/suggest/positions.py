"""Positions that a message holds in parts: degrees, minutes and fractions of each axis.

Coarsening the degrees alone would leave the minutes, so the parts are proposed as one
item: a weighted sum in degrees (``combined`` of a bindings file).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from policies.suggest.facts import read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.suggest.suggesting import Proposal

_TOPICS: Final = frozenset({"latitude", "longitude", "place of charging"})
_AXES: Final = {
    "latitude": frozenset({"latitude", "lat"}),
    "longitude": frozenset({"longitude", "long"}),
}
_MINUTE: Final = 1 / 60


@dataclass(frozen=True, slots=True)
class Position:
    """One axis of one position; the part in degrees comes last."""

    group: str  # as bindings refer to the message
    axis: str
    parts: tuple[tuple[Proposal, float], ...]  # with its factor to degrees

    @property
    def confidence(self) -> float:
        """Return the lowest of the parts."""
        return min(one.confidence for one, _ in self.parts)


def positions(proposals: Sequence[Proposal]) -> list[Position]:
    """Return every axis that two or more signals of one message make up."""
    found: dict[tuple[str, str], list[tuple[Proposal, float]]] = {}
    for one in proposals:
        if one.topic not in _TOPICS or not one.is_sure:
            continue
        words = read(one.facts).name
        for axis, names in _AXES.items():
            if words & names:
                part = (one, _factor(one))
                found.setdefault((one.facts.place, axis), []).append(part)
    return [
        Position(group, axis, tuple(sorted(parts, key=lambda part: part[1] == 1)))
        for (group, axis), parts in found.items()
        if len(parts) > 1 and any(factor == 1 for _, factor in parts)
    ]


def _factor(proposal: Proposal) -> float:
    """Return what one step of a part is in degrees: minutes, or degrees."""
    reading = read(proposal.facts)
    in_minutes = reading.unit == "minute" or "minute" in reading.name
    return _MINUTE if in_minutes else 1.0
