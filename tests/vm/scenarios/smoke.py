"""The machine boots: kernel, systemd as its first process, a CAN bus."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.vm.guest import Guest
    from tests.vm.host import Host

BARE: Final = True  # needs no package: runs beside `install`


def host(h: Host) -> None:
    """Boot the bare image."""
    h.run("guest", h.disk(blank=True))


def guest(g: Guest) -> None:
    """Look around."""
    g.shell("ip link add vcan0 type vcan; ip link set vcan0 up")
    g.need("systemd is process 1", "systemd" in g.run("cat", "/proc/1/comm"))
    g.check("a CAN bus is up", "UP" in g.run("ip", "link", "show", "vcan0"))
    g.check("it has a kernel of its own", kernel := os.uname().release, kernel=kernel)
