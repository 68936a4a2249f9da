"""A topic: what a kind of signal is called, measured in, and where it is found.

Terms are words of ``lexicon.py``; ``"brake pedal"`` needs both. ``!`` makes a term
strong: it stands for itself; ``=`` keeps it whole: all its words are in the name.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Term:
    """Words that name a topic together."""

    words: frozenset[str]
    is_strong: bool  # "x!": stands for itself
    is_whole: bool  # "x y=": both in the name, none in the message's name


@dataclass(frozen=True, slots=True)
class Topic:
    """One kind of signal; scored by ``scoring.py``."""

    name: str  # in words, for reasons
    category: str  # "" = in no category
    item: str  # path; {row} {side} {Name} are filled in
    terms: tuple[Term, ...]
    units: frozenset[str]
    message: frozenset[str]  # words of the message that support a term
    owner: tuple[Term, ...]  # a message that is about nothing else
    against: frozenset[str]
    elsewhere: frozenset[str]  # words of the message that speak against it
    bits: tuple[int, int] | None
    span: tuple[float, float] | None  # physical values lie within
    corners: bool  # comes once for each wheel or seat
    requested: bool  # a request or setting of it tells the same
    by_system: bool  # it is all the same when a system of assistance does it
    fault: bool  # is about faults
    vocabulary: frozenset[str]  # every word of its terms


def topic(
    name: str,
    category: str,
    item: str,
    terms: str,
    *,
    units: str = "",
    message: str = "",
    owner: str = "",
    against: str = "",
    elsewhere: str = "",
    bits: tuple[int, int] | None = None,
    span: tuple[float, float] | None = None,
    corners: bool = False,
    requested: bool = False,
    by_system: bool = False,
    fault: bool = False,
) -> Topic:
    """Return a topic of comma-separated terms and space-separated words."""
    known = _terms(terms)
    return Topic(
        name, category, item, known, frozenset(units.split()),
        frozenset(message.split()), _terms(owner), frozenset(against.split()),
        frozenset(elsewhere.split()), bits, span, corners, requested, by_system, fault,
        frozenset(word for term in known for word in term.words),
    )  # fmt: skip


def _terms(text: str) -> tuple[Term, ...]:
    out: list[Term] = []
    for term in filter(None, (part.strip() for part in text.split(","))):
        marks = term[len(term.rstrip("!=")) :]
        held = frozenset(term.rstrip("!=").split())
        out.append(Term(held, "!" in marks, "=" in marks))
    return tuple(out)
