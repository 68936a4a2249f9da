"""Fuzzing target of what a kernel tells of links: any bytes are read or refused."""

from __future__ import annotations

from protocols.can.netlink import LinkTold, parse
from protocols.errors import WireError


def netlink(data: bytes) -> None:
    """A datagram of rtnetlink: names are printable, counts are not negative."""
    try:
        told = parse(data)
    except WireError:
        return
    for one in told:
        if not isinstance(one, LinkTold):
            continue
        link = one.link
        assert all(name.isprintable() for name in (link.name, link.kind, *link.names))
        assert link.condition
        assert min(link.bitrate, link.traffic.rx_packets, link.counters.bus_off) >= 0
