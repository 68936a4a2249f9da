"""Rules of the ``modbus:`` section by the names of the file: for words, lint and diff.

``tables.py`` holds numbers of one gateway; a link or item that this gateway does not
have is nothing there. Whoever compares policies must not lose it: names stay here.
Everything here takes a section that ``compile.py`` has accepted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from policies.firewall import spans
from policies.firewall.compile import addresses_of, network
from protocols.modbus.functions import (
    DIAGNOSTICS,
    ENCAPSULATED,
    FUNCTION_MAX,
    FUNCTIONS,
    NO_TABLE,
    is_write,
)

if TYPE_CHECKING:
    from policies.firewall.tables import Hours, Rate, Spans
    from policies.model_firewall import Firewall, FirewallRuleFile, NumberSpans

ALL_FUNCTIONS: Final = frozenset(range(1, FUNCTION_MAX + 1))
ALL_UNITS: Final = ((0, spans.UNIT_MAX),)
BY_SUB: Final = frozenset({DIAGNOSTICS, ENCAPSULATED})
EVERYTHING: Final = "default"  # the name of the rule that ``default: monitor`` is

Client: TypeAlias = "tuple[tuple[str, ...], str]"  # networks, role


@dataclass(frozen=True, slots=True)
class PlainRule:
    """One rule; None: whatever it is. Equal where the same requests are meant."""

    do: str = "allow"
    clients: frozenset[Client] | None = None
    links: frozenset[str] | None = None
    units: Spans | None = None  # None: all, of an allow all but 0 and 255
    functions: frozenset[int] | None = None
    subs: Spans | None = None
    table: int | None = None
    addresses: Spans | None = None
    item: str | None = None
    value: tuple[float, float] | None = None
    max_delta: float | None = None
    rate: Rate | None = None
    hours: Hours | None = None
    # What it is called, and where it stands.
    name: str = field(default=EVERYTHING, compare=False)
    number: int = field(default=-1, compare=False)
    masters: tuple[str, ...] | None = field(default=None, compare=False)

    @property
    def codes(self) -> frozenset[int]:
        """Return the function codes that it names."""
        return ALL_FUNCTIONS if self.functions is None else self.functions

    @property
    def tables(self) -> frozenset[int]:
        """Return the tables that a request under it can address, NO_TABLE for none."""
        found = frozenset(map(table_of, self.codes))
        if self.table is not None:
            return found & {self.table}
        is_placed = self.addresses is not None or self.item is not None
        return found - {NO_TABLE} if is_placed else found

    @property
    def writing(self) -> frozenset[int]:
        """Return the codes by which a request under it may change a device."""
        return frozenset(
            code
            for code in self.codes
            if table_of(code) in self.tables and self._may_write(code)
        )

    def _may_write(self, code: int) -> bool:
        if code not in BY_SUB or self.subs is None:
            return code in BY_SUB or is_write(code)
        return any(
            is_write(code, sub)
            for first, last in self.subs
            for sub in range(first, last + 1)
        )

    @property
    def is_limited(self) -> bool:
        """Tell whether values, rate or time may stop what it covers."""
        limits = (self.value, self.max_delta, self.rate, self.hours)
        return any(one is not None for one in limits)


def table_of(code: int) -> int:
    """Return the table that a function addresses, NO_TABLE for none."""
    known = FUNCTIONS.get(code)
    return NO_TABLE if known is None else known.table


def monitor_rule() -> PlainRule:
    """Return the rule that ``default: monitor`` is: all that no deny refuses passes."""
    return PlainRule(units=ALL_UNITS)


def plain_rules(told: Firewall) -> tuple[PlainRule, ...]:
    """Return the rules of a section in its order, the default not among them."""
    clients = {name: _client(name, told) for name in told.clients}
    return tuple(
        _plain(rule, number, clients) for number, rule in enumerate(told.rules)
    )


def _client(name: str, told: Firewall) -> Client:
    addresses, role = addresses_of(told.clients[name])
    return tuple(sorted(map(network, addresses))), role


def _plain(
    rule: FirewallRuleFile, number: int, clients: dict[str, Client]
) -> PlainRule:
    table: int | None = rule.table
    addresses = None
    if rule.addr is not None:
        named, addresses = spans.address_spans(rule.addr)
        table = table if named is None else named
    masters = _names(rule.from_)
    links = _names(rule.to)
    return PlainRule(
        do=rule.do,
        clients=None
        if masters is None
        else frozenset(
            clients[one] if one in clients else ((network(one),), "") for one in masters
        ),
        links=None if links is None else frozenset(links),
        units=_numbers(rule.unit, spans.UNIT_MAX),
        functions=None if rule.fc is None else spans.functions(rule.fc),
        subs=_numbers(rule.sub, spans.SUB_MAX),
        table=table,
        addresses=addresses,
        item=rule.item,
        value=rule.value,
        max_delta=rule.max_delta,
        rate=None if rule.rate is None else spans.rate(rule.rate),
        hours=None if rule.when is None else spans.hours(rule.when),
        name=rule.name,
        number=number,
        masters=masters,
    )


def _names(told: str | list[str] | None) -> tuple[str, ...] | None:
    if told is None:
        return None
    return (told,) if isinstance(told, str) else tuple(told)


def _numbers(told: NumberSpans | None, most: int) -> Spans | None:
    return None if told is None else spans.number_spans(told, most)
