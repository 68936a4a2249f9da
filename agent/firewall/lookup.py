"""Which masters are whose, and which rules are about them: looked up once, bounded."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from agent.firewall.places import is_about

if TYPE_CHECKING:
    from agent.firewall.decision import Caller
    from policies.firewall.tables import ClientGroup, CompiledFirewall, FirewallRule

CALLERS_MAX: Final = 4096  # remembered; then all are looked up again


class Lookup:
    """Masters and devices of one firewall."""

    def __init__(self, firewall: CompiledFirewall) -> None:
        """Take the clients and rules."""
        self._groups = firewall.clients
        self._rules = firewall.rules
        self._networks = [_networks(one) for one in firewall.clients]
        self._callers: dict[tuple[str, tuple[str, ...]], frozenset[int]] = {}
        self._about: dict[
            tuple[frozenset[int], int, int], tuple[tuple[int, FirewallRule], ...]
        ] = {}

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

    def rules_about(
        self, clients: frozenset[int], link: int, unit: int
    ) -> tuple[tuple[int, FirewallRule], ...]:
        """Return the rules about a master and a device, with their numbers."""
        key = (clients, link, unit)
        known = self._about.get(key)
        if known is None:
            if len(self._about) >= CALLERS_MAX:
                self._about.clear()
            known = self._about[key] = tuple(
                (number, rule)
                for number, rule in enumerate(self._rules)
                if is_about(rule, clients, link, unit)
            )
        return known


def _networks(
    group: ClientGroup,
) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(one) for one in group.networks)
