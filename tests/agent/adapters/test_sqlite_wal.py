"""The log before the database: lost, cut, damaged; and the index beside it, lost."""

from __future__ import annotations

import os
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from agent.records import Commit
from protocols.tlog.tree import Growth, leaf_hash
from tests.support.store_cases import opened, spool_record

if TYPE_CHECKING:
    from pathlib import Path

COMMITS = 40
FILES = ("store.db", "store.db-wal", "store.db-shm")


def killed(folder: Path) -> tuple[Path, list[bytes]]:
    """Return a folder as a kill leaves it, and the entries that were committed."""
    path = folder / "live" / "store.db"
    path.parent.mkdir()
    store = opened(path)
    entries = []
    for number in range(COMMITS):
        entries.append(b"entry %d " % number * 20)
        records = (spool_record(number, size=900),)
        store.commit(Commit(records=records, evidence=(entries[-1],)))
    left = folder / "left"
    left.mkdir()
    for name in FILES:
        shutil.copy(path.with_name(name), left)
    store.close()
    assert (left / "store.db-wal").stat().st_size > COMMITS * 1_000
    return left, entries


def found(folder: Path, entries: list[bytes]) -> int:
    """Open what was left; return how many commits are there: a prefix, whole."""
    store = opened(folder / "store.db")
    try:
        size, root = store.root()
        assert store.broken is None
        there = store.evidence_since(0, 1_000)
        assert there == entries[:size]
        growth = Growth(0, {})
        growth.append([leaf_hash(entry) for entry in there])
        assert root == growth.root()
        queued = store.next_to_send(1_000, 1_000)
        assert sorted(one.record.sequence for one in queued) == list(range(size))
        store.commit(Commit(evidence=(b"after",)))
        assert store.root()[0] == size + 1
    finally:
        store.close()
    return size


def test_a_lost_index_of_the_log_costs_nothing(tmp_path: Path) -> None:
    left, entries = killed(tmp_path)
    (left / "store.db-shm").unlink()
    assert found(left, entries) == COMMITS


def test_an_index_full_of_noise_costs_nothing(tmp_path: Path) -> None:
    left, entries = killed(tmp_path)
    file = left / "store.db-shm"
    file.write_bytes(random.Random(1).randbytes(file.stat().st_size))
    assert found(left, entries) == COMMITS


@pytest.mark.parametrize("seed", range(4))
def test_a_log_that_was_cut_costs_its_end_alone(tmp_path: Path, seed: int) -> None:
    """A file system that lost the newest blocks: what is there is whole commits."""
    left, entries = killed(tmp_path)
    file = left / "store.db-wal"
    os.truncate(file, random.Random(seed).randrange(32, file.stat().st_size))
    assert found(left, entries) < COMMITS


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_log_costs_what_follows_alone(tmp_path: Path, seed: int) -> None:
    left, entries = killed(tmp_path)
    file = left / "store.db-wal"
    body = bytearray(file.read_bytes())
    body[random.Random(seed).randrange(32, len(body))] ^= 0x10
    file.write_bytes(body)
    assert found(left, entries) < COMMITS


def test_without_its_log_the_database_is_what_it_was_before(tmp_path: Path) -> None:
    left, entries = killed(tmp_path)
    (left / "store.db-wal").unlink()
    (left / "store.db-shm").unlink()
    assert found(left, entries) < COMMITS
