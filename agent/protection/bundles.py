"""What one destination's rules released, sorted into the envelopes it will make.

One envelope holds one label (DESIGN section 5: the label of a message is the maximum of
its fields, so fields of different labels are split), one action, one kind, and what was
released under one consent: when a person withdraws it, that and nothing else goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.protection.protector import split_by_label
from agent.protection.transforms import gives_floats
from policies.tables import Action, Aggregate, consent_of

if TYPE_CHECKING:
    from agent.records import Released
    from policies.tables import CompiledPolicy, CompiledRule

DATA: Final = "data"
EVENT: Final = "event"


@dataclass(frozen=True, slots=True)
class Part:
    """One rule's contribution to an envelope."""

    rule: CompiledRule
    released: Released
    is_float: bool  # raw is float64 bits, whatever the item's kind
    is_aggregate: bool  # its rows are statistics, not samples

    @property
    def rows(self) -> int:
        """Return how many rows of the envelope are this part's."""
        return len(self.released.samples) + len(self.released.texts)


@dataclass(frozen=True, slots=True)
class Bundle:
    """What goes into one envelope."""

    action: Action
    label: int
    kind: str  # data | event
    consent: str  # that every part was released under, "" none
    parts: tuple[Part, ...]


def bundles(
    released: tuple[Released, ...], policy: CompiledPolicy, event_item: int
) -> list[Bundle]:
    """Return the envelopes to make, in a stable order.

    ``event_item``: row of ``Sluicegate.Event`` in the item table, -1 where unbound;
    what it released goes out as kind ``event``.
    """
    places: dict[tuple[Action, int, str, str], list[Part]] = {}
    for one in released:
        rule = policy.rules[one.rule]
        changed = gives_floats(rule)
        merged = any(isinstance(step, Aggregate) for step in rule.transforms)
        for label, piece in split_by_label(one, rule):
            part = Part(rule, piece, changed, merged)
            if not part.rows:
                continue
            is_event = len(piece.texts) and int(piece.texts.item[0]) == event_item
            kind = EVENT if is_event else DATA
            place = (rule.action, label, kind, consent_of(rule))
            places.setdefault(place, []).append(part)
    return [Bundle(*place, tuple(parts)) for place, parts in sorted(places.items())]
