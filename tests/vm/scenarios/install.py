"""`apt-get install ./sluicegate.deb` without a network: the service is ready."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.vm.gateway import CONFIG, Site
from tests.vm.guest import PACKAGES

if TYPE_CHECKING:
    from tests.vm.guest import Guest
    from tests.vm.host import Host

READY_S = 1.5  # DESIGN section 11


def host(h: Host) -> None:
    """Install, power off cleanly, boot again: what is enabled comes up by itself."""
    disk = h.disk(blank=True)
    h.run("guest", disk, power_off=True)
    h.run("again", disk, power_off=True)


def guest(g: Guest) -> None:
    """Install as an operator would."""
    start_s = time.monotonic()
    words = ("-y", "-qq", "--no-install-recommends")
    g.run("apt-get", "install", *words, str(PACKAGES / "sluicegate.deb"), limit_s=180)
    seconds = time.monotonic() - start_s
    g.need("apt installs it", CONFIG.is_dir(), seconds=round(seconds, 1))
    site = Site(g)
    g.until("the service is active", site.is_active, 30)
    g.check("it starts in lockdown", site.status().get("policy_name") == "lockdown")
    g.check("no unit failed", not (failed := failed_units(g)), failed=failed)
    for _ in range(2):
        site.restart()
    ready_s = seconds_to_ready(site)
    g.check("ready, as it is installed", ready_s <= READY_S, seconds=ready_s)


def again(g: Guest) -> None:
    """After a boot."""
    site = Site(g)
    g.until("the service is active", site.is_active, 30)
    g.check("it comes up at boot", True, seconds_to_ready=seconds_to_ready(site))
    g.check("no unit failed", not (failed := failed_units(g)), failed=failed)


def failed_units(g: Guest) -> str:
    """Return the units that failed, one line."""
    words = ("list-units", "--failed", "--plain", "--no-legend")
    lines = g.run("systemctl", *words).splitlines()
    return " ".join(line.split()[0] for line in lines)


def seconds_to_ready(site: Site) -> float:
    """Return the seconds from fork to READY=1, by systemd's own clock."""
    started, ready = (
        int(site.shown(name))
        for name in ("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic")
    )
    return round((ready - started) / 1e6, 2)
