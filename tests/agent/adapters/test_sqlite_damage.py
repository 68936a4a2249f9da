"""Damaged, foreign, locked, read-only and full: real files, real errors."""

from __future__ import annotations

import json
import os
import random
import resource
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from agent.adapters.sqlite_check import check_all
from agent.adapters.sqlite_connection import suspect_mark
from agent.adapters.sqlite_files import companion
from agent.errors import BadInput, Fatal, Unavailable
from agent.records import Commit, Rank
from protocols.tlog.tree import Growth, leaf_hash
from tests.support.store_cases import opened, retained_record, spool_record

if TYPE_CHECKING:
    from pathlib import Path

    from agent.adapters.sqlite_store import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


ENTRIES = [f"entry {n}".encode() * 9 for n in range(300)]


def filled(path: Path, signed: int = 250) -> bytes:
    """Make a store with some of everything; return the bytes of its file."""
    store = opened(path)
    for n in range(0, 300, 10):
        store.commit(
            Commit(
                records=tuple(
                    spool_record(n + k, Rank(k % 4), 40 * k) for k in range(10)
                ),
                retained=(retained_record(n, 10**15, 900),),
                evidence=tuple(ENTRIES[n : n + 10]),
            )
        )
        if store.root()[0] == signed:
            store.add_checkpoint(*store.root(), b"note")
    assert store.evidence_receipted(100, root_of(ENTRIES[:100]))
    store.keep_document("policy", b"proof")
    store.close()
    return path.read_bytes()


def root_of(entries: list[bytes]) -> bytes:
    growth = Growth(0, {})
    growth.append([leaf_hash(entry) for entry in entries])
    return growth.root()


def is_consistent(store: SqliteStore) -> None:
    """Tell that a store, whatever happened before, works and adds up."""
    size, root = store.root()
    entries = store.evidence_since(0, 10_000)
    assert len(entries) == size
    assert root == root_of(entries)
    store.commit(Commit(records=(spool_record(9_999),), evidence=(b"after",)))
    assert store.root()[0] == size + 1


def told(store: SqliteStore) -> dict[str, Any]:
    entries = store.evidence_since(0, 10_000)
    (one,) = [e for e in entries if e.startswith(b'{"broken"')]
    facts: dict[str, Any] = json.loads(one)["broken"]
    return facts


@pytest.mark.parametrize("seed", range(24))
def test_flipped_bits_anywhere_are_survived(path: Path, seed: int) -> None:
    """The store starts by itself; the log is the old one in full or says it broke."""
    whole = filled(path)
    rng = random.Random(seed)
    damaged = bytearray(whole)
    # the header and the first pages in some, anywhere in all
    spots = [rng.randrange(len(whole)) for _ in range(4)]
    spots += [rng.randrange(100)] if seed % 3 == 0 else []
    for spot in spots:
        damaged[spot] ^= 1 << rng.randrange(8)
    path.write_bytes(damaged)
    for _ in range(3):  # Fatal sends the daemon into its next start
        store = opened(path)
        try:
            is_consistent(store)
            store.next_to_send(0, 1000)
        except Fatal:
            assert suspect_mark(path).exists()
            store.close()
            continue
        break
    else:
        pytest.fail("the store does not get up")
    entries = store.evidence_since(0, 10_000)
    if store.broken is None:
        assert entries[:300] == ENTRIES
    else:
        assert companion(path, ".damaged-1").exists()
        facts = told(store)
        if facts["continued"]:
            assert facts["entries_kept"] >= 250
            kept = min(facts["entries_kept"], 300)
            assert entries[:kept] == ENTRIES[:kept]
        else:
            assert entries[0].startswith(b'{"broken"')
    store.close()
    again = opened(path)
    assert again.broken is None
    assert again.evidence_since(0, 10_000) == entries
    again.close()
    if any("changed bytes" not in problem for problem in check_all(path)):
        # Damage that nothing has met yet: the doctor's finding asks for the full check.
        suspect_mark(path).touch()
        opened(path).close()
    assert all("changed bytes" in problem for problem in check_all(path))


def test_a_schema_whose_names_are_no_text_is_set_aside(path: Path) -> None:
    """SQLite's message quotes the name, and Python cannot decode the message."""
    whole = filled(path)
    name, sql = b"documentsdocuments", b"CREATE TABLE documents"
    assert whole.count(name) == whole.count(sql) == 1
    damaged = whole.replace(name, b"\xff" + name[1:])
    path.write_bytes(damaged.replace(sql, b"\xff" + sql[1:]))
    store = opened(path)
    is_consistent(store)
    assert companion(path, ".damaged-1").exists()


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.3, 0.7, 0.97, 0.9999])
def test_a_truncated_file_is_set_aside_and_said(path: Path, share: float) -> None:
    whole = filled(path)
    cut = whole[: int(len(whole) * share)]
    path.write_bytes(cut)
    store = opened(path)
    assert store.broken is not None
    assert companion(path, ".damaged-1").read_bytes() == cut
    is_consistent(store)
    assert told(store)["set_aside"] == "store.db.damaged-1"
    store.close()


def test_a_file_that_is_no_database_is_set_aside(path: Path) -> None:
    path.write_bytes(b"not a database, but somebody's text\n" * 100)
    store = opened(path)
    facts = told(store)
    assert facts["continued"] is False
    assert facts["spool_lost"] == -1
    store.close()
    assert companion(path, ".damaged-1").read_bytes().startswith(b"not a database")


def test_the_log_goes_on_where_nothing_signed_is_missing(path: Path) -> None:
    filled(path)
    raw = sqlite3.connect(path)  # the sums are wrong: damage beside the log
    raw.execute("UPDATE state SET spool_bytes = spool_bytes + 1")
    raw.commit()
    raw.close()
    store = opened(path)
    assert store.broken is not None
    assert store.broken.continued
    assert store.broken.entries_kept == 300
    assert (store.broken.spool_kept, store.broken.spool_lost) == (300, 0)
    assert (store.broken.retained_kept, store.broken.retained_lost) == (30, 0)
    assert store.evidence_since(0, 300) == ENTRIES
    assert store.root_at(300) == root_of(ENTRIES)
    assert store.document("policy") == b"proof"
    assert store.statistics().evidence_sent == 100
    checkpoint = store.last_checkpoint()
    assert checkpoint is not None
    assert checkpoint[1] == root_of(ENTRIES[:250])
    store.close()


@pytest.mark.parametrize(("gone", "continued"), [(260, True), (249, False)])
def test_a_lost_entry_breaks_the_log_only_where_it_was_signed(
    path: Path, gone: int, continued: bool
) -> None:
    filled(path)
    raw = sqlite3.connect(path)
    (log_id,) = raw.execute("SELECT log_id FROM state").fetchone()
    raw.execute("DELETE FROM entries WHERE position = ?", (gone,))
    raw.execute("DELETE FROM nodes WHERE level = 0 AND position = ?", (gone,))
    raw.commit()
    raw.close()
    suspect_mark(path).touch()
    store = opened(path)
    assert store.broken is not None
    assert store.broken.continued is continued
    assert (store.log_id == log_id) is continued
    assert store.broken.entries_kept == (gone if continued else 0)
    assert store.broken.spool_kept == 300  # the data are there all the same
    is_consistent(store)
    store.close()


def test_a_crash_between_the_steps_of_setting_aside_is_finished(path: Path) -> None:
    filled(path)
    path.rename(companion(path, ".new"))  # as after the rename of the damaged one
    companion(path, ".damaged-1").write_bytes(b"the damaged one")
    companion(path, "-wal").write_bytes(b"the damaged one's log")
    store = opened(path)
    assert store.evidence_since(0, 300) == ENTRIES
    assert store.broken is None
    store.close()
    aside = companion(path, ".damaged-1-wal")
    assert aside.read_bytes() == b"the damaged one's log"


def test_half_made_new_databases_are_begun_again(path: Path) -> None:
    filled(path)
    companion(path, ".new").write_bytes(b"half")
    store = opened(path)
    assert store.root()[0] == 300
    assert not companion(path, ".new").exists()
    store.close()


def test_other_programs_databases_are_left_alone(path: Path) -> None:
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE songs (name TEXT)")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(BadInput, match="another program"):
        opened(path)
    raw = sqlite3.connect(path)
    assert raw.execute("SELECT count(*) FROM songs").fetchone() == (0,)
    raw.close()
    assert before == path.read_bytes()


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    filled(path)
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA user_version = 2")
    raw.execute("CREATE TABLE later (x)")
    raw.close()
    with pytest.raises(BadInput, match="schema 2"):
        opened(path)


def test_a_second_process_is_told_who_has_it(path: Path) -> None:
    first = opened(path)
    with pytest.raises(Unavailable, match="in use by another process"):
        opened(path)
    first.close()
    opened(path).close()


def test_a_foreign_lock_is_waited_for_and_then_told(path: Path) -> None:
    store = opened(path)
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("BEGIN IMMEDIATE")
    store._connection.raw.execute("PRAGMA busy_timeout = 50")
    with pytest.raises(Unavailable, match="in use by another process"):
        store.commit(Commit(evidence=(b"x",)))
    raw.execute("ROLLBACK")
    raw.close()
    store.commit(Commit(evidence=(b"x",)))
    assert store.root()[0] == 1
    store.close()


def test_no_folder_and_no_file_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file or directory"):
        opened(tmp_path / "absent" / "store.db")
    (tmp_path / "store.db").mkdir()
    with pytest.raises(Unavailable, match="store: "):
        opened(tmp_path / "store.db")


def test_a_full_disk_loses_nothing_that_was_committed(path: Path) -> None:
    store = opened(path)
    store.commit(Commit(records=(spool_record(1),), evidence=(b"kept",)))
    pages = store._connection.raw.execute("PRAGMA page_count").fetchone()[0]
    store._connection.raw.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(Unavailable, match="no space left"):
        store.commit(
            Commit(records=(spool_record(2, size=100_000),), evidence=(b"not",))
        )
    assert store.root()[0] == 1
    assert [q.record.sequence for q in store.next_to_send(9, 9)] == [1]
    store._connection.raw.execute("PRAGMA max_page_count = 100000")
    store.commit(Commit(records=(spool_record(3, size=100_000),), evidence=(b"next",)))
    assert store.evidence_since(0, 9) == [b"kept", b"next"]
    store.close()
    assert check_all(path) == []


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from agent.errors import Unavailable
from agent.records import Commit
from tests.support.store_cases import opened, spool_record
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
store = opened(Path(sys.argv[1]))
done = 0
for n in range(100):
    try:
        store.commit(Commit(records=(spool_record(n, size=50_000),), evidence=(b"x",)))
        done += 1
    except Unavailable as error:
        refused = str(error)
        break
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
store.commit(Commit(records=(spool_record(7_777),), evidence=(b"y",)))
print(done, store.root()[0], refused)
store.close()
"""


def test_a_file_that_may_not_grow_is_a_full_disk(path: Path, root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    count, size, reason = done.stdout.split(maxsplit=2)
    assert 0 < int(count) < 100
    assert int(size) == int(count) + 1
    assert reason.startswith("store: commit: ")
    store = opened(path)
    sequences = [q.record.sequence for q in store.next_to_send(0, 1000)]
    assert sequences == [*range(int(count)), 7_777]
    is_consistent(store)
    store.close()
    assert check_all(path) == []


READ_ONLY = """
import os, sys
from pathlib import Path
from agent.errors import Unavailable
from tests.support.store_cases import opened
os.setgid(65534); os.setuid(65534)
try:
    opened(Path(sys.argv[1]))
except Unavailable as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be refused")
def test_a_folder_without_permission_is_one_clear_line(
    tmp_path: Path, root: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, tmp_path / "store.db"],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("store: ")
    assert "Permission denied" in done.stdout


def use_everything(store: SqliteStore) -> None:
    for _ in range(10):
        store.next_to_send(0, 1000)
        store.evidence_since(0, 1000)
        store.commit(Commit(evidence=(b"x",)))


def test_damage_while_running_is_fatal_and_mended_at_the_next_start(path: Path) -> None:
    filled(path)
    store = opened(path)
    whole = bytearray(path.read_bytes())
    whole[8192 * 2 :] = os.urandom(len(whole) - 8192 * 2)
    path.write_bytes(whole)
    store._connection.raw.execute("PRAGMA cache_size = 0")
    with pytest.raises(Fatal):
        use_everything(store)
    store.close()
    again = opened(path)
    assert again.broken is not None
    is_consistent(again)
    again.close()


assert resource.RLIMIT_FSIZE  # the subprocess above needs a Unix
