"""Where what was trusted is lost: no way back to an older policy or an older root."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

import msgpack
import pytest

from agent.activation import Event, Standing, State, after, encode_standing
from agent.adapters.policy.floors import (
    PAGE,
    Floors,
    floors_of,
    newest_entries,
)
from agent.limits import EVIDENCE_ENTRIES_KEPT_MIN as KEPT
from agent.store.documents import ACTIVE, STANDING, TRUST, closed
from tests.agent.adapters.test_policy_shelf import confirmed, damage
from tests.support.policy_bench import BATTERY, EVENTS, PolicyBench

if TYPE_CHECKING:
    from pathlib import Path

TERMS = {"trial_s": 5, "uplink_s": 30}


def lose(bench: PolicyBench, *names: str) -> None:
    """Let documents be gone, as after a salvage that could not read them."""
    raw = sqlite3.connect(bench.folder / "store.db")
    for name in names:
        raw.execute("DELETE FROM documents WHERE name = ?", (name,))
    raw.commit()
    raw.close()


async def comes_back(bench: PolicyBench, old: bytes) -> None:
    """An old bundle is refused; the newest is taken and decides."""
    before = bench.deciding
    await bench.send(old)
    await bench.pass_time(6)
    assert bench.deciding == before
    (refused,) = [e for e in bench.entries() if e["step"] == "refused"]
    assert refused["rule"] in {"policy-version", "rollback"}
    await bench.send(bench.fleet.message())
    await bench.pass_time(6)
    assert bench.deciding == ("pushed", 3)
    assert bench.last.state == "active"


@pytest.mark.parametrize("way", [damage, lose], ids=["damaged", "gone"])
@pytest.mark.parametrize(
    "names",
    [
        (TRUST,),
        (TRUST, STANDING),
        (TRUST, ACTIVE),  # the log tells
        (TRUST, ACTIVE, STANDING),
    ],
    ids="+".join,
)
def test_an_old_bundle_that_is_still_good_takes_no_device_back(
    tmp_path: Path, way: object, names: tuple[str, ...]
) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await confirmed(bench, 2)
            old = bench.fleet.message()
            await confirmed(bench, 3)
        assert callable(way)
        way(bench, *names)
        async with bench.running():
            await comes_back(bench, old)
        async with bench.running():  # from what is trusted again
            assert bench.deciding == ("pushed", 3)

    asyncio.run(story())


def test_a_floor_that_was_signed_holds_after_a_loss(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await bench.push(2, BATTERY + EVENTS, terms=TERMS)
            await bench.pass_time(6)
            await bench.push(3, BATTERY + EVENTS, terms=TERMS, min_version=3)
            await bench.pass_time(6)
            assert bench.deciding == ("pushed", 3)
        lose(bench, TRUST)
        async with bench.running():
            assert bench.restored.trusted.min_version == 3
            assert bench.deciding == ("pushed", 3)
        lose(bench, TRUST)
        damage(bench, ACTIVE)
        async with bench.running():  # no proof is left that tells of it, the log does
            assert bench.deciding[0] == "lockdown"
            assert bench.restored.trusted.min_version == 3

    asyncio.run(story())


@pytest.mark.parametrize("proof", [True, False], ids=["proof", "log"])
def test_keys_that_a_root_took_back_sign_nothing_after_a_loss(
    tmp_path: Path, proof: bool
) -> None:
    """Two people left with their keys: they sign version 9 under the pinned root."""

    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await confirmed(bench, 2)
            thieves = bench.fleet
            bench.fleet.rotate(people=("dora", "emil", "fritz"))
            bench.fleet.signed_by = ("dora", "emil")
            await confirmed(bench, 3)
            new = bench.fleet.message()
        lose(bench, TRUST, *(() if proof else (ACTIVE,)))
        del thieves.roots[1:]
        thieves.people = ("alice", "bob", "carol")
        thieves.signed_by = ("alice", "bob")
        stolen = bench.message(9)
        async with bench.running():
            before = bench.deciding
            await bench.send(stolen)
            await bench.pass_time(6)
            assert bench.deciding == before
            (refused,) = [e for e in bench.entries() if e["step"] == "refused"]
            assert (refused["rule"], "root") == ("rollback", str(refused["reason"])[:4])
            await bench.send(new)
            await bench.pass_time(6)
            assert bench.deciding == ("pushed", 3)

    asyncio.run(story())


def test_where_nothing_was_pushed_nothing_bounds(tmp_path: Path) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            assert bench.restored.trusted.min_version == 0
            await confirmed(bench, 2)

    asyncio.run(story())


def entry(step: str, version: int, root: int) -> bytes:
    told = {"type": "cfg.change", "step": step, "version": version}
    packed: bytes = msgpack.packb(told | {"metadata": [root, 1, 1]})
    return packed


def test_the_log_tells_what_was_confirmed_last_and_the_highest_root_since() -> None:
    newest = [
        entry("reverted", 9, 0),
        msgpack.packb({"type": "cfg.change", "step": "refused"}),
        msgpack.packb({"type": "stop", "why": "cfg.change"}),
        entry("trial", 9, 3),
        entry("active", 4, 2),
        entry("active", 8, 5),  # an abort took 8 back to 4
    ]
    assert floors_of({}, newest) == Floors(3, 4, 0)


def test_a_standing_tells_where_nothing_else_does_and_damage_tells_nothing() -> None:
    standing = after(Standing(), Event.MATCH, version=7)
    assert standing.state is State.ACTIVE
    body = closed(STANDING, encode_standing(standing))
    assert floors_of({STANDING: body}, ()) == Floors(0, 7, 0)
    assert floors_of({STANDING: body[:-1] + b"?"}, ()) == Floors()
    bad = closed(STANDING, b"{}}")
    assert floors_of({STANDING: bad, ACTIVE: closed(ACTIVE, b"\xc1")}, ()) == Floors()


class Log:
    """A log of numbers, which answers with less than it was asked for."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.asked = 0

    first = 0

    def root(self) -> tuple[int, bytes]:
        return self.size, bytes(32)

    def evidence_since(self, start: int, limit: int) -> list[bytes]:
        self.asked += 1
        end = min(start + limit, start + 100, self.size)
        return [b"%d" % number for number in range(start, end)]


@pytest.mark.parametrize("size", [0, 1, PAGE, PAGE + 1, 1000, KEPT + 5])
def test_the_log_is_read_from_its_end_on_and_not_for_ever(size: int) -> None:
    found = [int(one) for one in newest_entries(Log(size))]
    assert found == [*range(size - 1, max(size - KEPT, 0) - 1, -1)]


def test_no_more_is_read_than_is_looked_at() -> None:
    log = Log(100_000)
    assert next(newest_entries(log)) == b"99999"
    assert log.asked == 3
