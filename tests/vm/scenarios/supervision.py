"""Killed or stopped, the daemon is restarted by itself, and its log goes on as one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tests.vm.gateway import CLASSIC, SERVICE, Site

if TYPE_CHECKING:
    from tests.vm.guest import Guest

FRAMES: Final = 400
WATCHDOG_S: Final = 6  # the unit's 30 s, cut short for the test


def guest(g: Guest) -> None:
    """Kill -9 under load, starve the watchdog, and count what came."""
    site = Site(g)
    site.drop_in(f"WatchdogSec={WATCHDOG_S}s", "TimeoutAbortSec=3s")
    site.restart()
    site.begin()
    for number, (what, signal) in enumerate(
        (("kill -9 under load", "-KILL"), ("a stopped process (SIGSTOP)", "-STOP"))
    ):
        first = number * 10_000
        site.send(range(first, first + FRAMES), pause_s=0.002)
        old, start_s = site.pid(), time.monotonic()
        g.run("kill", signal, str(old))
        g.until(what, lambda pid=old: site.pid() not in {0, pid} and site.is_active())
        seconds = round(time.monotonic() - start_s, 1)
        g.check(f"{what}: restarted by systemd, ready", True, seconds=seconds)
        site.send(range(first + 5000, first + 5000 + FRAMES))
        g.until("online", lambda: site.status().get("online"))
    g.check("the reason is in the journal", "watchdog" in journal(g).lower())
    site.drained()
    values = site.opened(CLASSIC)
    after = [v for v in values if v % 10_000 >= 5000]
    g.check("what came after each restart is whole", len(after) == 2 * FRAMES,
            samples=len(after))  # fmt: skip
    g.check("nothing came twice", len(set(values)) == len(values), samples=len(values),
            sent=4 * FRAMES)  # fmt: skip
    report = site.verified()
    g.check("the log is one, not forked; audit verify holds",
            report["logs"] == 1 and not report["problems"], boots=report["boots"],
            problems=report["problems"], notes=report["notes"])  # fmt: skip


def journal(g: Guest) -> str:
    """Return what systemd and the daemon said of it in this boot."""
    return g.run("journalctl", "-b", "-u", SERVICE, "--no-pager", "-o", "cat")
