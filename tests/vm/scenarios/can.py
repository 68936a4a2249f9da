"""Frames of can-utils, classic and FD, at a collector: opened and verified."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.vm.gateway import (
    BUSES,
    CLASSIC,
    CONFIG,
    FLEXIBLE,
    POLICY,
    Bus,
    Site,
)
from tests.vm.guest import PROJECT, RUN

if TYPE_CHECKING:
    from tests.vm.guest import Guest
    from tests.vm.host import Host

FRAMES: Final = 2000
SECONDS: Final = 6  # of the drive that canplayer plays
SIMULATED: Final = Path("policies/examples/sim-vehicle.bindings.yaml")
DATABASES: Final = Path("firmware_sim/scenarios")


def host(h: Host) -> None:
    """Record a simulated drive; `scan` says how many samples are in it."""
    run = h.folder / "run"
    run.mkdir()
    log = run / "drive.log"
    words = f"vehicle city-drive --seconds {SECONDS} --out"
    _python("-m", "firmware_sim", *words.split(), str(log))
    (run / "policy.yaml").write_text(POLICY)
    scan = ("scan", str(log), "--policy", str(run / "policy.yaml"), "--json")
    told = json.loads(
        _python("-c", "from agent.main import main; main()", *scan,
                "--bindings", "sim-vehicle")
    )  # fmt: skip
    (found,) = told
    events = sum(one["samples"] for one in found["items"] if one["source"] == "agent")
    samples = found["classified"] + found["unclassified"] - events
    h.run("guest", samples=samples)


def guest(g: Guest, samples: int) -> None:
    """Send, drain, verify, compare one by one; then a whole drive."""
    site = Site(g)
    site.begin()
    rate = ("-g", "0.5", "-D", "i", "-n", str(FRAMES))
    g.run("cangen", "vcan0", "-I", "123", "-L", "8", *rate)
    g.run("cangen", "vcan1", "-I", "124", "-L", "64", "-f", *rate)
    g.run("cansend", "vcan0", f"123#{FRAMES.to_bytes(8, 'little').hex()}")
    g.run("cansend", "vcan1", f"124##0{FRAMES.to_bytes(12, 'little').hex()}")
    site.read(2 * FRAMES + 2)
    site.drained()
    for kind, item in (("classic", CLASSIC), ("FD", FLEXIBLE)):
        values = sorted(site.opened(item))
        came = values == [float(number) for number in range(FRAMES + 1)]
        g.check(f"every {kind} frame came out once, opened", came, frames=len(values))
    counted = site.samples()
    g.check(
        "the counters say what was sent", counted == 2 * FRAMES + 2, samples=counted
    )
    lost = site.metric("lost_total")
    g.check("nothing is lost", lost == 0, lost=lost)
    drive(site, samples, counted)
    site.drained()
    report = site.verified()
    g.check("audit verify holds", not report["problems"], problems=report["problems"],
            entries=report["entries"], sent=report["samples_sent"])  # fmt: skip


def drive(site: Site, samples: int, before: int) -> None:
    """Play a recorded drive on three buses, with the databases of its car."""
    g = site.g
    bindings = (PROJECT / SIMULATED).read_text()
    bindings = re.sub(r"\.\./\.\./firmware_sim/scenarios/", "", bindings)
    for database in (PROJECT / DATABASES).glob("*.dbc"):
        (CONFIG / database.name).write_bytes(database.read_bytes())
    buses = (*BUSES, Bus("can2", "vcan2", fd=True))
    site.buses_up(buses[2:])
    site.configure(buses, bindings=bindings)
    site.restart()
    names = ("vcan0=can0", "vcan1=can1", "vcan2=can2")
    g.run("canplayer", "-I", str(RUN / "drive.log"), *names, limit_s=60)
    site.read(before + samples)
    counted = site.samples() - before
    g.check("canplayer's drive: as many samples as `scan` finds in its log",
            counted == samples, samples=counted, scan=samples)  # fmt: skip


def _python(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, *arguments], check=True, capture_output=True, text=True
    ).stdout
