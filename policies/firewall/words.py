"""A firewall's rules in plain words: for explain, diff, status and evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.firewall.spans import GROUPS
from policies.firewall.tables import Do, Mode
from protocols.modbus.functions import function_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.firewall.tables import (
        CompiledFirewall,
        FirewallRule,
        Hours,
        Rate,
        Spans,
    )

_TABLES = {0: "coils", 1: "discrete inputs", 3: "input registers",
           4: "holding registers"}  # fmt: skip
_DO = {Do.ALLOW: "may", Do.DENY: "may not", Do.ALERT: "is told of where it does"}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WINDOWS = {10**9: "s", 60 * 10**9: "min", 3600 * 10**9: "h", 86_400 * 10**9: "d"}
FUNCTIONS_MAX = 4  # named one by one


def rule_words(
    rule: FirewallRule,
    firewall: CompiledFirewall,
    links: Sequence[str],
    items: Sequence[str] = (),
) -> str:
    """Return one line: who may (not) do what to which addresses of which device."""
    who = "anybody"
    if rule.clients is not None:
        names = [firewall.clients[number].name for number in sorted(rule.clients)]
        who = ", ".join(names) or "nobody"
    to = "any device"
    if rule.links is not None:
        names = [links[number] for number in sorted(rule.links) if number < len(links)]
        to = ", ".join(names) or "no device of this gateway"
    where = [f"to {to}"]
    if rule.units is not None:
        where.append(f"unit {spans_words(rule.units)}")
    parts = [f"{who} {_DO[rule.do]} {functions_words(rule.functions)}"]
    if rule.subs is not None:
        parts[0] += f" (sub-function {spans_words(rule.subs)})"
    parts.append(" ".join(where))
    if rule.point is not None and rule.point.item < len(items):
        parts.append(items[rule.point.item])
    elif rule.table is not None or rule.addresses is not None:
        table = "addresses" if rule.table is None else _TABLES[rule.table]
        told = "" if rule.addresses is None else f" {spans_words(rule.addresses)}"
        parts.append(f"{table}{told}")
    parts += _limits(rule)
    return ", ".join(parts)


def _limits(rule: FirewallRule) -> list[str]:
    out = []
    if rule.value is not None:
        out.append(f"values {rule.value[0]:g} to {rule.value[1]:g}")
    if rule.max_delta is not None:
        out.append(f"changes of {rule.max_delta:g} at most")
    if rule.rate is not None:
        out.append(rate_words(rule.rate))
    if rule.hours is not None:
        out.append(hours_words(rule.hours))
    return out


def spans_words(spans: Spans) -> str:
    """Return ``0-19, 100``."""
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans)


def functions_words(functions: frozenset[int] | None) -> str:
    """Return names of functions, a group's name where they are one."""
    if functions is None:
        return "use every function"
    for name, group in GROUPS.items():
        if functions == group:
            return f"use {name}"
    names = [function_name(code) for code in sorted(functions)]
    more = len(names) - FUNCTIONS_MAX
    shown = names[:FUNCTIONS_MAX] + ([f"{more} more"] if more > 0 else [])
    return ", ".join(shown)


def rate_words(rate: Rate) -> str:
    """Return ``6/min``."""
    return f"{rate.count}/{_WINDOWS[rate.window_ns]}"


def hours_words(hours: Hours) -> str:
    """Return ``Mon Tue 07:00-19:00 +08:00``."""
    days = " ".join(_DAYS[day] for day in sorted(hours.days))
    sign, offset = "-" if hours.offset_min < 0 else "+", abs(hours.offset_min)
    begin, end, zone = (
        f"{minutes // 60:02}:{minutes % 60:02}"
        for minutes in (hours.begin_min, hours.end_min, offset)
    )
    return f"{days} {begin}-{end} {sign}{zone}"


def head_words(firewall: CompiledFirewall) -> str:
    """Return what holds beside the rules."""
    default = firewall.default.name.lower()
    mode = firewall.mode.name.lower().replace("_", "-")
    told = f"default {default}, {mode}, {len(firewall.rules)} rules"
    if firewall.mode is Mode.DRY_RUN:
        told += ": nothing is refused"
    return told
