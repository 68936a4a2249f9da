"""Evidence entries made durable in groups: the store's own transactions, synced.

Run alone: ``python -m bench.evidence``. Verification is measured in ``bench.audit``.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from agent.adapters.sqlite_open import StoreOptions, open_store
from agent.evidence import Evidence
from agent.records import Commit, Rank, SpoolRecord
from bench.row import Row

GROUP = 250
ENTRIES = 10_000
RUNS = 5
BUDGET = 5_000
OPTIONS = StoreOptions(1 << 30, 1 << 30, lambda _cause, _lost: b"", lambda _found: b"")


def _appended(folder: Path, number: int) -> float:
    """Return entries a second: encoded, hashed into the tree, committed, synced."""
    evidence = Evidence("bench", os.urandom(16), "bench")
    store = open_store(folder / f"{number}.db", OPTIONS)
    body, epoch = os.urandom(2_000), os.urandom(16)
    start = time.perf_counter()
    for first in range(0, ENTRIES, GROUP):
        entries = []
        for sequence in range(first + 1, first + GROUP + 1):
            record = SpoolRecord(
                "data", "oem", Rank.GENERAL, 304, epoch, sequence, 0, body, samples=40
            )
            entries.append(evidence.record(0, record, "CN", [("rule", 40, False)]))
        store.commit(Commit(evidence=tuple(entries)))
    took = time.perf_counter() - start
    size = store.statistics().evidence_size
    store.close()
    if size != ENTRIES:
        raise RuntimeError(f"{size} of {ENTRIES} entries are in the log")
    return ENTRIES / took


def rows(data: Path) -> list[Row]:
    """Return DESIGN section 11's row for appending; ``data`` is not used."""
    del data
    with tempfile.TemporaryDirectory() as temporary:
        rates = [_appended(Path(temporary), number) for number in range(RUNS)]
    rate = statistics.median(rates)
    return [
        Row(
            f"evidence, appended durably in groups of {GROUP}",
            f"{rate:,.0f} entries/s",
            "",
            "",
            "",
            f">= {BUDGET:,} entries/s",
            rate >= BUDGET,
        )
    ]


if __name__ == "__main__":
    for found in rows(Path()):
        print(" | ".join(str(cell) for cell in found))
    sys.exit(0)
