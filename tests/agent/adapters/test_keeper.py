"""Numbers of entries, whatever order tasks commit in; a disk that refuses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgpack
import pytest

from agent.adapters.clock import SystemClock
from agent.adapters.device_key import load_or_create
from agent.adapters.journal import Journal
from agent.adapters.keeper import Keeper
from agent.adapters.moves import begin
from agent.adapters.pruning import Pruner
from agent.adapters.room import Reserve, Room
from agent.adapters.sqlite_open import StoreOptions, open_store
from agent.adapters.store_thread import StoreThread
from agent.errors import Unavailable
from agent.evidence import Evidence
from agent.records import Commit, Rank
from agent.store.retention import DAY_NS
from agent.telemetry.state import Autonomy
from agent.vitals import Vitals
from tests.support.store_cases import MIB, spool_record

if TYPE_CHECKING:
    from pathlib import Path

    from agent.records import Eviction


class Quick(SystemClock):
    """A clock whose sleeps are short; counts them. ``ahead_ns``: of the real one."""

    slept = 0
    ahead_ns = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.ahead_ns

    async def sleep(self, seconds: float) -> None:
        self.slept += 1
        await super().sleep(seconds / 1000)


class Bench:
    """A keeper on a real store with a cap of ``cap`` bytes."""

    def __init__(self, folder: Path, cap: int = MIB, *, reserved: bool = False) -> None:
        self.clock = Quick()
        self.evidence = Evidence("gw-1", bytes(16), "test")
        self.journal = Journal(self.evidence, self.clock)
        options = StoreOptions(cap, cap, self.journal.witness, self.journal.broken)
        self.store = open_store(folder / "store.db", options)
        self.journal.attach(self.store)
        signer = load_or_create(folder / "device.key", "gw-1")
        self.keeper = Keeper(
            self.store, StoreThread(), self.journal, self.evidence, signer, bytes(16),
            self.clock, Autonomy(), lambda: None,
            Room(self.store, (cap, cap), Reserve(folder)) if reserved else None,
        )  # fmt: skip

    def entry(self, kind: str = "test") -> bytes:
        return self.evidence.entry(kind, 1, {})

    def numbers(self) -> list[int]:
        entries = self.store.evidence_since(0, 10_000)
        return [msgpack.unpackb(entry)["n"] for entry in entries]


def test_entries_are_numbered_in_the_order_in_which_they_are_committed(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, cap=1000)
    first, second = bench.entry(), bench.entry()

    async def story() -> None:
        await bench.keeper.testify(second)
        full = tuple(spool_record(n, Rank.GENERAL, 300) for n in range(1, 4))
        await bench.keeper.keep(Commit(full, (), (first,)))
        more = tuple(spool_record(n, Rank.GENERAL, 300) for n in range(4, 7))
        await bench.keeper.keep(Commit(more))  # the store tells of three evictions
        places = [("oem", 5)]
        await bench.keeper.let_go(lambda: bench.store.destroy(places))
        await bench.keeper.testify(bench.entry(), bench.entry())

    asyncio.run(story())
    kinds = [msgpack.unpackb(e)["type"] for e in bench.store.evidence_since(0, 99)]
    assert kinds == ["test", "test", "loss.rec", "destroy.rec", "test", "test"]
    assert bench.numbers() == list(range(6))
    bench.store.close()


def test_a_disk_that_refuses_leaves_no_gap_and_is_tried_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    real, refusals = bench.store.commit, [True, True, True]

    def fail(commit: Commit) -> tuple[Eviction, ...]:
        if refusals:
            refusals.pop()
            bench.journal.witness("evicted", ())  # numbered, then rolled back
            raise Unavailable("store", "no space left on the device")
        return real(commit)

    bench.store.commit = fail  # type: ignore[method-assign]  # the fault

    async def story() -> None:
        await bench.keeper.testify(bench.entry())
        await bench.keeper.testify(bench.entry())

    asyncio.run(story())
    assert bench.clock.slept == 3
    assert bench.keeper.problem == ""
    assert bench.numbers() == [0, 1]
    bench.store.close()


def test_who_hurries_does_not_wait_for_ever(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    def fail(commit: Commit) -> tuple[Eviction, ...]:
        raise Unavailable("store", f"no space for {len(commit.evidence)}")

    bench.store.commit = fail  # type: ignore[method-assign]  # the fault
    bench.keeper.hurry()
    with pytest.raises(Unavailable, match="no space"):
        asyncio.run(bench.keeper.testify(bench.entry()))
    assert bench.clock.slept == 3
    assert bench.keeper.problem == "store: no space for 1"
    bench.store.close()


def test_who_waits_while_the_disk_refuses_is_not_stalled(tmp_path: Path) -> None:
    """One is in the loop of attempts, the other one waits for its turn."""
    bench, vitals, told = Bench(tmp_path), Vitals(60.0), list[str]()
    real, refusals = bench.store.commit, 20

    def fail(commit: Commit) -> tuple[Eviction, ...]:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise Unavailable("store", "no space left on the device")
        return real(commit)

    bench.store.commit = fail  # type: ignore[method-assign]  # the fault

    def look() -> None:
        signs = [bench.keeper.moves.sign(name, 60.0) for name in ("flow", "clockwork")]
        now_ns = bench.clock.slept * 30_000_000_000  # as if each attempt took so long
        told.extend(one.part for one in vitals.look(now_ns, signs))

    async def part(name: str) -> None:
        begin(name)
        await bench.keeper.testify(bench.entry())

    async def story() -> None:
        sleep = bench.clock.sleep

        async def looked(seconds: float) -> None:
            look()
            await sleep(seconds)

        bench.clock.sleep = looked  # type: ignore[method-assign]  # we look meanwhile
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(part("flow"))
            tasks.create_task(part("clockwork"))
        for _ in range(4):  # both are done, and owe a step by now
            bench.clock.slept += 1
            look()

    asyncio.run(story())
    assert bench.clock.slept > 20
    assert told == ["flow", "clockwork"] * (len(told) // 2)
    assert len(told) <= 4
    bench.store.close()


def test_the_log_is_pruned_in_turns_and_its_numbers_have_no_gap(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    pruner = Pruner(bench.store, bench.journal, 190, kept_min=0)
    keeper = Keeper(
        bench.store, StoreThread(), bench.journal, bench.evidence,
        load_or_create(tmp_path / "device.key", "gw-1"), bytes(16), bench.clock,
        Autonomy(), lambda: None, None, pruner,
    )  # fmt: skip

    async def story() -> list[int]:
        await keeper.testify(*(bench.entry() for _ in range(5000)))
        size, root = bench.store.root()
        bench.store.add_checkpoint(size, root, b"note")
        assert bench.store.evidence_receipted(size, root)
        seen = []
        for day in range(193):
            bench.clock.ahead_ns = day * DAY_NS
            await keeper.look_at_evidence(bench.clock.now_ns() + day * DAY_NS)
            seen.append(bench.store.first)
        await keeper.testify(bench.entry())
        return seen

    seen = asyncio.run(story())
    assert set(seen[:190]) == {0}
    assert [n for n in seen if n] == [4096, 5000, 5000]  # 16 steps of 256 in a turn
    entries = map(msgpack.unpackb, bench.store.evidence_since(5000, 10_000))
    assert [entry["n"] for entry in entries] == [*range(5000, bench.store.root()[0])]
