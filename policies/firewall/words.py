"""Rules of the firewall in words, as people read them: for diff and explain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from policies.firewall.plain import ALL_UNITS
from policies.firewall.spans import GROUPS
from policies.words import days_words, span
from protocols.modbus.functions import NO_TABLE, function_name

if TYPE_CHECKING:
    from policies.firewall.plain import PlainRule
    from policies.firewall.tables import Hours, Spans

TABLE_WORDS: Final = {
    0: "coils", 1: "discrete inputs", 3: "input registers", 4: "holding registers",
    NO_TABLE: "no table",
}  # fmt: skip
MAY: Final = {"allow": "may", "deny": "may not", "alert": "(told of, nothing else)"}
NAMES_MAX: Final = 4


def rule_words(rule: PlainRule) -> str:
    """Return one rule: who may ask which device for what, within which limits."""
    parts = [f"{_masters(rule)} {MAY[rule.do]} {functions_words(rule)}"]
    parts += [f"of {rule.item}"] if rule.item is not None else []
    parts.append(f"at {_listed(sorted(rule.links))}" if rule.links else "everywhere")
    if rule.links is not None and not rule.links:
        parts[-1] = "nowhere"
    if rule.units is not None:
        parts.append(f"unit {spans_words(rule.units)}")
    if rule.table is not None and rule.item is None:
        parts.append(TABLE_WORDS[rule.table])
    if rule.addresses is not None:
        one = rule.addresses[0][0] == rule.addresses[-1][1]
        parts.append(f"address{'' if one else 'es'} {spans_words(rule.addresses)}")
    return ", ".join([*parts, *limit_words(rule)])


def _masters(rule: PlainRule) -> str:
    return "any master" if rule.masters is None else _listed(rule.masters, " or ")


def functions_words(rule: PlainRule) -> str:
    """Return its functions: a group's name where they are one, else each by name."""
    if rule.functions is None:
        told = "use any function"
    else:
        groups = [name for name, codes in GROUPS.items() if codes == rule.functions]
        names = [function_name(code) for code in sorted(rule.functions)]
        told = f"use {groups[0]}" if groups else _listed(names)
    sub = "" if rule.subs is None else f" (sub-function {spans_words(rule.subs)})"
    return f"{told}{sub}"


def spans_words(spans: Spans) -> str:
    """Return ranges: ``0-199, 300``."""
    if spans == ALL_UNITS:
        return "0-255"
    return _listed([str(a) if a == b else f"{a}-{b}" for a, b in spans])


def _listed(names: list[str] | tuple[str, ...], between: str = ", ") -> str:
    more = len(names) - NAMES_MAX
    if more > 0:
        return f"{between.join(names[:NAMES_MAX])} and {more} more"
    return between.join(names) or "nobody"


def limit_words(rule: PlainRule) -> list[str]:
    """Return what limits it: value, change, rate, hours."""
    out = []
    if rule.value is not None:
        out.append(f"values {rule.value[0]:g} to {rule.value[1]:g}")
    if rule.max_delta is not None:
        out.append(f"changed by {rule.max_delta:g} at most")
    if rule.rate is not None:
        out.append(f"{rule.rate.count} in {span(rule.rate.window_ns)} at most")
    if rule.hours is not None:
        out.append(hours_words(rule.hours))
    return out


def hours_words(hours: Hours) -> str:
    """Return ``Mon-Fri 07:00-19:00 +08:00``."""
    days = "" if len(hours.days) == 7 else f"{days_words(sorted(hours.days))} "
    offset = abs(hours.offset_min)
    sign = "-" if hours.offset_min < 0 else "+"
    zone = f"{sign}{offset // 60:02}:{offset % 60:02}" if offset else "UTC"
    return f"{days}{_clock(hours.begin_min)}-{_clock(hours.end_min)} {zone}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
