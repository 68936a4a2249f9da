"""Which rule holds all that another holds, and which two may meet.

``within`` and ``refuses_all`` are proofs: True is proved, False is "not proved".
``may_meet`` is the opposite: False is proved. Whoever asks counts what is not proved as
the weaker protection (fail closed).
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from policies.firewall.plain import ALL_UNITS
from protocols.modbus.functions import READ_HOLDING, READ_WRITE

if TYPE_CHECKING:
    from policies.firewall.plain import Client, PlainRule
    from policies.firewall.tables import Hours, Spans

PLAIN_UNITS: Final = ((1, 254),)  # what an allow means that names no unit
_DAY_MIN: Final = 1440
_WEEK_MIN: Final = 7 * _DAY_MIN
_HALVES: Final = frozenset({READ_HOLDING, READ_WRITE})  # 23 reads like 3


def within(inner: PlainRule, outer: PlainRule) -> bool:
    """Tell whether every request that ``inner`` lets through, ``outer`` does, too."""
    return _means(inner, outer) and _as_limited(inner, outer)


def refuses_all(deny: PlainRule, rule: PlainRule) -> bool:
    """Tell whether a deny refuses all that ``rule`` could mean (limits aside)."""
    return _means(rule, deny) and _holds_when(rule, deny)


def may_meet(one: PlainRule, other: PlainRule) -> bool:
    """Tell whether a request may touch both rules."""
    links = one.links, other.links
    if links[0] is not None and links[1] is not None and links[0].isdisjoint(links[1]):
        return False
    codes = one.codes & other.codes
    if not codes and not (one.codes & _HALVES and other.codes & _HALVES):
        return False
    if one.item is None and other.item is None and not _places_meet(one, other):
        return False
    subs = one.subs, other.subs
    if subs[0] is not None and subs[1] is not None and not _meet(subs[0], subs[1]):
        return False
    if one.clients is None or other.clients is None:
        return True
    return any(masters_meet(a, b) for a in one.clients for b in other.clients)


def _places_meet(one: PlainRule, other: PlainRule) -> bool:
    if not _meet(_units(one), _units(other)):
        return False
    if one.tables.isdisjoint(other.tables):
        return False
    if one.addresses is None or other.addresses is None:
        return True
    return _meet(one.addresses, other.addresses)


def _means(inner: PlainRule, outer: PlainRule) -> bool:
    """Tell whether ``outer`` is about all that ``inner`` is about."""
    if outer.links is not None and not (
        inner.links is not None and inner.links <= outer.links
    ):
        return False  # fmt: skip
    if outer.functions is not None and not inner.codes <= outer.functions:
        return False
    if outer.subs is not None and not (
        inner.subs is not None and _within(inner.subs, outer.subs)
    ):
        return False
    if not _places_within(inner, outer):
        return False
    # last: it takes longest
    return outer.clients is None or _clients_within(inner, outer.clients)


def _places_within(inner: PlainRule, outer: PlainRule) -> bool:
    if outer.item is not None:
        return inner.item == outer.item
    if not _within(_units(inner), _units(outer)):
        return False
    # Bindings say in which table an item lies.
    tables = {-1} if inner.item is not None else inner.tables
    if outer.table is not None and not tables <= {outer.table}:
        return False
    if outer.addresses is None:
        return True
    return inner.addresses is not None and _within(inner.addresses, outer.addresses)


def _units(rule: PlainRule) -> Spans:
    """Return the units that a rule is about; only an allow must name 0 and 255."""
    if rule.units is not None:
        return rule.units
    # Bindings say in which unit an item lies: it may be 255.
    plain = rule.do == "allow" and rule.item is None
    return PLAIN_UNITS if plain else ALL_UNITS


def _as_limited(inner: PlainRule, outer: PlainRule) -> bool:
    """Tell whether the limits of ``inner`` let through no more than those of ``outer``.

    Values of an item and of registers are not the same numbers: ``_means`` lets an
    item's rule be within that of registers, its limits are not.
    """
    is_valued = outer.value is not None or outer.max_delta is not None
    if is_valued and inner.writing and not _values_within(inner, outer):
        return False
    if outer.rate is not None:
        rate = inner.rate
        if rate is None or rate.count > outer.rate.count:
            return False
        if rate.window_ns < outer.rate.window_ns:
            return False
    return _holds_when(inner, outer)


def _values_within(inner: PlainRule, outer: PlainRule) -> bool:
    if inner.item != outer.item:
        return False
    if outer.value is not None:
        if inner.value is None:
            return False
        if inner.value[0] < outer.value[0] or inner.value[1] > outer.value[1]:
            return False
    if outer.max_delta is None:
        return True
    return inner.max_delta is not None and inner.max_delta <= outer.max_delta


def _holds_when(inner: PlainRule, outer: PlainRule) -> bool:
    if outer.hours is None or inner.hours == outer.hours:
        return True
    if inner.hours is None:
        return False
    return not _minutes(inner.hours) & ~_minutes(outer.hours)


@lru_cache(maxsize=256)
def _minutes(hours: Hours) -> int:
    """Return the minutes of a week (UTC) that it holds, as bits."""
    end = hours.end_min if hours.end_min > hours.begin_min else hours.end_min + _DAY_MIN
    block = (1 << (end - hours.begin_min)) - 1
    out = 0
    for day in hours.days:
        at = (day * _DAY_MIN + hours.begin_min - hours.offset_min) % _WEEK_MIN
        out |= block << at
    return (out | out >> _WEEK_MIN) & ((1 << _WEEK_MIN) - 1)


def _clients_within(inner: PlainRule, outer: frozenset[Client]) -> bool:
    if inner.clients is None:
        return False
    return all(any(_master_within(a, b) for b in outer) for a in inner.clients)


@lru_cache(maxsize=4096)
def _master_within(inner: Client, outer: Client) -> bool:
    if outer[1] and outer[1] != inner[1]:
        return False
    if not outer[0]:
        return True
    return bool(inner[0]) and all(
        any(_is_subnet(a, b) for b in outer[0]) for a in inner[0]
    )


@lru_cache(maxsize=4096)
def masters_meet(one: Client, other: Client) -> bool:
    """Tell whether one master may be both clients."""
    if not one[0] or not other[0]:
        return True
    return any(_nets_meet(a, b) for a in one[0] for b in other[0])


@lru_cache(maxsize=4096)
def _nets_meet(one: str, other: str) -> bool:
    """Tell whether an address lies in both; ``::ffff:10.0.0.7`` is one of either."""
    if ipaddress.ip_network(one).version != ipaddress.ip_network(other).version:
        return True
    return _is_subnet(one, other) or _is_subnet(other, one)


@lru_cache(maxsize=4096)
def _is_subnet(inner: str, outer: str) -> bool:
    a, b = ipaddress.ip_network(inner), ipaddress.ip_network(outer)
    if isinstance(a, ipaddress.IPv4Network) and isinstance(b, ipaddress.IPv4Network):
        return a.subnet_of(b)
    if isinstance(a, ipaddress.IPv6Network) and isinstance(b, ipaddress.IPv6Network):
        return a.subnet_of(b)
    return False


def _meet(one: Spans, other: Spans) -> bool:
    return any(a <= d and c <= b for a, b in one for c, d in other)


def _within(inner: Spans, outer: Spans) -> bool:
    return all(any(c <= a and b <= d for c, d in outer) for a, b in inner)


class Holders:
    """Rules by their devices: whichever may hold all of a rule, a few of many."""

    def __init__(self) -> None:
        """Begin without rules."""
        self._by_link: dict[str, list[tuple[int, PlainRule]]] = {}
        self._anywhere: list[tuple[int, PlainRule]] = []

    def add(self, place: int, rule: PlainRule) -> None:
        """Take a rule; places rise."""
        if rule.links is None:
            self._anywhere.append((place, rule))
        for link in rule.links or ():
            self._by_link.setdefault(link, []).append((place, rule))

    def of(self, rule: PlainRule) -> list[tuple[int, PlainRule]]:
        """Return those about all devices of a rule, or more of them; in order."""
        if not rule.links:
            return [*self._anywhere]
        here = self._by_link.get(min(rule.links), [])
        return sorted([*here, *self._anywhere], key=itemgetter(0))
