"""Buses and broker go and come back: told, and recovered without a restart."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.vm.gateway import CLASSIC, Site

if TYPE_CHECKING:
    from tests.vm.guest import Guest

FRAMES: Final = 200
KEEPALIVE_S: Final = 5
HOSTS: Final = Path("/etc/hosts")


def guest(g: Guest) -> None:
    """Take one thing away after the other."""
    site = Site(g)
    site.configure(host="localhost", keepalive_s=KEEPALIVE_S)
    site.begin()
    pid = site.pid()
    site.send(range(FRAMES))
    arrived(site, 0)
    buses(site)
    broker(site)
    g.check("it was the same process all the time", site.pid() == pid)
    site.drained()
    report = site.verified()
    g.check("audit verify holds", not report["problems"], problems=report["problems"])


def buses(site: Site) -> None:
    """Down and up; removed and added."""
    g = site.g
    for first, what, away, back in (
        (1000, "bus down", "ip link set vcan0 down", "ip link set vcan0 up"),
        (2000, "bus removed", "ip link del vcan0",
         "ip link add vcan0 mtu 72 type vcan; ip link set vcan0 up"),
    ):  # fmt: skip
        g.shell(away)
        g.until(f"{what}: status tells", site.problems)
        g.check(f"{what}: status tells, the rest goes on", site.is_active(),
                told=site.problems())  # fmt: skip
        start_s = time.monotonic()
        g.shell(back)
        g.until(f"{what}: back", lambda: site.status() and not site.problems())
        seconds = round(time.monotonic() - start_s, 1)
        site.send(range(first, first + FRAMES))
        arrived(site, first)
        g.check(f"{what}: recovers by itself", True, seconds=seconds)


def broker(site: Site) -> None:
    """Killed; half open (it answers nothing, twice over); without its name."""
    g = site.g
    # every packet that the loopback interface should carry
    drop = "tc qdisc add dev lo root netem loss 100%"
    again = "systemctl reset-failed broker; systemctl start broker"
    no_names = "mv /etc/hosts /etc/hosts.away; systemctl kill -s KILL broker"
    for first, what, away, back in (
        (3000, "broker killed", "systemctl kill -s KILL broker",
         again),
        (4000, "broker stopped (SIGSTOP): half-open TCP",
         "systemctl kill -s STOP broker", "systemctl kill -s CONT broker"),
        (5000, "packets dropped (netem): half-open TCP", drop,
         "tc qdisc del dev lo root"),
        (6000, "no name service", no_names,
         f"mv /etc/hosts.away /etc/hosts; {again}"),
    ):  # fmt: skip
        start_s = time.monotonic()
        g.shell(away)
        g.until(f"{what}: seen", lambda: site.status().get("online") is False)
        seen_s = round(time.monotonic() - start_s, 1)
        site.send(range(first, first + FRAMES))
        g.until("it is spooled", lambda: site.status()["spool_records"])
        told = site.problems()
        start_s = time.monotonic()
        g.shell(back)
        arrived(site, first)
        g.check(f"{what}: spooled, sent afterwards", True, seen_s=seen_s, told=told,
                back_s=round(time.monotonic() - start_s, 1))  # fmt: skip


def arrived(site: Site, first: int) -> None:
    """Wait until the collector has opened all of a burst, each once."""
    numbers = range(first, first + FRAMES)
    site.g.until(
        f"the burst from {first} on is opened",
        lambda: site.came(CLASSIC, numbers) == FRAMES,
    )
