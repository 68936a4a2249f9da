"""How many files and sockets may be open, and who goes without first. Pure.

Store, uplink, buses and polled devices have theirs before any master that connects to a
proxied link: where the system allows fewer than all masters together would need, fewer
masters are let in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

if TYPE_CHECKING:
    from agent.config import Config

BASE: Final = 64  # store, log, uplink, files being read; 25 are open in a quiet hour
STATUS_MAX: Final = 16  # connections to the status page at once
OF_A_SOURCE: Final = 4  # a bus, a tap or a device, opened anew while the old one closes
MASTERS_MIN: Final = 1


def wanted(config: Config) -> int:
    """Return how many may be open when everybody is there."""
    return _ours(config) + sum(_masters(config))


def fitted(config: Config, limit: int) -> tuple[Config, str]:
    """Return the configuration with as many masters as ``limit`` allows, and a word.

    The word is "" where all masters have room.
    """
    asked = sum(_masters(config))
    room = max(limit - _ours(config), 0)
    if asked <= room:
        return config, ""
    links = [
        replace(link, masters=max(link.masters * room // asked, MASTERS_MIN))
        if link.mode == "proxy"
        else link
        for link in config.modbus
    ]
    told = f"{limit} may be open and {asked} masters may come: fewer are let in"
    return replace(config, modbus=links), f"{told} (LimitNOFILE=)"


def _ours(config: Config) -> int:
    sources = len(config.can) + len(config.modbus) + len(config.tap)
    return BASE + STATUS_MAX + OF_A_SOURCE * sources


def _masters(config: Config) -> list[int]:
    return [link.masters for link in config.modbus if link.mode == "proxy"]
