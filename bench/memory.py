"""Resident memory of the daemon: idle, with traffic on four buses, with 2 GB waiting.

Also how long a store with that backlog takes to open. The backlog is random bytes in a
temporary folder, gone afterwards. Run alone: ``python -m bench.memory``.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from agent.adapters.processes import free_port
from agent.adapters.sqlite_open import StoreOptions, open_store
from agent.adapters.status_client import fetch_page
from agent.control import permitted
from agent.records import Commit, Rank, SpoolRecord
from bench import daemon
from bench.row import Row
from policies.files import load

MIB = 1 << 20
BACKLOG_BYTES = 2 * 10**9
BODY_BYTES = 32 * 1024
RECORDS_A_COMMIT = 256
SEALED = b"\x92"  # how a sealed batch begins: what is in the open would be destroyed
SPACE_FACTOR = 3  # the file, its log, and room for everybody else
SETTLE_S = 6.0
METRICS = "/metrics"
IDLE_BUDGET_MIB = 96
LOADED_BUDGET_MIB = 128
OPEN_BUDGET_S = 2.0
OPENINGS = 5
OPTIONS = StoreOptions(4 << 30, 4 << 30, lambda _cause, _lost: b"", lambda _found: b"")


def rows(data: Path) -> list[Row]:
    """Return DESIGN section 11's rows for memory; ``data`` is not used."""
    del data
    with tempfile.TemporaryDirectory() as temporary:
        idle = _measured(Path(temporary), traffic=False)
    with tempfile.TemporaryDirectory() as temporary:
        busy = _measured(Path(temporary), traffic=True)
    what = "4 buses, 3 of them with a simulated car"
    found = [
        _row("idle, no traffic, no broker", idle, IDLE_BUDGET_MIB),
        _row(what, busy, LOADED_BUDGET_MIB),
    ]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        free = shutil.disk_usage(folder).free
        if free < SPACE_FACTOR * BACKLOG_BYTES:
            reason = f"only {free / 1e9:.1f} GB free where 2 GB are to be written"
            return [*found, _absent("4 buses and a 2 GB backlog", reason)]
        full = _measured(folder, traffic=True, backlog=True)
        seconds = _opening(folder / "state" / "store.db")
    found.append(_row(f"{what}, 2 GB backlog", full, LOADED_BUDGET_MIB))
    found.append(
        Row(
            "opening a store with a 2 GB backlog", f"{seconds * 1000:.0f} ms", "", "",
            "", f"<= {OPEN_BUDGET_S:g} s", seconds <= OPEN_BUDGET_S,
        )
    )  # fmt: skip
    return found


def _measured(folder: Path, *, traffic: bool, backlog: bool = False) -> int:
    """Return the largest resident memory seen while the daemon ran."""
    port = free_port() if traffic else None
    config = daemon.prepare(folder, port)
    if backlog:
        _fill(folder / "state" / "store.db")
    with daemon.running(config) as agent:
        if port is None:
            return _watched(agent)
        with daemon.vehicle(port):
            seen = _watched(agent)
        # Without this the numbers of an idle daemon would pass for those of a busy one.
        if b'outcome="read"' not in fetch_page(str(folder / "status.sock"), 0, METRICS):
            raise RuntimeError("the daemon read nothing from its buses")
        return seen


def _watched(agent: daemon.Running) -> int:
    seen = 0
    until = time.monotonic() + SETTLE_S
    while time.monotonic() < until:
        seen = max(seen, agent.rss_bytes())
        time.sleep(0.2)
    return seen


def _fill(path: Path) -> None:
    """Put 2 GB of records into the spool that the policy permits."""
    destination, label = min(permitted(load(daemon.POLICY).compiled.policy))
    store = open_store(path, OPTIONS)
    now_ns = time.time_ns()
    count = BACKLOG_BYTES // BODY_BYTES
    for start in range(0, count, RECORDS_A_COMMIT):
        numbers = range(start, min(start + RECORDS_A_COMMIT, count))
        store.commit(
            Commit(
                records=tuple(
                    SpoolRecord(
                        "data", destination, Rank.GENERAL, label, bytes(16), number + 1,
                        now_ns, SEALED + os.urandom(BODY_BYTES - 1), samples=1,
                    )
                    for number in numbers
                )
            )
        )  # fmt: skip
    store.close()


def _opening(path: Path) -> float:
    taken = []
    for _ in range(OPENINGS):
        start = time.perf_counter()
        store = open_store(path, OPTIONS)
        taken.append(time.perf_counter() - start)
        size = store.statistics().bytes_used
        store.close()
        if size < BACKLOG_BYTES - BODY_BYTES:
            raise RuntimeError(f"only {size} bytes are in the backlog")
    return statistics.median(taken)


def _row(what: str, seen: int, budget: int) -> Row:
    return Row(
        f"resident memory, {what}", f"{seen / MIB:.0f} MiB", "", "", "",
        f"<= {budget} MiB", seen <= budget * MIB,
    )  # fmt: skip


def _absent(what: str, reason: str) -> Row:
    return Row(f"resident memory, {what}", "NOT MEASURED", "", reason, "", "", None)


if __name__ == "__main__":
    for found in rows(Path()):
        print(" | ".join(str(cell) for cell in found))
    sys.exit(0)
