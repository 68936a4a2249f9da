"""A backlog of 2 GB opens quickly and costs no memory. Measured on a real file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agent.records import Commit, Rank
from tests.support.store_cases import MIB, opened, spool_record

if TYPE_CHECKING:
    from pathlib import Path

MEASURE = """
import json, os, resource, sys, time
from pathlib import Path
from tests.support.store_cases import opened
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
store = opened(Path(sys.argv[1]), cap_bytes=4 << 30)
opened_s = time.perf_counter() - start
start = time.perf_counter()
rows = 0
for _ in range(20):
    queued = store.next_to_send(48, 16)
    store.mark_sent([q.row for q in queued])
    rows += len(queued)
asked_s = time.perf_counter() - start
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps(dict(opened_s=opened_s, asked_s=asked_s, rows=rows,
    grown_kib=after - before, bytes=store.statistics().bytes_used)))
"""


def measured(path: Path, root: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, path],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    facts: dict[str, float] = json.loads(done.stdout)
    return facts


def fill(path: Path, count: int, size: int) -> None:
    store = opened(path, cap_bytes=4 << 30)
    store._connection.raw.execute("PRAGMA synchronous = OFF")  # the test's own hurry
    for n in range(0, count, 500):
        store.commit(
            Commit(
                records=tuple(
                    spool_record(n + k, Rank(k % 4), size) for k in range(500)
                ),
                evidence=(b"entry %d" % n,),
            )
        )
    store.close()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_backlog(tmp_path: Path, root: Path) -> None:
    """Ten times the backlog, the same memory; no wall clock decides here."""
    small, large = tmp_path / "small.db", tmp_path / "large.db"
    fill(small, 1_000, 8_000)
    fill(large, 10_000, 8_000)
    one, ten = measured(small, root), measured(large, root)
    assert ten["bytes"] == 10 * one["bytes"]
    assert one["rows"] == 1_000
    assert ten["rows"] == 20 * 64
    assert ten["grown_kib"] - one["grown_kib"] < 12 * 1024


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.skipif("SLUICEGATE_BIG" not in os.environ, reason="writes 2 GB")
def test_two_gigabytes(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "store.db"
    fill(path, 500_000, 4_096)
    facts = measured(path, root)
    assert facts["bytes"] > 1900 * MIB
    assert facts["opened_s"] < 2
    assert facts["grown_kib"] < 20 * 1024
