"""The front of the log goes; every root and proof from there on stays (RFC 6962)."""

from __future__ import annotations

import sqlite3
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.adapters.sqlite_check import check_all
from agent.adapters.sqlite_connection import suspect_mark
from agent.errors import Unavailable
from agent.records import Commit
from protocols.tlog.proof import (
    consistency_proof,
    inclusion_proof,
    verify_consistency,
    verify_inclusion,
)
from protocols.tlog.tree import leaf_hash
from tests.support.examples import upto
from tests.support.store_cases import opened

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.adapters.sqlite_store import SqliteStore
    from agent.store.retention import Pruning


def told(gone: Pruning) -> bytes:
    return b"pruned %d to %d" % (gone.first, gone.end)


def oracle(entries: Sequence[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if len(entries) <= 1:
        return sha256(b"\x00" + entries[0]).digest() if entries else sha256().digest()
    k = 1 << (len(entries) - 1).bit_length() - 1
    return sha256(b"\x01" + oracle(entries[:k]) + oracle(entries[k:])).digest()


def entries_of(count: int, first: int = 0) -> tuple[bytes, ...]:
    return tuple(b"entry %d" % n for n in range(first, first + count))


def signed(store: SqliteStore, size: int) -> None:
    store.add_checkpoint(size, store.root_at(size), b"note")
    assert store.evidence_receipted(size, store.root_at(size))


def filled(path: Path, count: int, sizes: Sequence[int]) -> SqliteStore:
    store = opened(path)
    store.commit(Commit(evidence=entries_of(count)))
    for size in sizes:
        signed(store, size)
    return store


def pruned(store: SqliteStore, below: int, rows: int = 7) -> None:
    while store.prune(below, rows, told) is not None:
        pass


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@settings(max_examples=upto(20), deadline=None)
@given(data=st.data(), count=st.integers(2, 150), more=st.integers(0, 40))
def test_every_root_and_proof_behind_the_pruned_stays(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, count: int, more: int
) -> None:
    path = tmp_path_factory.mktemp("prune") / "store.db"
    cuts = sorted(data.draw(st.sets(st.integers(1, count), min_size=1, max_size=3)))
    store = filled(path, count, cuts)
    log = list(entries_of(count))
    for cut in cuts:
        while (gone := store.prune(cut, 7, told)) is not None:
            assert gone.root == oracle(log[: gone.end])
            log.append(told(gone))
    store.commit(Commit(evidence=entries_of(more, 1000)))
    log += entries_of(more, 1000)
    store.close()
    assert check_all(path) == []
    store = opened(path)
    assert store.broken is None
    first, size = store.first, store.root()[0]
    assert (first, size) == (cuts[-1], len(log))
    assert store.root()[1] == oracle(log)
    assert store.evidence_since(first, 1000) == log[first:]

    def node(level: int, position: int) -> bytes:
        return store.nodes([(level, position)])[level, position]

    for earlier in range(first, size + 1):
        assert store.root_at(earlier) == oracle(log[:earlier])
        proof = consistency_proof(earlier, size, node)
        verify_consistency(earlier, size, oracle(log[:earlier]), oracle(log), proof)
    for index in range(first, size):
        proof = inclusion_proof(index, size, node)
        verify_inclusion(index, size, leaf_hash(log[index]), proof, oracle(log))
    store.close()


def test_a_step_is_bounded_and_told(path: Path) -> None:
    store = filled(path, 1000, [900])
    gone = store.prune(900, 256, told)
    assert gone is not None
    assert (gone.first, gone.end) == (0, 256)
    assert gone.root == oracle(entries_of(256))
    assert store.evidence_since(1000, 9) == [b"pruned 0 to 256"]
    assert gone.size == sum(map(len, entries_of(256)))
    left = store.statistics()
    assert left.evidence_first == 256
    assert left.evidence_bytes == sum(map(len, store.evidence_since(256, 10_000)))


def test_what_nobody_else_has_stays(path: Path) -> None:
    """Signed and not receipted; receipted and not signed; neither."""
    store = filled(path, 100, [])
    assert store.prune(100, 256, told) is None
    store.add_checkpoint(80, store.root_at(80), b"note")
    assert store.prune(100, 256, told) is None
    assert store.evidence_receipted(60, store.root_at(60))
    assert store.prune(100, 256, told) is None
    store.add_checkpoint(40, store.root_at(40), b"note")
    pruned(store, 100)
    assert store.first == 40
    assert store.evidence_since(40, 1000)[:60] == list(entries_of(60, 40))


def test_a_receipt_for_what_is_pruned_does_no_harm(path: Path) -> None:
    store = filled(path, 100, [64])
    pruned(store, 64)
    assert store.evidence_receipted(10, bytes(32))
    assert store.statistics().evidence_sent == 64
    assert store.evidence_since(10, 10) == []
    assert store.commit(Commit(evidence=(b"goes on",))) == ()


def test_a_step_that_fails_leaves_everything(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(path, 100, [64])
    before = store.root(), store.evidence_since(0, 1000)

    def fails(_gone: Pruning) -> bytes:
        raise Unavailable("store", "no space")

    with pytest.raises(Unavailable):
        store.prune(64, 16, fails)
    assert (store.root(), store.evidence_since(0, 1000)) == before
    store.close()
    assert check_all(path) == []
    assert opened(path).first == 0


@pytest.mark.parametrize("steps", range(1, 6))
def test_a_store_that_ends_between_two_steps_goes_on(path: Path, steps: int) -> None:
    store = filled(path, 200, [150])
    for _ in range(steps):
        store.prune(150, 16, told)
    copy = path.with_name("copy.db")  # as a power cut leaves it: log not folded in
    for suffix in ("", "-wal"):
        copy.with_name(copy.name + suffix).write_bytes(
            path.with_name(path.name + suffix).read_bytes()
        )
    store.close()
    again = opened(copy)
    assert again.broken is None
    assert again.first == 16 * steps
    pruned(again, 150, 16)
    assert again.first == 150
    again.close()
    assert check_all(copy) == []


def test_a_damaged_store_goes_on_behind_what_was_pruned(path: Path) -> None:
    store = filled(path, 300, [100, 250])
    pruned(store, 100)
    log_id, root, tail = store.log_id, store.root(), store.evidence_since(100, 1000)
    store.close()
    raw = sqlite3.connect(path)
    raw.execute("UPDATE state SET spool_bytes = spool_bytes + 1")
    raw.commit()
    raw.close()
    again = opened(path)
    assert again.broken is not None
    assert again.broken.continued
    assert (again.log_id, again.first) == (log_id, 100)
    assert again.root_at(root[0]) == root[1]
    assert again.evidence_since(100, root[0] - 100) == tail
    again.close()
    assert check_all(path) == []


TAMPERINGS = {
    "a subtree": "UPDATE nodes SET hash = zeroblob(9) WHERE (level, position) = (6, 0)",
    "no subtree": "DELETE FROM nodes WHERE level = 5 AND position = 2",
    "the first entry": "DELETE FROM entries WHERE position = 100",
    "more than is told": "DELETE FROM entries WHERE position < 120",
    "where it begins": "DELETE FROM documents WHERE name = 'evidence.pruned'",
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_a_beginning_that_was_tampered_with_is_found(path: Path, what: str) -> None:
    store = filled(path, 300, [100, 250])
    pruned(store, 100)  # 64 + 32 + 4
    log_id = store.log_id
    store.close()
    raw = sqlite3.connect(path)
    assert raw.execute(TAMPERINGS[what]).rowcount
    raw.commit()
    raw.close()
    assert check_all(path) != []
    suspect_mark(path).touch()
    again = opened(path)
    assert again.broken is not None
    assert not again.broken.continued
    assert again.log_id != log_id
    again.commit(Commit(evidence=(b"goes on",)))
    again.close()
    assert check_all(path) == []


def test_the_file_grows_no_more_once_pruned_rows_make_room(path: Path) -> None:
    store = opened(path)
    sizes = []
    for day in range(40):
        store.commit(Commit(evidence=tuple(b"%d" % n + bytes(250) for n in range(500))))
        signed(store, store.root()[0])
        if day >= 10:
            pruned(store, store.root()[0] - 5000, 256)
        store._connection.raw.execute(
            "PRAGMA wal_checkpoint(TRUNCATE)"
        )  # the file alone
        sizes.append(path.stat().st_size)
    assert sizes[10] > 5 * sizes[1] / 2
    assert max(sizes[15:]) <= sizes[14] + 8 * 8192
