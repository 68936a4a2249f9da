"""What a new policy lets masters do that an old one did not, or no longer.

A policy's firewall is a set of requests that pass: every ``allow``, less what the
``deny`` rules before it refuse; ``default: monitor`` is one more ``allow`` at the end.
An allow of one side is no more than the other side has where one of the other's holds
all of it (piece by piece of its masters and functions, if need be), and every deny
before that one has its like before this one. What is not proved is looser, or tighter,
in the other direction: fail closed. Compared are names, not what this gateway has of
them. A looser firewall is guarded: two different people approve it (GOV-04).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain, product
from typing import TYPE_CHECKING, Final

from policies.diff.difference import Kind, Line
from policies.firewall.plain import EVERYTHING, monitor_rule, plain_rules
from policies.firewall.relations import Holders, may_meet, refuses_all, within
from policies.firewall.words import rule_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from policies.compile import Compiled
    from policies.firewall.plain import PlainRule
    from policies.model_firewall import Firewall

CHECKS_MAX: Final = 1_000_000  # comparisons of two rules
PIECES_MAX: Final = 512  # of one rule, by its masters and functions
_STRICT: Final = {"dry-run": 0, "enforce": 1, "read-only": 2}
_MODE: Final = {
    "dry-run": "nothing is refused: dry-run",
    "enforce": "enforced",
    "read-only": "every write refused: read-only",
}


class _SpentError(Exception):
    """More comparisons than are made."""


@dataclass(slots=True)
class _Budget:
    left: int

    def take(self, many: int = 1) -> None:
        self.left -= many
        if self.left < 0:
            raise _SpentError


@dataclass(frozen=True, slots=True)
class _Side:
    """The rules of one policy's firewall, and what precedes them."""

    rules: tuple[PlainRule, ...]  # all of them, in order; monitor's last
    places: dict[PlainRule, list[int]]
    allows: list[tuple[int, PlainRule]]
    refusing: list[tuple[int, PlainRule]]  # the denies
    alerts: list[PlainRule]
    holders: Holders  # of the allows

    def denies(self, before: int) -> list[PlainRule]:
        return [rule for number, rule in self.refusing if number < before]


def firewall_lines(old: Compiled | None, new: Compiled) -> Iterator[Line]:
    """Yield what differs between the firewalls of two policies."""
    before = None if old is None else old.document.model.modbus
    after = new.document.model.modbus
    if before == after:
        return
    if after is None:
        why = "nothing is judged any more: a link does as its without_policy says"
        yield _line(Kind.LOOSER, "a firewall", "none", why)
        return
    if before is None and old is not None:
        yield _line(Kind.TIGHTER, "no firewall", "one that judges every request", "")
    yield from _settings(before, after)
    sides = _side(before), _side(after)
    try:
        yield from _rules(*sides)
        yield from _alerts(*sides)
    except _SpentError:
        why = "too many rules differ to be compared one by one"
        yield _line(Kind.CHANGED, "the rules as before", "other rules", why)


def _side(told: Firewall | None) -> _Side:
    rules = () if told is None else plain_rules(told)
    if told is not None and told.default == "monitor":
        rules = (*rules, monitor_rule())
    places: dict[PlainRule, list[int]] = {}
    for number, rule in enumerate(rules):
        places.setdefault(rule, []).append(number)
    numbered = [*enumerate(rules)]
    holders = Holders()
    for number, rule in numbered:
        if rule.do == "allow":
            holders.add(number, rule)
    return _Side(
        rules,
        places,
        [(n, rule) for n, rule in numbered if rule.do == "allow"],
        [(n, rule) for n, rule in numbered if rule.do == "deny"],
        [rule for rule in rules if rule.do == "alert"],
        holders,
    )


# --- Settings -------------------------------------------------------------------------


def _settings(old: Firewall | None, new: Firewall) -> Iterator[Line]:
    had = "enforce" if old is None else old.mode
    if had != new.mode:
        looser = _STRICT[new.mode] < _STRICT[had]
        why = f"mode {new.mode} lets through what {had} refused" if looser else ""
        yield _line(_kind(looser=looser), _MODE[had], _MODE[new.mode], why)
    if (old.on_failure if old else "refuse") != new.on_failure:
        looser = new.on_failure == "pass-reads"
        words = [
            f"{'reads pass' if passes else 'all is refused'} where the judge fails"
            for passes in (not looser, looser)
        ]
        why = "reads pass unjudged where the judge fails" if looser else ""
        yield _line(_kind(looser=looser), words[0], words[1], why)
    if old is not None and old.answer != new.answer:
        words = [f"refused requests: {one.answer}" for one in (old, new)]
        why = "masters are answered otherwise"
        line = _line(Kind.CHANGED, words[0], words[1], why)
        yield replace(line, is_guarded=False)  # it protects neither more nor less


def _kind(*, looser: bool) -> Kind:
    return Kind.LOOSER if looser else Kind.TIGHTER


# --- Rules ----------------------------------------------------------------------------


def _rules(old: _Side, new: _Side) -> Iterator[Line]:
    """Yield a line for each name whose rule lets through more, or less."""
    budget = _Budget(CHECKS_MAX)
    looser = {rule.name: (rule, why) for rule, why in _more(new, old, budget)}
    tighter = {rule.name: (rule, why) for rule, why in _more(old, new, budget)}
    had = {rule.name: rule for rule in old.rules}
    have = {rule.name: rule for rule in new.rules}
    for name in dict.fromkeys([*have, *had]):
        if name not in looser and name not in tighter:
            continue
        kind = Kind.CHANGED
        if name not in tighter:
            kind = Kind.LOOSER
        elif name not in looser:
            kind = Kind.TIGHTER
        why = looser[name][1] if name in looser else ""
        before, after = (_said(name, side.get(name)) for side in (had, have))
        if before == after:  # only what stands before it is another
            after = f"{after}, behind other denies than before"
        yield _line(kind, before, after, why)


def _said(name: str, rule: PlainRule | None) -> str:
    if rule is None:
        return f"no rule {name}"
    if name == EVERYTHING and rule.number < 0:
        return "what no rule allows passes (monitor)"
    return f"{name}: {rule_words(rule)}"


def _more(
    side: _Side, other: _Side, budget: _Budget
) -> Iterator[tuple[PlainRule, str]]:
    """Yield the allows of ``side`` that let through what ``other`` may not."""
    used: set[int] = set()
    for place, rule in side.allows:
        why = _why_more(rule, other, used, side.denies(place), budget)
        if why:
            yield rule, why


def _why_more(
    rule: PlainRule,
    other: _Side,
    used: set[int],
    before: list[PlainRule],
    budget: _Budget,
) -> str:
    """Return why a rule is not proved to be within the other side, "" where it is.

    ``before``: what denies before it. ``used``: rules of the other side with a rate
    that hold another rule already: two quotas are more than one.
    """
    found, why = _holder(rule, other, used, before, budget)
    held = {found}
    pieces = _pieces(rule) if found < 0 else []
    if found < 0 and len(pieces) < 2:
        return why
    if pieces:
        held = set()
    for piece in pieces:
        found, why = _holder(piece, other, used, before, budget)
        if found < 0:
            return why
        held.add(found)
    used |= {number for number in held if other.rules[number].rate is not None}
    return ""


def _pieces(rule: PlainRule) -> list[PlainRule]:
    """Return a rule by its masters, devices and functions, one of each."""
    clients = [None] if rule.clients is None else [*rule.clients]
    links = [None] if rule.links is None else [*rule.links]
    codes = [None] if rule.functions is None else [*rule.functions]
    if len(clients) * len(links) * len(codes) > PIECES_MAX:
        return [rule]
    return [
        replace(
            rule,
            clients=None if client is None else frozenset({client}),
            links=None if link is None else frozenset({link}),
            functions=None if code is None else frozenset({code}),
        )
        for client, link, code in product(clients, links, codes)
    ]


def _holder(
    rule: PlainRule,
    other: _Side,
    used: set[int],
    before: list[PlainRule],
    budget: _Budget,
) -> tuple[int, str]:
    """Return the other side's allow that holds all of a rule; -1 and why none does."""
    why = "allows what no rule allowed"
    same = other.places.get(rule, [])
    for number, one in chain(((n, rule) for n in same), other.holders.of(rule)):
        budget.take()
        if number in used or not (one == rule or within(rule, one)):
            continue
        lost = _lost(rule, other.denies(number), before, budget)
        if lost is None:
            return number, ""
        why = f"the deny {lost.name} no longer comes before it"
    return -1, why


def _lost(
    rule: PlainRule,
    had: Sequence[PlainRule],
    have: Sequence[PlainRule],
    budget: _Budget,
) -> PlainRule | None:
    """Return the first deny of ``had`` about a rule that ``have`` has no like of."""
    known = set(have)
    for deny in had:
        budget.take()
        if deny in known or not may_meet(deny, rule):
            continue
        budget.take(len(have))
        if not any(refuses_all(one, deny) or refuses_all(one, rule) for one in have):
            return deny
    return None


# --- Alerts ---------------------------------------------------------------------------


def _alerts(old: _Side, new: _Side) -> Iterator[Line]:
    """Yield alerts that nobody gets any more, and new ones."""
    for kind, have, had in (
        (Kind.LOOSER, new.alerts, old.alerts),
        (Kind.TIGHTER, old.alerts, new.alerts),
    ):
        known = set(have)
        for rule in had:
            if rule in known or any(refuses_all(one, rule) for one in have):
                continue
            words = _said(rule.name, rule)
            if kind is Kind.LOOSER:
                why = "nobody is told of it any more"
                yield _line(kind, words, "no such alert", why)
            else:
                yield _line(kind, "no such alert", words, "")


def _line(kind: Kind, before: str, after: str, why: str) -> Line:
    return Line(
        kind, "", (), 0, "", None, f"modbus: {before}", after, why,
        is_guarded=kind is not Kind.TIGHTER,
    )  # fmt: skip
