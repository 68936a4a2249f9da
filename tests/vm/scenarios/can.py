"""Frames of `cangen`, classic and FD, at a collector: opened and verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.vm.gateway import CLASSIC, FLEXIBLE, Site

if TYPE_CHECKING:
    from tests.vm.guest import Guest

FRAMES = 2000


def guest(g: Guest) -> None:
    """Send, drain, verify, compare one by one."""
    site = Site(g)
    site.begin()
    rate = ("-g", "0.5", "-D", "i", "-n", str(FRAMES))
    g.run("cangen", "vcan0", "-I", "123", "-L", "8", *rate)
    g.run("cangen", "vcan1", "-I", "124", "-L", "64", "-f", *rate)
    g.until("all was read", lambda: site.metric("samples_total") >= 2 * FRAMES, 20)
    site.drained()
    site.g.run("systemctl", "stop", "sluicegate.service")
    report = site.verified()
    g.check("audit verify holds", not report["problems"], problems=report["problems"])
    for kind, item in (("classic", CLASSIC), ("FD", FLEXIBLE)):
        values = site.opened(item)
        came = sorted(values) == [float(number) for number in range(FRAMES)]
        g.check(f"every {kind} frame came out, once", came, frames=len(values))
