"""What a request touches, and which rules are about it: the firewall without limits.

V1.1b3 clause 6 says what a function addresses. Function 23 has two halves; both must
be allowed. What addresses nothing (7, 8, 11, 12, 17, 20, 21, 43, vendors' codes) is
covered only by rules that name no address and no table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from protocols.modbus.functions import (
    DIAGNOSTICS,
    ENCAPSULATED,
    MASK_WRITE,
    NO_TABLE,
    READ_HOLDING,
    READ_WRITE,
)
from protocols.modbus.values import TYPES

if TYPE_CHECKING:
    from policies.firewall.tables import FirewallRule, Spans
    from protocols.modbus.pdu import Request


class Part(NamedTuple):
    """One half of a request, or all of it."""

    functions: frozenset[int]  # a rule must name one of them
    table: int  # NO_TABLE: addresses nothing
    address: int
    size: int  # addresses
    writes: bool
    values: tuple[int, ...] | None  # None: nothing is written, or it is not known what


_ONE: Final = {code: frozenset({code}) for code in range(256)}
BY_SUB: Final = frozenset({DIAGNOSTICS, ENCAPSULATED})
READ_HALF: Final = frozenset({READ_HOLDING, READ_WRITE})


def parts_of(request: Request) -> tuple[Part, ...]:
    """Return the halves of a well-formed request; the write half first."""
    functions = _ONE[request.function]
    values = None if request.function == MASK_WRITE else request.write_values
    if request.table == NO_TABLE:
        return (unaddressed(request),)
    written = Part(
        functions,
        request.table,
        request.write_address,
        request.write_count,
        writes=True,
        values=values,
    )
    if request.function == READ_WRITE:
        return (written, _read(READ_HALF, request))
    return (written,) if request.is_write else (_read(functions, request),)


def unaddressed(request: Request) -> Part:
    """Return a request of which only the function counts."""
    functions = _ONE[request.function & 0xFF]
    return Part(functions, NO_TABLE, 0, 0, request.is_write, None)


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


def names_sub(rule: FirewallRule, part: Part, sub: int) -> bool:
    """Tell whether a rule names the sub-function, where it names any."""
    if rule.subs is None:
        return True
    return not part.functions.isdisjoint(BY_SUB) and _within(sub, sub, rule.subs)


def touches(rule: FirewallRule, part: Part) -> bool:
    """Tell whether a rule is about any address of a part."""
    if rule.table is not None and rule.table != part.table:
        return False
    if rule.addresses is None:
        return True
    if part.table == NO_TABLE:
        return False
    return _overlaps(part.address, part.address + part.size - 1, rule.addresses)


def covers(rule: FirewallRule, part: Part) -> bool:
    """Tell whether a rule is about every address of a part."""
    if rule.table is not None and rule.table != part.table:
        return False
    if rule.addresses is None:
        return True
    if part.table == NO_TABLE:
        return False
    last = part.address + part.size - 1
    if rule.point is not None and part.writes:  # an item is written whole, alone
        alone = TYPES[rule.point.type].shape != "bit"  # a register has 15 others
        return alone and rule.addresses == ((part.address, last),)
    return _within(part.address, last, rule.addresses)


class Applicable(NamedTuple):
    """The rules that may decide on a part, in order, and those that only tell."""

    rules: tuple[int, ...]  # denies that touch, allows that cover; up to a certain one
    alerts: tuple[int, ...]
    names_function: bool  # an allow does, whatever its addresses
