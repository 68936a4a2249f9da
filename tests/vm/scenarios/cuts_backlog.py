"""2 GB of backlog at boot in 128 MiB: ready in 2 s, and it drains."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.vm.gateway import CONFIG, ENVIRONMENT, PYTHON, SERVICE, STATE, Site
from tests.vm.guest import PROJECT
from tests.vm.scenarios.install import seconds_to_ready

if TYPE_CHECKING:
    from tests.vm.guest import Guest
    from tests.vm.host import Host

BENCH: Final = True  # filling takes a minute or more: `make vm-bench`
BYTES: Final = 2 << 30
ENVELOPE_BYTES: Final = 8192
LIMIT_MIB: Final = 128
READY_S: Final = 2.0
WATCH_S: Final = 20  # of draining; all of it takes minutes here
GROUP: Final = Path("/sys/fs/cgroup/system.slice") / SERVICE


def host(h: Host) -> None:
    """Fill, switch off, boot: the page cache is empty and the service starts itself."""
    disk = h.disk()
    h.run("fill", disk, limit_s=900, power_off=True)
    whole = "SLUICEGATE_BIG" in os.environ
    h.run("guest", disk, limit_s=3600 if whole else 600, whole=whole)


def fill(g: Guest) -> None:
    """Leave a backlog as a long time without a broker would."""
    site = Site(g)
    site.configure(more="[spool]\nmax_bytes = 3221225472\n")
    site.restart()
    g.run("systemctl", "stop", SERVICE)
    start_s = time.monotonic()
    words = (str(CONFIG / "sluicegate.toml"), str(BYTES), str(ENVELOPE_BYTES))
    g.run(
        "runuser", "-u", "sluicegate", "--", "env", *ENVIRONMENT[:1], PYTHON, "-B",
        "-m", "tests.support.backlog", *words, limit_s=880,
    )  # fmt: skip
    size = (STATE / "store.db").stat().st_size
    seconds = round(time.monotonic() - start_s)
    g.need("2 GB wait", size >= BYTES, bytes=size, seconds=seconds)
    folder = f"/etc/systemd/system/{SERVICE}.d"
    limits = f"[Service]\nMemoryHigh=infinity\nMemoryMax={LIMIT_MIB}M\n"
    g.shell(f"mkdir -p {folder}; printf '{limits}' > {folder}/memory.conf")
    assert PROJECT


def guest(g: Guest, *, whole: bool) -> None:
    """Look at the start, then at the draining."""
    site = Site(g)
    g.until("the service is active", site.is_active, 60)
    seconds = seconds_to_ready(site)
    waiting = int(site.status()["spool_records"])
    g.check("at boot it is ready in 2 s", seconds <= READY_S, seconds=seconds,
            envelopes=waiting, memory_mib=peak_mib())  # fmt: skip
    site.broker()
    site.collector()
    start_s = time.monotonic()
    g.until("it drains", lambda: site.status()["spool_records"] < waiting - 500, 60)
    if whole:
        g.until("all has left", lambda: site.status()["spool_records"] == 0, 3600)
    else:
        time.sleep(WATCH_S)
    left = int(site.status()["spool_records"])
    seconds = time.monotonic() - start_s
    rate = (waiting - left) * ENVELOPE_BYTES / seconds / 1e6
    g.check("it drains to a collector", left < waiting - 1000, left=left,
            MB_per_second=round(rate, 2))  # fmt: skip
    events = dict(
        line.split() for line in (GROUP / "memory.events").read_text().splitlines()
    )
    g.check(f"within {LIMIT_MIB} MiB, nothing killed", events["oom_kill"] == "0",
            peak_mib=peak_mib(), at_limit=events["max"])  # fmt: skip
    g.check("it is the same process", site.shown("NRestarts") == "0")


def peak_mib() -> float:
    """Return the most memory that the service's cgroup had, page cache included."""
    return round(int((GROUP / "memory.peak").read_text()) / 2**20, 1)
