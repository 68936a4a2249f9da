"""Evidence for and against each topic, added up. Every weight stands in one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from policies.suggest.lexicon import MEANINGS
from policies.suggest.makers import CORNERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.suggest.facts import Facts, Reading
    from policies.suggest.topics import Term, Topic

WEIGHTS: Final = {
    # for a topic
    "one word": 0.40,  # the name holds a term of one word
    "strong word": 0.60,  # ... that stands for itself
    "two words": 0.60,
    "three words": 0.70,
    "across": 0.50,  # part of the term in the name, the rest in the message's name
    "across file": 0.45,  # ... or in the name of the file
    "owner": 0.50,  # the message is about it
    "sole owner": 0.85,  # ... and can be about nothing else
    "file": 0.20,  # the file is about it
    "message": 0.20,  # the message's name supports the term
    "unit": 0.25,  # the unit measures such a thing
    "range": 0.10,  # the values that it can have are those of such a thing
    "length": 0.05,
    "corner": 0.15,  # one per wheel or seat
    "said": 0.20,  # comment or value table hold a term
    "comment": 0.50,  # a short comment names it where the name does not
    "nothing else": 0.15,  # the name has no other word
    "act of the driver": 0.15,  # pressed, pedal, driver
    "neighbours": 0.20,  # most others of the message are of this category
    "plumbing": 0.95,  # counter, checksum, quality bit, reserved: it tells nothing
    # against a topic
    "unit against": -0.50,
    "range against": -0.40,
    "length against": -0.50,
    "message against": -0.40,  # ... the message's name has one
    "fault": -0.50,  # a fault of it is not the thing
    "word against": -0.40,  # a word that such a thing does not have
    "request": -0.40,  # asked for, not measured
    "limit": -0.25,
    "assistance": -0.30,  # the name says that a system does it, not the driver or car
    "assistance message": -0.40,
}
COMMENT_WORDS_MAX: Final = 12
CONFIDENCE_MAX: Final = 0.99
_REQUEST: Final = frozenset({"request", "command", "set", "desired"})
_ACTS: Final = frozenset({"pressed", "pedal", "driver", "stalk"})
_FILLERS: Final = frozenset({"state", "active", "request", "signal", "front", "rear",
                             "side", "unit", "position", "vehicle"})  # fmt: skip
_SYSTEMS: Final = frozenset({"automation", "radar"})
_LAST_TWO: Final = {("no", "cnt"), ("msg", "count"), ("msg", "cnt"), ("stat", "cnt")}
_LAST: Final = frozenset({"cs", "bz", "rc", "cnt_roll", "crc"})  # as a last token
_NO_VALUE: Final = frozenset({"checksum", "counter", "reserved", "multiplexer",
                              "quality", "zero", "unknown", "validity"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Evidence:
    """One reason: its name in the table of weights, what was found, how much it is."""

    name: str
    found: str
    weight: float


@dataclass(frozen=True, slots=True)
class Score:
    """A topic with its evidence."""

    topic: Topic
    evidence: tuple[Evidence, ...]

    @property
    def total(self) -> float:
        """Return the sum of the weights."""
        return sum(one.weight for one in self.evidence)

    @property
    def confidence(self) -> float:
        """Return the sum, between 0 and ``CONFIDENCE_MAX``."""
        return round(min(max(self.total, 0.0), CONFIDENCE_MAX), 2)

    def reason(self) -> str:
        """Return the evidence in words, the strongest first."""
        ordered = sorted(self.evidence, key=lambda one: -abs(one.weight))
        return "; ".join(f"{one.name}: {one.found}" for one in ordered if one.found)


def evidence(name: str, found: str) -> Evidence:
    """Return a piece of evidence with the table's weight."""
    return Evidence(name, found, WEIGHTS[name])


def plumbing(facts: Facts, reading: Reading) -> str:
    """Return why a signal tells nothing by itself, "" where it may."""
    if facts.is_multiplexer:
        return "selects other signals"
    if facts.is_validity:
        return "tells whether its neighbour holds"
    found = reading.name & _NO_VALUE
    if reading.parts and reading.parts[-1] in _LAST:
        found |= {reading.parts[-1]}
    if reading.parts[-2:] in _LAST_TWO and "pulse" not in reading.name:
        found |= {"counter"}
    return ", ".join(sorted(found))


def score(topic: Topic, facts: Facts, reading: Reading) -> Score:
    """Add up what speaks for and against one topic."""
    named = _terms(topic, reading)
    owner = _owner(topic, reading)
    found = named if named and owner and owner.name == "owner" else [*named, owner]
    found = [one for one in found if one]
    if not found:
        return Score(topic, ())
    supported = sorted(topic.message & reading.group - reading.name) or (
        owner and [owner.found]
    )
    if supported and named:
        found.append(evidence("message", " ".join(supported)))
    found += _quantity(topic, facts, reading)
    if topic.corners and (corner := _corner(reading)):
        found.append(evidence("corner", corner))
    found += _against(topic, reading)
    return Score(topic, tuple(found))


def _terms(topic: Topic, reading: Reading) -> list[Evidence]:
    """Return the best term that the name holds, and whether the comment holds one."""
    out: list[Evidence] = []
    best: Evidence | None = None
    for term in topic.terms if topic.vocabulary & reading.name else ():
        one = _term(term, reading)
        if one and (best is None or one.weight > best.weight):
            best = one
    if best is None and 0 < len(reading.comment) <= COMMENT_WORDS_MAX:
        named = [t for t in topic.terms if len(t.words) > 1 or t.is_strong]
        held = [term.words for term in named if term.words <= reading.comment]
        return [evidence("comment", " ".join(sorted(held[0])))] if held else []
    if best:
        out.append(best)
        if not (reading.name & MEANINGS) - _FILLERS - set(best.found.split()):
            out.append(evidence("nothing else", best.found))
        said = [term.words for term in topic.terms if term.words <= reading.said]
        if said:
            out.append(evidence("said", " ".join(sorted(said[0]))))
        owned = [term.words for term in topic.owner if term.words <= reading.file]
        if owned:
            out.append(evidence("file", " ".join(sorted(owned[0]))))
    return out


def _term(term: Term, reading: Reading) -> Evidence | None:
    text = " ".join(sorted(term.words))
    if term.words <= reading.name:
        names = {1: "strong word" if term.is_strong else "one word", 2: "two words"}
        return evidence(names.get(len(term.words), "three words"), text)
    if term.is_whole or not term.words & reading.name:
        return None
    if term.words <= reading.name | reading.group:
        return evidence("across", text)
    if term.words <= reading.name | reading.group | reading.file:
        return evidence("across file", text)
    return None


def _owner(topic: Topic, reading: Reading) -> Evidence | None:
    for term in topic.owner:
        if term.words <= reading.group:
            name = "sole owner" if term.is_strong else "owner"
            return evidence(name, " ".join(sorted(term.words)))
    return None


def _quantity(topic: Topic, facts: Facts, reading: Reading) -> list[Evidence]:
    out: list[Evidence] = []
    if topic.units and reading.unit:
        name = "unit" if reading.unit in topic.units else "unit against"
        out.append(evidence(name, facts.unit))
    if topic.bits and facts.bits:
        low, high = topic.bits
        fits = low <= facts.bits <= high
        out.append(
            evidence("length" if fits else "length against", f"{facts.bits} bit")
        )
    if topic.span and facts.low is not None and facts.high is not None:
        first, last = topic.span
        fits = first <= facts.low and facts.high <= last
        text = f"{facts.low:g} to {facts.high:g}"
        out.append(evidence("range" if fits else "range against", text))
    return out


def _against(topic: Topic, reading: Reading) -> list[Evidence]:
    out: list[Evidence] = []
    if wrong := sorted(topic.against & reading.name):
        out.append(evidence("word against", " ".join(wrong)))
    if wrong := sorted(topic.elsewhere & reading.group):
        out.append(evidence("message against", " ".join(wrong)))
    if "failed" in reading.name and not topic.fault:
        out.append(evidence("fault", "name"))
    if not topic.requested:
        if asked := sorted(_REQUEST & reading.name):
            out.append(evidence("request", " ".join(asked)))
        if "limit" in reading.name:
            out.append(evidence("limit", "limit"))
    if topic.by_system:
        return out
    if acts := sorted(_ACTS & reading.name):
        if topic.category == "chassis.controls":
            out.append(evidence("act of the driver", " ".join(acts)))
    elif "automation" in reading.name:
        out.append(evidence("assistance", "name"))
    elif systems := sorted(_SYSTEMS & reading.group):
        out.append(evidence("assistance message", " ".join(systems)))
    return out


def _corner(reading: Reading) -> str:
    return next((part for part in reading.parts if part in CORNERS), "")


def rank(topics: Sequence[Topic], facts: Facts, reading: Reading) -> list[Score]:
    """Return the topics that anything speaks for, the best first."""
    scores = [score(topic, facts, reading) for topic in topics]
    found = [one for one in scores if one.total > 0]
    return sorted(found, key=lambda one: -one.total)
