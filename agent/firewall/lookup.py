"""Which masters are whose, and which rules are about a request: columns, bounded.

One row per rule; a request is held against all of them at once. What is left, a few
rules as a rule, is checked one by one.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np

from agent.firewall.places import Applicable, covers, names_sub, touches
from policies.firewall.tables import NAMED_UNITS, Do
from protocols.modbus.exchanges import UNLISTED
from protocols.modbus.functions import FUNCTION_MAX, NO_TABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.firewall.decision import Caller
    from agent.firewall.places import Part
    from policies.firewall.tables import ClientGroup, CompiledFirewall, FirewallRule
    from protocols.frames import I64, Bool

CALLERS_MAX: Final = 4096  # remembered; then all are looked up again
GROUPS_MAX: Final = 256  # sets of groups, likewise
UNITS: Final = 256
ADDRESS_MAX: Final = 65_535
ANY_TABLE: Final = 254
FEW: Final = 16
HELD_MAX: Final = 500_000  # rules, as often as they are found
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
# Groups, link, unit, functions, table.
_Key: TypeAlias = tuple[frozenset[int], int, int, frozenset[int], int]


class _About(NamedTuple):
    """Rules about one master, device and function: what remains are the addresses."""

    numbers: I64
    first: I64
    last: I64
    few: list[tuple[int, int, int]] | None  # the same, where a loop is faster
    allows: list[int]  # of any table and address
    tells: bool  # an alert is among them


class Lookup:
    """Masters and rules of one firewall."""

    def __init__(self, firewall: CompiledFirewall) -> None:
        """Take the clients and rules."""
        rules = self._rules = firewall.rules
        self._groups = [(one, *_networks(one)) for one in firewall.clients]
        self._callers: dict[tuple[str, tuple[str, ...]], frozenset[int]] = {}
        self._masks: dict[frozenset[int], Bool] = {}
        self._links: dict[int, Bool] = {}
        self._abouts: dict[_Key, _About] = {}
        self._held = 0
        # One line of rules per unit and per function.
        self._units = np.ascontiguousarray(_units(rules).T)
        self._functions = np.ascontiguousarray(_functions(rules).T)
        self._allows = np.array([rule.do is Do.ALLOW for rule in rules], np.bool_)
        self._alerts = np.array([rule.do is Do.ALERT for rule in rules], np.bool_)
        spans = [rule.addresses or ((0, ADDRESS_MAX),) for rule in rules]
        self._first = np.array([one[0][0] for one in spans], np.int64)
        self._last = np.array([one[-1][1] for one in spans], np.int64)
        self._bare = np.array([one.addresses is None for one in rules], np.bool_)
        tables = [ANY_TABLE if one.table is None else one.table for one in rules]
        table = np.array(tables, np.uint8)
        self._tables = {
            number: (table == ANY_TABLE) | (table == number)
            for number in (0, 1, 3, 4, NO_TABLE)
        }

    def clients(self, caller: Caller) -> frozenset[int]:
        """Return the groups that a master belongs to."""
        known = self._callers.get((caller.address, caller.roles))
        return self._looked_up(caller) if known is None else known

    def applicable(
        self, clients: frozenset[int], link: int, unit: int, part: Part, sub: int
    ) -> Applicable:
        """Return the rules that may decide on a part, and those that tell of it."""
        key = (clients, min(link, UNLISTED), unit, part.functions, part.table)
        about = self._abouts.get(key)
        if about is None:
            about = self._about(key)
        end = part.address + part.size
        if about.few is not None:
            found = [n for n, a, b in about.few if a < end and b >= part.address]
        else:
            near = about.first < end
            near &= about.last >= part.address
            found = about.numbers[near].tolist()
        rules = tuple(self._in_order(found, part, sub))
        # Whether the function is named at all matters where nothing covers it.
        named = bool(rules) or any(
            names_sub(self._rules[number], part, sub) for number in about.allows
        )
        if not about.tells:
            return Applicable(rules, (), named)
        alerts = [
            number
            for number in found
            if self._rules[number].do is Do.ALERT
            and names_sub(self._rules[number], part, sub)
            and touches(self._rules[number], part)
        ]
        return Applicable(rules, tuple(alerts), named)

    def _about(self, key: _Key) -> _About:
        clients, link, unit, functions, table = key
        mask = np.logical_or.reduce([self._functions[code] for code in functions])
        mask &= self._units[unit]
        mask &= self._of_link(link)
        mask &= self._of_clients(clients)
        allows = np.flatnonzero(mask & self._allows)
        mask &= self._tables[table]
        if table == NO_TABLE:
            mask &= self._bare
        numbers = np.flatnonzero(mask)
        # A part without addresses is (0, 0 of them): every span shall meet it.
        first = self._first[numbers] if table != NO_TABLE else numbers * 0 - 1
        last = self._last[numbers]
        few = None
        if len(numbers) <= FEW:
            few = [*zip(numbers.tolist(), first.tolist(), last.tolist(), strict=True)]
        tells = bool(self._alerts[numbers].any())
        about = _About(numbers, first, last, few, allows.tolist(), tells)
        self._held += len(numbers) + len(allows) + 1
        if self._held > HELD_MAX:
            self._abouts.clear()
            self._held = len(numbers) + len(allows) + 1
        self._abouts[key] = about
        return about

    def _in_order(self, numbers: list[int], part: Part, sub: int) -> Iterable[int]:
        """Yield denies that touch and allows that cover, up to one that is certain."""
        for number in numbers:
            rule = self._rules[number]
            if not names_sub(rule, part, sub):
                continue
            if rule.do is Do.ALERT:
                continue
            denies = rule.do is Do.DENY
            if not (touches(rule, part) if denies else covers(rule, part)):
                continue
            yield number
            if rule.hours is None and (denies or not is_limited(rule, part)):
                return

    def _of_clients(self, clients: frozenset[int]) -> Bool:
        mask = self._masks.get(clients)
        if mask is None:
            if len(self._masks) >= GROUPS_MAX:
                self._masks.clear()
            mask = self._masks[clients] = np.array(
                [
                    one.clients is None or not one.clients.isdisjoint(clients)
                    for one in self._rules
                ],
                np.bool_,
            )
        return mask

    def _of_link(self, link: int) -> Bool:
        link = min(link, UNLISTED)
        mask = self._links.get(link)
        if mask is None:
            mask = self._links[link] = np.array(
                [one.links is None or link in one.links for one in self._rules],
                np.bool_,
            )
        return mask

    def _looked_up(self, caller: Caller) -> frozenset[int]:
        if len(self._callers) >= CALLERS_MAX:
            self._callers.clear()
        try:
            address = ipaddress.ip_address(caller.address)
        except ValueError:
            address = None  # the name of a serial line
        mapped = getattr(address, "ipv4_mapped", None)
        found = frozenset(
            number
            for number, (group, networks, names) in enumerate(self._groups)
            if (not group.role or group.role in caller.roles)
            and (
                not group.networks
                or caller.address in names
                or any(
                    one is not None and one in network
                    for one in (address, mapped)
                    for network in networks
                )
            )
        )
        self._callers[caller.address, caller.roles] = found
        return found


def is_limited(rule: FirewallRule, part: Part) -> bool:
    """Tell whether values or what passed before can break an allow."""
    limits = rule.value is not None or rule.max_delta is not None
    return rule.rate is not None or (part.writes and limits)


def _units(rules: tuple[FirewallRule, ...]) -> Bool:
    """Only an allow must name units 0 and 255: others shall not be got round."""
    out = np.zeros((len(rules), UNITS), np.bool_)
    for number, rule in enumerate(rules):
        out[number] = rule.units is None
        if rule.units is None and rule.do is Do.ALLOW:
            out[number, [*NAMED_UNITS]] = False
        for first, last in rule.units or ():
            out[number, first : last + 1] = True
    return out


def _functions(rules: tuple[FirewallRule, ...]) -> Bool:
    out = np.zeros((len(rules), FUNCTION_MAX + 1), np.bool_)
    for number, rule in enumerate(rules):
        out[number, slice(None) if rule.functions is None else [*rule.functions]] = True
    return out


def _networks(group: ClientGroup) -> tuple[tuple[Network, ...], frozenset[str]]:
    """Return the networks of a group, and what are names of serial lines."""
    networks: list[Network] = []
    names: set[str] = set()
    for one in group.networks:
        try:
            networks.append(ipaddress.ip_network(one))
        except ValueError:
            names.add(one)
    return tuple(networks), frozenset(names)
