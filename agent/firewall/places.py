"""What a request touches, and which rules are about it: the firewall without limits.

V1.1b3 clause 6 says what a function addresses. Function 23 has two halves; both must
be allowed. What addresses nothing (7, 8, 11, 12, 17, 20, 21, 43, vendors' codes) is
covered only by rules that name no address and no table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from policies.firewall.tables import NAMED_UNITS, Do
from protocols.modbus.functions import (
    MASK_WRITE,
    NO_TABLE,
    READ_HOLDING,
    READ_WRITE,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from policies.firewall.tables import FirewallRule, Spans
    from protocols.modbus.pdu import Request


@dataclass(frozen=True, slots=True)
class Part:
    """One half of a request, or all of it."""

    functions: frozenset[int]  # a rule must name one of them
    table: int  # NO_TABLE: addresses nothing
    address: int
    count: int
    writes: bool
    values: tuple[int, ...] | None  # None: nothing is written, or it is not known what


_ONE: Final = {code: frozenset({code}) for code in range(256)}
_READ_HALF: Final = frozenset({READ_HOLDING, READ_WRITE})


def parts_of(request: Request) -> tuple[Part, ...]:
    """Return the halves of a well-formed request; the write half first."""
    functions = _ONE[request.function]
    values = None if request.function == MASK_WRITE else request.write_values
    if request.table == NO_TABLE:
        return (Part(functions, NO_TABLE, 0, 0, request.is_write, None),)
    written = Part(
        functions,
        request.table,
        request.write_address,
        request.write_count,
        writes=True,
        values=values,
    )
    if request.function == READ_WRITE:
        return (written, _read(_READ_HALF, request))
    return (written,) if request.is_write else (_read(functions, request),)


def _read(functions: frozenset[int], request: Request) -> Part:
    return Part(
        functions,
        request.table,
        request.address,
        max(request.count, 1),
        writes=False,
        values=None,
    )


def _overlaps(first: int, last: int, spans: Spans) -> bool:
    return any(first <= b and last >= a for a, b in spans)


def _within(first: int, last: int, spans: Spans) -> bool:
    """Spans are merged: what lies within several of them lies within one."""
    return any(a <= first and last <= b for a, b in spans)


def _names_unit(rule: FirewallRule, unit: int) -> bool:
    if rule.units is None:
        return unit not in NAMED_UNITS
    return _within(unit, unit, rule.units)


def is_about(rule: FirewallRule, clients: frozenset[int], link: int, unit: int) -> bool:
    """Tell whether a rule is about this master and this device."""
    return (
        (rule.clients is None or not rule.clients.isdisjoint(clients))
        and (rule.links is None or link in rule.links)
        and _names_unit(rule, unit)
    )


def names_function(rule: FirewallRule, part: Part, sub: int) -> bool:
    """Tell whether a rule names the function, and its sub-function."""
    if rule.functions is not None and rule.functions.isdisjoint(part.functions):
        return False
    return rule.subs is None or _within(sub, sub, rule.subs)


def touches(rule: FirewallRule, part: Part) -> bool:
    """Tell whether a rule is about any address of a part."""
    if rule.table is not None and rule.table != part.table:
        return False
    if rule.addresses is None:
        return True
    if part.table == NO_TABLE:
        return False
    return _overlaps(part.address, part.address + part.count - 1, rule.addresses)


def covers(rule: FirewallRule, part: Part) -> bool:
    """Tell whether a rule is about every address of a part."""
    if rule.table is not None and rule.table != part.table:
        return False
    if rule.addresses is None:
        return True
    if part.table == NO_TABLE:
        return False
    last = part.address + part.count - 1
    if rule.point is not None and part.writes:  # an item is written whole, alone
        return rule.addresses == ((part.address, last),)
    return _within(part.address, last, rule.addresses)


@dataclass(frozen=True, slots=True)
class Applicable:
    """The rules that may decide on a part, in order, and those that only tell."""

    rules: tuple[int, ...]  # denies that touch, allows that cover
    alerts: tuple[int, ...]
    is_named: bool  # an allow names the function, whatever its addresses


def applicable(
    numbered: Iterable[tuple[int, FirewallRule]],
    part: Part,
    sub: int,
    *,
    is_named: bool,
) -> Applicable:
    """Return what applies to a part, of rules about its master and device."""
    rules: list[int] = []
    alerts: list[int] = []
    for number, rule in numbered:
        if not names_function(rule, part, sub):
            continue
        if rule.do is Do.ALLOW:
            if covers(rule, part):
                rules.append(number)
        elif touches(rule, part):
            (rules if rule.do is Do.DENY else alerts).append(number)
    return Applicable(tuple(rules), tuple(alerts), is_named)
