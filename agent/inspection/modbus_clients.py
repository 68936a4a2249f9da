"""Whether an address is one of those that a policy names."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policies.firewall.tables import ClientGroup


def belongs(client: str, group: ClientGroup) -> bool:
    """Tell whether an address is one of a group; all are where it names none."""
    if not group.networks or client in group.networks:
        return True
    try:
        address = ipaddress.ip_address(client)
    except ValueError:  # the name of a serial line
        return False
    # On a socket for both, IPv4 masters have IPv6 addresses (RFC 4291, 2.5.5.2).
    mapped = getattr(address, "ipv4_mapped", None)
    same = [one for one in (address, mapped) if one is not None]
    for network in group.networks:
        try:
            if any(one in ipaddress.ip_network(network, strict=False) for one in same):
                return True
        except ValueError:
            continue
    return False
