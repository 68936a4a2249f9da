"""Bytes that changed under the store, and a disk that cannot tell."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from agent.adapters.sqlite_check import check_all
from agent.errors import Fatal
from agent.records import Commit
from tests.support.store_cases import (
    EPOCH,
    opened,
    spool_record,
)

if TYPE_CHECKING:
    from pathlib import Path

    from agent.adapters.sqlite_store import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def losses_told(store: SqliteStore) -> list[dict[str, object]]:
    entries = store.evidence_since(0, 10_000)
    return [json.loads(e) for e in entries if e.startswith(b'{"loss"')]


def test_a_message_that_changed_on_the_disk_is_counted_and_not_sent(path: Path) -> None:
    store = opened(path)
    store.commit(Commit(records=tuple(spool_record(n) for n in range(3))))
    store.close()
    raw = sqlite3.connect(path)
    raw.execute("UPDATE spool SET body = zeroblob(100) WHERE sequence = 1")
    raw.commit()
    raw.close()
    assert check_all(path) == ["1 spooled messages have changed bytes"]
    store = opened(path)
    assert [q.record.sequence for q in store.next_to_send(9, 9)] == [0, 2]
    assert [(e.cause, e.records) for e in store.losses()] == [("damaged", 1)]
    assert losses_told(store)[0]["places"] == [[[EPOCH.hex(), 1, 1]]]
    store.close()


def test_an_entry_that_changed_on_the_disk_is_never_handed_out(path: Path) -> None:
    store = opened(path)
    store.commit(Commit(evidence=(b"aaa", b"bbb")))
    store.close()
    raw = sqlite3.connect(path)
    raw.execute("UPDATE entries SET body = x'626263' WHERE position = 1")
    raw.commit()
    raw.close()
    store = opened(path)
    with pytest.raises(Fatal, match="entry 1"):
        store.evidence_since(0, 9)
    with pytest.raises(Fatal):
        store.commit(Commit(evidence=(b"c",)))
    store.close()
    store = opened(path)  # looks at everything now, and sets it aside
    assert store.broken is not None
    assert store.broken.entries_kept == 1
    assert path.with_name("store.db.damaged-1").exists()
    store.close()


class FailingSync:
    """Stands before the real connection: its fsync fails at the next COMMIT."""

    def __init__(self, real: sqlite3.Connection) -> None:
        self._real = real

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def execute(self, query: str, *values: object) -> sqlite3.Cursor:
        if query == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return self._real.execute(query, *values)


def test_after_a_failed_fsync_nothing_is_claimed_any_more(path: Path) -> None:
    """No disk here fails an fsync, so this one error is made up."""
    store = opened(path)
    store.commit(Commit(evidence=(b"one",)))
    real = store._connection.raw
    store._connection.raw = FailingSync(real)  # type: ignore[assignment]  # the fault
    with pytest.raises(Fatal, match="fsync failed"):
        store.commit(Commit(evidence=(b"two",)))
    store._connection.raw = real
    for _ in range(2):
        with pytest.raises(Fatal, match="fsync failed"):
            store.commit(Commit(evidence=(b"three",)))
        with pytest.raises(Fatal, match="fsync failed"):
            store.next_to_send(1, 1)
    store.close()
    store = opened(path)  # only recovery can tell
    assert store.evidence_since(0, 9)[0] == b"one"
    store.close()
