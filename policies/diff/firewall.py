"""Differences of the Modbus firewall, rule by rule: what it lets through more or less.

Only what is certain counts as tighter. A rule that is wider, an allow that is new, a
deny that is gone or moved count as looser or changed, and are guarded: who may write to
a machine is a matter for two approvers (GOV-04).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from policies.diff.difference import Kind, Line
from policies.firewall.order import allows_as_much
from policies.firewall.tables import Default, Do, Mode
from policies.firewall.words import head_words, rule_words

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from policies.compile import Compiled
    from policies.firewall.tables import CompiledFirewall, FirewallRule

# From the most open to the most closed.
_MODES: Final = (Mode.DRY_RUN, Mode.ENFORCE, Mode.READ_ONLY)


def firewall_lines(old: Compiled, new: Compiled) -> Iterator[Line]:
    """Yield what differs in the ``modbus:`` sections of two policies."""
    before, after = old.policy.firewall, new.policy.firewall
    if before is None and after is None:
        return
    if before is None or after is None:
        words = [
            "no Modbus firewall" if one is None else f"a firewall: {head_words(one)}"
            for one in (before, after)
        ]
        why = "another thing decides what proxied masters may do"
        yield _line(Kind.CHANGED, words[0], words[1], why)
        return
    yield from _settings(before, after)
    yield from _rules(old, before, new, after)


def _line(kind: Kind, before: str, after: str, why: str) -> Line:
    guarded = kind is not Kind.TIGHTER
    return Line(
        kind, "", (), 0, "", None, before, after, why if guarded else "", guarded
    )


def _settings(old: CompiledFirewall, new: CompiledFirewall) -> Iterator[Line]:
    for had, have, words, why in (
        (
            old.default is Default.DENY,
            new.default is Default.DENY,
            ("Modbus: what no rule allows passes", "Modbus: it is refused"),
            "what no rule allows passes",
        ),
        (
            not old.pass_reads_on_failure,
            not new.pass_reads_on_failure,
            ("Modbus: reads pass where the judge fails", "Modbus: they are refused"),
            "reads pass where the judge fails",
        ),
        (
            _MODES.index(old.mode),
            _MODES.index(new.mode),
            None,
            f"mode {_mode(new)}",
        ),
    ):
        if had == have:
            continue
        kind = Kind.LOOSER if have < had else Kind.TIGHTER
        told = words or (f"Modbus: mode {_mode(old)}", f"mode {_mode(new)}")
        before, after = (told[0], told[1]) if have > had else (told[1], told[0])
        if words is None:
            before, after = told
        yield _line(kind, before, after, why)
    if old.silent != new.silent:
        answers = [
            f"Modbus: refused requests get {'no answer' if one.silent else 'an answer'}"
            for one in (old, new)
        ]
        yield dataclasses.replace(
            _line(Kind.CHANGED, answers[0], answers[1], "masters see it differently"),
            is_guarded=False,
        )


def _mode(firewall: CompiledFirewall) -> str:
    return firewall.mode.name.lower().replace("_", "-")


def _rules(
    old_of: Compiled, old: CompiledFirewall, new_of: Compiled, new: CompiledFirewall
) -> Iterator[Line]:
    had = {_key(old_of, old, rule): rule for rule in old.rules}
    have = {_key(new_of, new, rule): rule for rule in new.rules}
    common_old = [key for key in had if key in have]
    common_new = [key for key in have if key in had]
    denies = any(rule.do is Do.DENY for rule in (*old.rules, *new.rules))
    if denies and common_old != common_new:
        why = "the first rule decides, and the order is another one"
        yield _line(Kind.CHANGED, "Modbus rules in order", "in another order", why)
    fresh = [rule for key, rule in have.items() if key not in had]
    gone = [rule for key, rule in had.items() if key not in have]
    for rule in fresh:
        within = rule.do is Do.ALLOW and any(
            one.do is Do.ALLOW and allows_as_much(old, one, new, rule)
            for one in old.rules
        )
        told = _told(rule, new_of, new)
        if rule.do is Do.ALLOW and not within:
            yield _line(Kind.LOOSER, "", f"Modbus: {told}", f"new: {told}")
        else:
            yield _line(Kind.TIGHTER, "", f"Modbus: {told}", "")
    for rule in gone:
        told = _told(rule, old_of, old)
        if rule.do is Do.ALLOW:
            yield _line(Kind.TIGHTER, f"Modbus: {told}", "no such rule", "")
        else:
            why = f"no more: {told}"
            yield _line(Kind.LOOSER, f"Modbus: {told}", "no such rule", why)


def _told(rule: FirewallRule, compiled: Compiled, firewall: CompiledFirewall) -> str:
    items = compiled.policy.items.name
    return f"{rule.name}: {rule_words(rule, firewall, compiled.links, items)}"


def _key(
    compiled: Compiled, firewall: CompiledFirewall, rule: FirewallRule
) -> Hashable:
    """Return what a rule does, whatever it and its clients are called."""
    clients = None
    if rule.clients is not None:
        groups = [firewall.clients[number] for number in rule.clients]
        clients = frozenset((group.networks, group.role) for group in groups)
    links = None
    if rule.links is not None:
        links = frozenset(compiled.links[number] for number in rule.links)
    point = None
    if rule.point is not None:
        point = dataclasses.replace(rule.point, item=0, link=0, period_ns=0)
    plain = dataclasses.replace(
        rule, name="", note="", clients=None, links=None, point=point
    )
    return plain, clients, links
