"""Promise 7 on a disk with a write cache: sectors lost, torn and out of order."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from agent.records import Commit
from protocols.tlog.tree import Growth, leaf_hash
from tests.support.disk_trace import Event, cut_at, strace, traced
from tests.support.store_cases import opened

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(strace is None, reason="strace is not installed"),
]
CUTS = 40
# 120 commits of 30 to 90 KB: the write-ahead log is folded in several times.
SCRIPT = """
import os, sys
from pathlib import Path
from agent.records import Commit
from tests.support.store_cases import opened, spool_record
store = opened(Path(sys.argv[1]) / "store.db")
for number in range(120):
    size = 3_000 + 60 * number
    records = [spool_record(number * 10 + k, size=size) for k in range(10)]
    store.commit(Commit(records=tuple(records), evidence=(b"entry %d" % number,)))
    os.write(1, b"%d\\n" % number)
    if number % 10 == 9:
        store.confirm(records[0].epoch, range(number * 10 - 40, number * 10))
store.close()
"""


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory, root: Path) -> list[Event]:
    folder = tmp_path_factory.mktemp("traced") / "state"
    folder.mkdir()
    return traced(folder, SCRIPT, root)


def held(folder: Path) -> int:
    """Return how many commits a store holds that a cut has left: a prefix, whole."""
    store = opened(folder / "store.db")
    try:
        assert store.broken is None
        size, root = store.root()
        entries = store.evidence_since(0, 1_000)
        assert entries == [b"entry %d" % number for number in range(size)]
        growth = Growth(0, {})
        growth.append([leaf_hash(entry) for entry in entries])
        assert root == growth.root()
        store.commit(Commit(evidence=(b"after",)))
        assert store.root()[0] == size + 1
    finally:
        store.close()
    return size


def test_the_trace_tells_of_a_disk_that_is_used(events: list[Event]) -> None:
    calls = [event.call for event in events]
    assert calls.count("ack") == 120
    assert calls.count("sync") > 120
    database = [e for e in events if e.path.endswith("store.db") and e.call == "write"]
    assert len(database) > 500  # the log was folded in


@pytest.mark.parametrize("seed", range(CUTS))
def test_what_was_acknowledged_is_there(
    events: list[Event], tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    acks = [at for at, event in enumerate(events) if event.call == "ack"]
    end = rng.randrange(acks[0] + 1, len(events))
    acked = cut_at(events[:end], tmp_path, rng)
    assert held(tmp_path) >= len(acked)


def test_a_disk_that_lies_is_seen_to_lose(events: list[Event], tmp_path: Path) -> None:
    """The control: the same cuts where no sync is one."""
    lost = 0
    for seed in range(3):
        rng = random.Random(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        acked = cut_at(events[: len(events) // 2], folder, rng, lies=True)
        store = opened(folder / "store.db")
        lost += store.broken is not None or store.root()[0] < len(acked)
        store.close()
    assert lost == 3
