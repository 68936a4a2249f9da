"""Damaged databases set aside: two stay of those that were saved in full."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from agent.adapters import sqlite_aside
from agent.adapters.sqlite_files import aside_numbers
from agent.limits import RESERVE_BYTES
from agent.records import Commit
from agent.store.aside import Aside, to_go
from tests.support.store_cases import opened

if TYPE_CHECKING:
    from pathlib import Path

SAVED = "UPDATE state SET spool_bytes = spool_bytes + 1"
LOST = "DELETE FROM entries"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def damaged(path: Path, statement: str) -> list[bytes]:
    """Damage a store and open it; return the new entries."""
    store = opened(path)
    store.commit(Commit(evidence=(b"entry", b"entry")))
    store.close()
    raw = sqlite3.connect(path)
    raw.execute(statement)
    raw.commit()
    raw.close()
    again = opened(path)
    assert again.broken is not None
    entries = again.evidence_since(again.first, 10_000)
    again.close()
    return [entry for entry in entries if entry != b"entry"]


def test_the_newest_two_stay_of_what_was_saved_in_full(path: Path) -> None:
    for number in range(1, 6):
        entries = damaged(path, SAVED)
        kept = [n for n in (number - 1, number) if n]
        assert aside_numbers(path) == kept
    numbers = {one.name.split("-")[1][0] for one in path.parent.glob("*damaged*")}
    assert numbers == {"4", "5"}  # nothing of the others is left
    told = [facts for e in entries if "loss" in (facts := json.loads(e))]
    assert [facts["loss"] for facts in told] == ["set aside"] * 3
    assert all(rows[0] == ["damaged store", 0, 1, rows[0][3], 0] for rows in (
        facts["rows"] for facts in told
    ))  # fmt: skip
    assert opened(path).broken is None


def test_the_only_copy_of_what_was_not_saved_stays(path: Path) -> None:
    damaged(path, LOST)
    for _ in range(4):
        damaged(path, SAVED)
    assert aside_numbers(path) == [1, 4, 5]


def test_a_full_disk_takes_the_oldest_copies(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        damaged(path, LOST)
    assert aside_numbers(path) == [1, 2, 3, 4]
    monkeypatch.setattr(
        sqlite_aside, "free_bytes", lambda _folder: 2 * RESERVE_BYTES - 1
    )
    opened(path).close()
    assert aside_numbers(path) == [2, 3, 4]
    monkeypatch.setattr(sqlite_aside, "free_bytes", lambda _folder: 0)
    opened(path).close()
    assert aside_numbers(path) == [3, 4]


def test_what_goes_first() -> None:
    lost, saved = Aside(1, 10, is_whole=False), Aside(2, 10, is_whole=True)
    newest = [Aside(n, 10, is_whole=True) for n in (3, 4)]
    assert to_go([*newest, saved, lost], 0) == [saved]
    assert to_go([*newest, saved, lost], 10) == [saved]
    assert to_go([*newest, saved, lost], 11) == [lost, saved]
    assert to_go(newest, 100) == []
