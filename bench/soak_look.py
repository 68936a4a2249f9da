"""One row of the soak's table: what the agent takes, what it counts, what came."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bench.soak_stage import SoakStage

OUTCOMES: Final = ("sent", "merged", "thinned", "dropped", "kept", "kept_back",
                   "unclassified", "failed")  # fmt: skip
COLUMNS: Final = (
    "second", "life", "pid", "rss_kib", "pss_kib", "fds", "threads", "cpu_s",
    "store_bytes", "wal_bytes", "eve_bytes", "spool_bytes", "spool_records",
    "retained", "entries", "entries_received", "evicted", "online", "problems",
    "policy_version", "read", *(f"device_{name}" for name in OUTCOMES),
    *(f"oem_{name}" for name in OUTCOMES), "lost", "udp_drops", "requests",
    "collector_rss_kib", "collector_envelopes", "collector_samples",
    "collector_entries", "collector_refused", "ledger_bytes", "masters_asked",
    "masters_answered", "masters_refused", "masters_failed", "load_1m",
)  # fmt: skip
SAMPLE: Final = re.compile(r"^sluicegate_([a-z_]+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
PAIR: Final = re.compile(r'(\w+)="([^"]*)"')
TICKS: Final = os.sysconf("SC_CLK_TCK")
TAIL: Final = 16_384


def process(pid: int) -> dict[str, float]:
    """Return memory, descriptors, threads and CPU of a process; {} where it is gone."""
    home = Path(f"/proc/{pid}")
    try:
        rollup = (home / "smaps_rollup").read_text()
        fields = (home / "stat").read_text().rpartition(")")[2].split()
        fds = len(list((home / "fd").iterdir()))
        threads = len(list((home / "task").iterdir()))
    except OSError:
        return {}
    sizes = {
        line.split(":")[0]: int(line.split()[1])
        for line in rollup.splitlines()[1:]
        if line.endswith("kB")
    }
    return {
        "rss_kib": sizes.get("Rss", 0), "pss_kib": sizes.get("Pss", 0), "fds": fds,
        "threads": threads, "cpu_s": (int(fields[11]) + int(fields[12])) / TICKS,
    }  # fmt: skip


def size(file: Path) -> int:
    """Return a file's size; 0 where there is none."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def last_json(file: Path) -> dict[str, object]:
    """Return the last whole JSON object that stands on a line of its own."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, size(file) - TAIL))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        if line.startswith("{") and line.endswith("}"):
            found: dict[str, object] = json.loads(line)
            return found
    return {}


def udp_drops(pid: int) -> int:
    """Return what the kernel has dropped at the open UDP sockets of a process."""
    opened = set()
    try:
        for one in Path(f"/proc/{pid}/fd").iterdir():
            opened.add(str(one.readlink()))
    except OSError:
        return 0
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return sum(int(words[-1]) for words in rows if f"socket:[{words[9]}]" in opened)


def counters(page: str) -> dict[str, object]:
    """Return the sums of the metrics page that the table holds."""
    sums: dict[str, int] = defaultdict(int)
    lost: dict[str, int] = {}
    plain = {"evidence_entries": "entries", "evicted_records_total": "evicted",
             "evidence_entries_received": "entries_received",
             "retained_records": "retained", "problems": "problems"}  # fmt: skip
    for name, labels, number in SAMPLE.findall(page):
        named = dict(PAIR.findall(labels))
        value = int(float(number))
        if name == "samples_total":
            place = named["destination"]
            what = named["outcome"] if not place else f"{place}_{named['outcome']}"
            sums[what] += value
        elif name == "lost_total":
            lost[",".join(named.values())] = value
        elif name == "modbus_requests_total":
            sums["requests"] += value
        elif name in plain:
            sums[plain[name]] = value
    return {**sums, "lost": json.dumps(lost, sort_keys=True) if page else ""}


def row(
    stage: SoakStage, pids: dict[str, int], second: float, life: int
) -> dict[str, object]:
    """Return one row; what could not be seen now is missing from it."""
    state = stage.status()
    got, agent = last_json(stage.folder / "collector.log"), pids.get("agent")
    masters = [
        last_json(stage.folder / f"{name}.log")
        for name in pids
        if name.startswith("master")
    ]
    told: dict[str, object] = {
        f"masters_{name}": sum(int(str(one.get(name, 0))) for one in masters)
        for name in ("asked", "answered", "refused", "failed")
    }
    return {
        **counters(stage.metrics()),
        **(process(agent) if agent else {}),
        **{name: state[name] for name in ("spool_bytes", "spool_records", "online",
                                          "policy_version") if name in state},
        **told,
        "second": round(second, 1), "life": life, "pid": agent or "",
        "store_bytes": size(stage.store),
        "wal_bytes": size(stage.store.with_name("store.db-wal")),
        "eve_bytes": size(stage.gateway / "eve.json"),
        "udp_drops": udp_drops(agent) if agent else "",
        "collector_rss_kib": process(pids.get("collector", 0)).get("rss_kib", ""),
        "collector_envelopes": got.get("batches", ""),
        "collector_samples": got.get("samples", ""),
        "collector_entries": got.get("entries", ""),
        "collector_refused": got.get("refused", ""),
        "ledger_bytes": size(stage.ledger), "load_1m": round(os.getloadavg()[0], 2),
    }  # fmt: skip
