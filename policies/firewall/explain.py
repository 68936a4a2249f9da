"""Why a Modbus request passes or not: every rule of the firewall, in order.

What values, rates, hours and the past decide is said as a condition; nothing is judged
here (``agent.firewall.judge`` does). Function 23 is asked by halves: its write as 23,
its read as 3, which rules for 23 allow, too.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from policies.firewall.plain import PlainRule, plain_rules, table_of
from policies.firewall.relations import may_meet
from policies.firewall.tables import NAMED_UNITS
from policies.firewall.words import TABLE_WORDS, limit_words, rule_words, spans_words
from protocols.modbus.functions import NO_TABLE, function_name, is_write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.compile import Compiled
    from policies.firewall.plain import Client


class Says(StrEnum):
    """What a rule has to say about a request."""

    ALLOWS = "allows"
    ALLOWS_IF = "allows if"
    DENIES = "denies"
    DENIES_IF = "denies if"
    TELLS = "tells"
    BEHIND = "not reached"
    OTHER = "does not match"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, or a half of one. ``last`` < ``first``: it addresses nothing."""

    master: str  # IP address
    role: str
    link: str
    unit: int
    code: int
    sub: int
    first: int
    last: int

    @property
    def table(self) -> int:
        """Return the table that it addresses, NO_TABLE for none."""
        return table_of(self.code)


@dataclass(frozen=True, slots=True)
class FirewallWord:
    """One rule of the file, as it is for one request."""

    name: str
    line: int  # in the policy file
    says: Says
    reason: str  # its limits, or why it has no say
    rule: str  # in words


@dataclass(frozen=True, slots=True)
class RequestWord:
    """All rules in order, and what comes of the request."""

    rules: tuple[FirewallWord, ...]
    verdict: str


def explain_request(compiled: Compiled, asked: Asked) -> RequestWord:
    """Return what the firewall says of a request; ValueError without a firewall."""
    told = compiled.document.model.modbus
    if told is None:
        raise ValueError("the policy has no modbus section: its links decide")
    words = tuple(_rules(compiled, plain_rules(told), asked))
    verdict = _verdict(words, monitors=told.default == "monitor")
    if told.mode == "read-only" and is_write(asked.code, asked.sub):
        verdict = "refused: mode read-only"
    if told.mode == "dry-run" and verdict != "passes":
        verdict += "; and passes all the same: mode dry-run"
    return RequestWord(words, verdict)


def _verdict(words: tuple[FirewallWord, ...], *, monitors: bool) -> str:
    said = [one.says for one in words]
    maybe = Says.ALLOWS_IF in said or Says.DENIES_IF in said
    if Says.ALLOWS in said:
        end = "passes"
    elif Says.DENIES in said:
        end = "refused"
    else:
        end = "passes: default monitor" if monitors else "refused: no rule allows it"
    return f"as its conditions say; else {end}" if maybe else end


def _rules(
    compiled: Compiled, rules: tuple[PlainRule, ...], asked: Asked
) -> Iterator[FirewallWord]:
    closed = ""
    for rule in rules:
        here = placed(compiled, rule)
        found = [mismatch(one, asked) for one in here] or ["its item is not bound here"]
        reason = "" if "" in found else found[0]
        says = Says.OTHER
        if not reason:
            says, reason = _says(rule, asked)
        if closed and says not in {Says.OTHER, Says.TELLS}:
            says, reason = Says.BEHIND, f"{closed} decides before it"
        if says in {Says.ALLOWS, Says.DENIES}:
            closed = rule.name
        line = compiled.document.tree.line(("modbus", "rules", rule.number))
        yield FirewallWord(rule.name, line, says, reason, rule_words(rule))


def _says(rule: PlainRule, asked: Asked) -> tuple[Says, str]:
    if not is_write(asked.code, asked.sub):  # they look at what is written
        rule = replace(rule, value=None, max_delta=None)
    limits = ", ".join(limit_words(rule))
    if rule.do == "alert":
        return Says.TELLS, ""
    if rule.do == "deny":
        return (Says.DENIES_IF if limits else Says.DENIES), limits
    return (Says.ALLOWS_IF if limits else Says.ALLOWS), limits


def mismatch(rule: PlainRule, asked: Asked) -> str:
    """Return why a rule has no say about a request, "" where it has."""
    if rule.clients is not None and not any(_is(one, asked) for one in rule.clients):
        return f"for {' or '.join(rule.masters or ())}"
    if rule.links is not None and asked.link not in rule.links:
        return f"for {', '.join(sorted(rule.links)) or 'no device'}"
    if rule.units is None:
        if asked.unit in NAMED_UNITS and rule.do == "allow":
            return f"unit {asked.unit} must be named"
    elif not _holds(rule.units, asked.unit, asked.unit):
        return f"for unit {spans_words(rule.units)}"
    if asked.code not in rule.codes and not (asked.code == 3 and 23 in rule.codes):
        return f"not for {function_name(asked.code)}"
    if rule.subs is not None and not _holds(rule.subs, asked.sub, asked.sub):
        return f"for sub-function {spans_words(rule.subs)}"
    if rule.table is not None and rule.table != asked.table:
        return f"for {TABLE_WORDS[rule.table]}"
    return _elsewhere(rule, asked)


def _elsewhere(rule: PlainRule, asked: Asked) -> str:
    if rule.addresses is None:
        return ""
    if asked.table == NO_TABLE or asked.last < asked.first:
        return "for addresses, and the function has none"
    if rule.do != "allow":
        touched = any(a <= asked.last and asked.first <= b for a, b in rule.addresses)
        return "" if touched else f"for addresses {spans_words(rule.addresses)}"
    if rule.item is None and _holds(rule.addresses, asked.first, asked.last):
        return ""
    if rule.item is not None and _item_covers(rule, asked):
        return ""
    return f"covers addresses {spans_words(rule.addresses)} only"


def _item_covers(rule: PlainRule, asked: Asked) -> bool:
    """Tell whether an item's rule covers a request: writes of it whole and alone."""
    assert rule.addresses is not None  # where its point lies
    if is_write(asked.code, asked.sub):
        return rule.addresses == ((asked.first, asked.last),)
    return _holds(rule.addresses, asked.first, asked.last)


def _holds(spans: tuple[tuple[int, int], ...], first: int, last: int) -> bool:
    return any(a <= first and last <= b for a, b in spans)


def _is(client: Client, asked: Asked) -> bool:
    networks, role = client
    if role and role != asked.role:
        return False
    address = ipaddress.ip_address(asked.master)
    return not networks or any(address in ipaddress.ip_network(one) for one in networks)


def placed(compiled: Compiled, rule: PlainRule) -> list[PlainRule]:
    """Return a rule where its item lies; nothing where it is not bound here."""
    if rule.item is None:
        return [rule]
    names, links = compiled.policy.items.name, compiled.links
    return [
        replace(
            rule,
            links=frozenset({links[point.link]}),
            units=((point.unit, point.unit),),
            table=point.table,
            addresses=((point.address, point.address + point.registers - 1),),
        )
        for point in compiled.modbus
        if names[point.item] == rule.item
        and (rule.links is None or links[point.link] in rule.links)
    ]


def rules_about(compiled: Compiled, row: int) -> Iterator[str]:
    """Yield the rules, in words, that may touch where an item of the table lies."""
    told = compiled.document.model.modbus
    if told is None:
        return
    places = [
        PlainRule(
            links=frozenset({compiled.links[point.link]}),
            units=((point.unit, point.unit),),
            table=point.table,
            addresses=((point.address, point.address + point.registers - 1),),
        )
        for point in compiled.modbus
        if point.item == row
    ]
    for rule in plain_rules(told):
        here = [replace(one, item=None) for one in placed(compiled, rule)]
        if any(may_meet(one, place) for one in here for place in places):
            line = compiled.document.tree.line(("modbus", "rules", rule.number))
            yield f"{rule.name} (line {line}): {rule_words(rule)}"
