"""From facts to proposals: the best topic of each signal, beside its neighbours."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from policies.suggest.facts import read
from policies.suggest.scoring import WEIGHTS, Score, evidence, plumbing, rank
from policies.suggest.topics_other import OTHER
from policies.suggest.topics_person import PERSON
from policies.suggest.topics_place import PLACE
from policies.suggest.topics_thing import ENERGY, IDENTITY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.suggest.facts import Facts
    from policies.suggest.topics import Topic

CONFIDENCE_MIN: Final = 0.5  # below it a proposal is a comment
AUTO: Final = (*PLACE, *IDENTITY, *ENERGY, *PERSON, *OTHER)
NEIGHBOURS_MIN: Final = 3  # so many others of a message, at least ...
NEIGHBOURS_SHARE: Final = 0.6  # ... so many of which are of one category
_EMPTY: Final = "tells nothing by itself"
_NOTHING: Final = "nothing speaks for any category"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one signal probably is, and why. ``category`` "": in none, or not known."""

    facts: Facts
    category: str
    topic: str
    reason: str
    confidence: float
    form: str = ""  # of the item's name, see ``items.py``

    @property
    def is_sure(self) -> bool:
        """Tell whether it is proposed, not only mentioned."""
        return bool(self.category) and self.confidence >= CONFIDENCE_MIN


def suggest(facts: Sequence[Facts], topics: Sequence[Topic] = AUTO) -> list[Proposal]:
    """Return one proposal per signal, in order."""
    readings = [read(one) for one in facts]
    pairs = list(zip(facts, readings, strict=True))
    scores = [
        None if plumbing(one, words) else rank(topics, one, words)
        for one, words in pairs
    ]
    by_group: dict[str, Counter[str]] = {}
    for one, ranked in zip(facts, scores, strict=True):
        if ranked and ranked[0].total >= CONFIDENCE_MIN:
            group = by_group.setdefault(one.group, Counter())
            group[ranked[0].topic.category] += 1
    return [
        _proposal(one, _beside(ranked, by_group.get(one.group, Counter())))
        for one, ranked in zip(facts, scores, strict=True)
    ]


def _beside(scores: list[Score] | None, around: Counter[str]) -> list[Score] | None:
    """Add what the neighbours say to a signal that is not clear by itself."""
    if not scores or scores[0].total >= CONFIDENCE_MIN or not around:
        return scores
    category, count = around.most_common(1)[0]
    if count < NEIGHBOURS_MIN or count < NEIGHBOURS_SHARE * around.total():
        return scores
    said = evidence("neighbours", f"{count} of {around.total()}")
    out = [
        replace(one, evidence=(*one.evidence, said))
        if one.topic.category == category
        else one
        for one in scores
    ]
    return sorted(out, key=lambda one: -one.total)


def _proposal(facts: Facts, scores: list[Score] | None) -> Proposal:
    if scores is None:
        found = plumbing(facts, read(facts))
        return Proposal(facts, "", _EMPTY, found, WEIGHTS["plumbing"])
    if not scores:
        return Proposal(facts, "", "", _NOTHING, 0.0)
    best = scores[0]
    return Proposal(
        facts, best.topic.category, best.topic.name, best.reason(), best.confidence,
        best.topic.item,
    )  # fmt: skip
