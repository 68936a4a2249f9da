"""One evidence log, one device: what becomes of a store when the name changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.adapters.named_store import open_named
from agent.adapters.sqlite_open import StoreOptions, open_store
from agent.errors import BadInput
from agent.records import Commit
from tests.support.store_cases import spool_record

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = StoreOptions(1 << 24, 1 << 24, lambda _cause, _lost: b"", lambda _found: b"")


def test_the_same_name_opens_the_same_log(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    first = open_named(file, OPTIONS, "gw-1")
    log = first.log_id
    first.close()
    again = open_named(file, OPTIONS, "gw-1")
    assert again.log_id == log
    again.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store.db", "store.db.lock"]


def test_a_store_of_before_names_were_kept_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    old = open_store(file, OPTIONS)
    log = old.log_id
    old.close()
    store = open_named(file, OPTIONS, "gw-1")
    assert (store.log_id, store.document("device")) == (log, b"gw-1")
    store.close()


def test_what_nobody_has_seen_is_set_aside(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    logs = []
    for name in ("unnamed", "gw-1", "unnamed", "gw-1"):
        store = open_named(file, OPTIONS, name)
        logs.append(store.log_id)
        store.close()
    assert len(set(logs)) == 4
    found = {p.name for p in tmp_path.iterdir() if ".of-" in p.name}
    assert found == {
        "store.db.of-unnamed-1", "store.db.of-gw-1-1", "store.db.of-unnamed-2",
    }  # fmt: skip
    kept = open_store(tmp_path / "store.db.of-gw-1-1", OPTIONS)
    assert kept.log_id == logs[1]
    kept.close()


def test_what_waits_is_never_another_devices(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    store = open_named(file, OPTIONS, "gw-1")
    store.commit(Commit(records=(spool_record(1),)))
    log = store.log_id
    store.close()
    with pytest.raises(BadInput, match="is of 'gw-1'"):
        open_named(file, OPTIONS, "gw-2")
    store = open_named(file, OPTIONS, "gw-1")  # nothing was changed, nor stays locked
    assert (store.log_id, store.statistics().records) == (log, 1)
    store.close()
