"""Which masters are whose, and which rules are about them: looked up once, bounded."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from agent.firewall.places import is_about, names_function
from policies.firewall.tables import Do

if TYPE_CHECKING:
    from agent.firewall.decision import Caller
    from agent.firewall.places import Part
    from policies.firewall.tables import ClientGroup, CompiledFirewall, FirewallRule

CALLERS_MAX: Final = 4096  # remembered; then all are looked up again
CELL: Final = 64  # addresses
WIDE_CELLS: Final = 16  # beyond them a rule is looked at for every address
NAMED_MAX: Final = 4096


class Lookup:
    """Masters and devices of one firewall."""

    def __init__(self, firewall: CompiledFirewall) -> None:
        """Take the clients and rules."""
        self._groups = firewall.clients
        self._rules = firewall.rules
        self._networks = [_networks(one) for one in firewall.clients]
        self._callers: dict[tuple[str, tuple[str, ...]], frozenset[int]] = {}
        self._about: dict[tuple[frozenset[int], int, int], About] = {}

    def clients(self, caller: Caller) -> frozenset[int]:
        """Return the groups that a master belongs to."""
        known = self._callers.get((caller.address, caller.roles))
        return self._looked_up(caller) if known is None else known

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
            for number, (group, networks) in enumerate(
                zip(self._groups, self._networks, strict=True)
            )
            if (not group.role or group.role in caller.roles)
            and (
                not networks
                or any(
                    one is not None and one in network
                    for one in (address, mapped)
                    for network in networks
                )
            )
        )
        self._callers[caller.address, caller.roles] = found
        return found

    def rules_about(self, clients: frozenset[int], link: int, unit: int) -> About:
        """Return the rules about a master and a device."""
        key = (clients, link, unit)
        known = self._about.get(key)
        if known is None:
            if len(self._about) >= CALLERS_MAX:
                self._about.clear()
            known = self._about[key] = About(
                [
                    (number, rule)
                    for number, rule in enumerate(self._rules)
                    if is_about(rule, clients, link, unit)
                ]
            )
        return known


class About:
    """Rules about one master and one device, found by address."""

    def __init__(self, numbered: list[tuple[int, FirewallRule]]) -> None:
        """Put every rule where its addresses are, wide ones everywhere."""
        self._all = numbered
        self._wide: list[tuple[int, FirewallRule]] = []
        self._near: dict[int, list[tuple[int, FirewallRule]]] = {}
        self._named: dict[tuple[frozenset[int], int], bool] = {}
        for one in numbered:
            spans = one[1].addresses or ()
            cells = {
                cell
                for first, last in spans
                if last - first < CELL * WIDE_CELLS
                for cell in range(first // CELL, last // CELL + 1)
            }
            is_wide = any(b - a >= CELL * WIDE_CELLS for a, b in spans)
            if not spans or is_wide or len(cells) > WIDE_CELLS:
                self._wide.append(one)
                continue
            for cell in cells:
                self._near.setdefault(cell, []).append(one)

    def near(self, part: Part) -> list[tuple[int, FirewallRule]]:
        """Return the rules that may touch a part, in order."""
        first = part.address // CELL
        last = (part.address + max(part.count, 1) - 1) // CELL
        found = dict(self._wide)
        for cell in range(first, last + 1):
            found.update(self._near.get(cell, ()))
        return sorted(found.items())

    def names(self, part: Part, sub: int) -> bool:
        """Tell whether an allow names the function, whatever its addresses."""
        key = (part.functions, sub)
        known = self._named.get(key)
        if known is None:
            known = any(
                rule.do is Do.ALLOW and names_function(rule, part, sub)
                for _, rule in self._all
            )
            if len(self._named) < NAMED_MAX:
                self._named[key] = known
        return known


def _networks(
    group: ClientGroup,
) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(one) for one in group.networks)
