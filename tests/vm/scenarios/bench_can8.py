"""Eight buses as full as 500 kbit/s allow: no uncounted loss; python-can beside."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.vm.gateway import CONFIG, ENVIRONMENT, PYTHON, Bus, Site

if TYPE_CHECKING:
    from tests.vm.guest import Guest
    from tests.vm.host import Host

BENCH: Final = True  # asked for by name: `make vm-bench`
# A classic frame of 8 bytes has 111 bits and up to 24 of stuffing: 3,700 to 4,500/s.
RATE: Final = 4000
LIMIT_S: Final = 600
SECONDS: Final = 20
BUSES: Final = tuple(Bus(f"can{n}", f"vcan{n}") for n in range(8))
NAMES: Final = [bus.interface for bus in BUSES]
ITEMS: Final = "Vehicle.Powertrain.TractionBattery"
DATABASE: Final = 'VERSION ""\nNS_ :\nBS_:\nBU_: ECU\n' + "".join(
    f"BO_ {0x100 + n} M{n}: 8 ECU\n"
    ' SG_ COUNTER : 0|32@1+ (1,0) [0|0] "" ECU\n'
    ' SG_ REST : 32|32@1+ (1,0) [0|0] "" ECU\n'
    for n in range(8)
)
POLICY: Final = """\
schema: sluicegate/policy/1
name: bench
version: 1
min_version: 1
catalogues: [cn-auto]
home_region: CN
destinations:
  oem: {region: CN, recipients: [oem-2026], suite: x25519-aes256gcm}
rules:
  - {name: events, match: {category: security.event}, to: oem, purpose: watching,
     do: [encrypt]}
  - {name: battery, match: {category: energy.state}, to: oem, purpose: safety,
     do: [{every: 1s}, encrypt]}
retention: {default: 1d}
telemetry: {interval: 1s, checkpoint: 1s}
"""


def host(h: Host) -> None:
    """Run the one step; it takes longer than most."""
    h.run("guest", limit_s=LIMIT_S)


def guest(g: Guest) -> None:
    """Measure the agent, then the peer, on the same traffic."""
    site = Site(g)
    bindings = "schema: sluicegate/bindings/1\nname: vm\ncan:\n" + "".join(
        f"  - bus: {bus.name}\n    database: bench.dbc\n    signals:\n"
        + "".join(f"      M{n}.COUNTER: {ITEMS}.{bus.name}.Cell{n}\n" for n in range(8))
        for bus in BUSES
    )
    site.configure(BUSES, policy=POLICY, bindings=bindings)
    (CONFIG / "bench.dbc").write_text(DATABASE)
    g.shell(f"chgrp sluicegate {CONFIG}/bench.dbc; chmod 640 {CONFIG}/bench.dbc")
    site.buses_up(BUSES)
    site.begin()
    before_s, pid = cpu_s(site.pid()), site.pid()
    sent = load(g, SECONDS)
    total = sum(sent.values())
    g.until("all was read or counted", lambda: counted(site)[0] >= total, 60)
    used_s = cpu_s(pid) - before_s
    read, lost = counted(site)
    g.check("no uncounted loss", read == total, sent=total, counted=read, lost=lost,
            per_second=round(total / SECONDS),
            cpu_percent=round(100 * used_s / SECONDS),
            us_per_frame=round(1e6 * used_s / total, 1))  # fmt: skip
    g.check("nothing was lost", lost == 0, lost=lost)
    g.check("memory", True, mib=round(int(site.shown("MemoryCurrent")) / 2**20))
    g.run("systemctl", "stop", "sluicegate.service", "collector", "broker")
    peer(g)


def peer(g: Guest) -> None:
    """Measure python-can's receive loop: a process, a thread a bus."""
    words = [PYTHON, "-m", "tests.support.can_peer", str(SECONDS + 2), *NAMES]
    with subprocess.Popen(
        words, env=environment(), stdout=subprocess.PIPE, text=True
    ) as listener:
        assert listener.stdout is not None
        listener.stdout.readline()
        sent = load(g, SECONDS)
        *counts, used_s = listener.communicate(timeout=120)[0].split()
    got = {name: int(number) for name, _, number in (c.partition("=") for c in counts)}
    total, came = sum(sent.values()), sum(got.values())
    g.check("python-can's loop on the same traffic", True, sent=total, received=came,
            lost_without_a_count=total - came,
            cpu_percent=round(100 * float(used_s) / SECONDS),
            us_per_frame=round(1e6 * float(used_s) / max(came, 1), 1))  # fmt: skip


def load(g: Guest, seconds: int) -> dict[str, int]:
    """Put the traffic onto the buses; return what went to each."""
    words = [PYTHON, "-m", "tests.support.can_load", str(seconds), str(RATE), *NAMES]
    done = subprocess.run(
        words, env=environment(), check=True, capture_output=True, text=True
    )
    counts = done.stdout.split()[:-1]
    return {name: int(number) for name, _, number in (c.partition("=") for c in counts)}


def counted(site: Site) -> tuple[int, int]:
    """Return frames that the agent read or counted as lost, and the lost ones."""
    lost = int(site.metric("lost_total"))
    return int(site.metric("bus_frames_total")) + lost, lost


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def environment() -> dict[str, str]:
    """Return the environment of the tools of the checkout."""
    return dict(os.environ) | dict(one.split("=", 1) for one in ENVIRONMENT)
