"""Out of memory: the kernel kills the daemon; nothing committed is lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tests.vm.gateway import CLASSIC, SERVICE, Site

if TYPE_CHECKING:
    from tests.vm.guest import Guest
    from tests.vm.host import Host

FRAMES: Final = 300
TOO_LITTLE: Final = "40M"  # a third of what it needs
LIMIT_S: Final = 600


def host(h: Host) -> None:
    """Run the one step; it takes longer than most."""
    h.run("guest", limit_s=LIMIT_S)


def guest(g: Guest) -> None:
    """Take its memory away under load, give it back, count."""
    site = Site(g)
    site.configure()
    site.begin()
    frames(site, FRAMES)
    site.drained()
    before = site.opened(CLASSIC)
    pid = site.pid()
    g.run("systemctl", "set-property", "--runtime", SERVICE, f"MemoryMax={TOO_LITTLE}")
    g.until("the kernel kills it", lambda: killed(site), 60)
    g.run("systemctl", "set-property", "--runtime", SERVICE, "MemoryMax=256M")
    g.until(
        "it runs again", lambda: site.is_active() and site.pid() not in {0, pid}, 90
    )
    g.check("systemd brought it back", int(site.shown("NRestarts")) >= 1,
            restarts=site.shown("NRestarts"))  # fmt: skip
    g.until("the gateway is online", lambda: site.status().get("online"), 60)
    frames(site, FRAMES)
    time.sleep(0.5)
    site.drained(90)
    g.run("systemctl", "stop", SERVICE)
    report = site.verified()
    g.check("audit verify holds", not report["problems"], problems=report["problems"])
    after = site.opened(CLASSIC)
    g.check("nothing that was committed is lost", after[: len(before)] == before,
            before=len(before), after=len(after))  # fmt: skip
    g.check("it goes on to collect", len(after) >= len(before) + FRAMES)


def frames(site: Site, count: int) -> None:
    """Put frames onto the classic bus, a thousand a second."""
    words = ("-I", "123", "-L", "8", "-g", "1", "-D", "i", "-n", str(count))
    site.g.run("cangen", "vcan0", *words)


def killed(site: Site) -> bool:
    """Tell whether the kernel has killed for memory; put load onto the bus."""
    frames(site, 20)
    found = site.g.run("journalctl", "-b", "-u", SERVICE, "--no-pager", "-o", "cat")
    return "oom" in found.lower()
