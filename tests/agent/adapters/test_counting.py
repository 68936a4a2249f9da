"""Counters of what left, between two starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.adapters.counting import volumes_of
from agent.records import Commit, CounterRow, Outcome
from agent.store.documents import VOLUMES, closed
from policies.tables import CompiledVolume, VolumeTest
from tests.support.store_cases import opened

if TYPE_CHECKING:
    from pathlib import Path

S = 1_000_000_000
T0 = 1_764_028_800 * S
DAY = CompiledVolume("day", 10, 86_400 * S, 5400 * S, by_time=False)
OVER = VolumeTest(DAY, ("oem",), above=True)
SENT = CounterRow("oem", 0, "r", "encrypt", Outcome.SENT, 5, 100)


def above(path: Path) -> bool:
    store = opened(path)
    volumes = volumes_of(store)
    store.close()
    volumes.look(T0 + S, clock_ok=True)
    return volumes.is_above(OVER)


def test_a_new_store_begins_at_nothing_and_remembers(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    assert not above(path)
    store = opened(path)
    volumes = volumes_of(store)
    volumes.look(T0, clock_ok=True)
    volumes.left([DAY], ["oem"], 10)
    body = closed(VOLUMES, volumes.document())
    store.commit(Commit(counters=(SENT,), documents={VOLUMES: body}))
    store.close()
    assert above(path)


@pytest.mark.parametrize("body", [b"", b"x" * 40, closed(VOLUMES, b"\xc1")])
def test_lost_or_damaged_counters_are_above(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "store.db"
    store = opened(path)
    # As the agent before this document was, or as damage leaves it.
    store.commit(Commit(counters=(SENT,), documents={VOLUMES: body}))
    store.close()
    assert above(path)
    assert above(path)  # a second start does not forget that they were lost
