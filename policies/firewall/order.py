"""Which of two rules is about more: for lint (a rule that never decides) and diff.

Only what is certain is said: ``None`` of a field is everything, spans and sets are
compared as they are. Networks are compared as text per client group.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from policies.firewall.tables import NAMED_UNITS

if TYPE_CHECKING:
    from policies.firewall.tables import CompiledFirewall, FirewallRule, Spans

_ALL_UNITS: Final[Spans] = ((1, 254),)


def holds_all(
    firewall: CompiledFirewall, wide: FirewallRule, one: FirewallRule
) -> bool:
    """Tell whether every request that ``one`` is about, ``wide`` is about, too.

    Limits (value, change, rate, hours) are not looked at.
    """
    return (
        _masters(firewall, wide, firewall, one)
        and (wide.links is None or (one.links is not None and one.links <= wide.links))
        and _units(wide, one)
        and (
            wide.functions is None
            or (one.functions is not None and one.functions <= wide.functions)
        )
        and _spans(wide.subs, one.subs)
        and wide.table in {None, one.table}
        and _spans(wide.addresses, one.addresses)
    )


def _masters(
    wide_of: CompiledFirewall,
    wide: FirewallRule,
    one_of: CompiledFirewall,
    one: FirewallRule,
) -> bool:
    if wide.clients is None:
        return True
    if one.clients is None:
        return False
    have = {
        (network, group.role)
        for number in wide.clients
        for group in (wide_of.clients[number],)
        for network in group.networks or ("",)
    }
    return all(
        (network, group.role) in have
        or (network, "") in have
        or ("", group.role) in have
        for number in one.clients
        for group in (one_of.clients[number],)
        for network in group.networks or ("",)
    )


def _units(wide: FirewallRule, one: FirewallRule) -> bool:
    if one.units is None:
        return wide.units is None or _spans(wide.units, _ALL_UNITS)
    if wide.units is None:
        named = {unit for a, b in one.units for unit in (a, b)}
        return not named & NAMED_UNITS
    return _spans(wide.units, one.units)


def _spans(wide: Spans | None, one: Spans | None) -> bool:
    if wide is None:
        return True
    if one is None:
        return False
    return all(any(a <= c and d <= b for a, b in wide) for c, d in one)


def allows_as_much(
    wide_of: CompiledFirewall,
    wide: FirewallRule,
    one_of: CompiledFirewall,
    one: FirewallRule,
) -> bool:
    """Tell whether an allow lets through all that another does, limits and all."""
    same = _masters(wide_of, wide, one_of, one)
    return (
        same
        and holds_all(wide_of, _anyone(wide), _anyone(one))
        and (wide.point is None or wide.point == one.point)
        and _value(wide.value, one.value)
        and (wide.max_delta is None or _at_most(one.max_delta, wide.max_delta))
        and (
            wide.rate is None
            or (
                one.rate is not None
                and one.rate.count <= wide.rate.count
                and one.rate.window_ns >= wide.rate.window_ns
            )
        )
        and wide.hours in {None, one.hours}
    )


def _anyone(rule: FirewallRule) -> FirewallRule:
    """Return the rule without its masters: those were compared."""
    return dataclasses.replace(rule, clients=None)


def _value(wide: tuple[float, float] | None, one: tuple[float, float] | None) -> bool:
    if wide is None:
        return True
    return one is not None and wide[0] <= one[0] and one[1] <= wide[1]


def _at_most(one: float | None, wide: float) -> bool:
    return one is not None and one <= wide
