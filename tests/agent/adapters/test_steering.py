"""What is spooled while a policy is on trial: held, then destroyed or released."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent.records import Commit
from tests.support.policy_bench import BATTERY, EVENTS, PolicyBench
from tests.support.store_cases import spool_record

if TYPE_CHECKING:
    from pathlib import Path

TERMS = {"trial_s": 10, "uplink_s": 5}
OPEN_BATTERY = BATTERY.replace("encrypt", "allow")


def labels(bench: PolicyBench) -> dict[str, int]:
    """Return the label of what each rule lets out."""
    policy = bench.now.accepted.compiled.policy
    (oem,) = policy.destinations
    return {
        rule.name: int(rule.label_out[(oem.chain == number).any(axis=1)].max())
        for number, rule in enumerate(policy.rules)
    }


def spool(bench: PolicyBench, label: int, first: int, *, is_open: bool = False) -> None:
    body = b"\x93open" if is_open else b"\x92sealed"
    record = spool_record(first, label=label, epoch=bytes([label % 251] * 16))
    object.__setattr__(record, "body", body)
    bench.store.commit(Commit(records=(record,)))


def offered(bench: PolicyBench) -> list[int]:
    bench.store.forget_sent()
    return sorted(q.record.sequence for q in bench.store.next_to_send(50, 50))


async def both_spooled(bench: PolicyBench) -> dict[str, int]:
    """Policy 2 decides, and what it lets out waits: sequence 1 and 2."""
    await bench.push(2, BATTERY + EVENTS, terms=TERMS)
    await bench.pass_time(11)
    assert bench.deciding == ("pushed", 2)
    found = labels(bench)
    assert found["battery"] != found["events"]
    spool(bench, found["battery"], 1)
    spool(bench, found["events"], 2)
    assert offered(bench) == [1, 2]
    return found


def test_what_lost_its_permission_is_held_and_destroyed_when_confirmed(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await both_spooled(bench)
            await bench.push(3, EVENTS, terms=TERMS)
            assert bench.last.state == "trial"
            assert offered(bench) == [2]
            assert bench.store.statistics().records == 2
            assert bench.entries("destroy.rec") == []
            await bench.pass_time(11)
            assert bench.last.state == "active"
            assert bench.store.statistics().records == 1
            assert offered(bench) == [2]
            (gone,) = bench.entries("destroy.rec")
            assert (gone["cause"], gone["count"]) == ("destroyed", 1)

    asyncio.run(story())


def test_what_was_held_leaves_after_all_when_the_policy_is_taken_back(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await both_spooled(bench)
            await bench.push(3, EVENTS, terms=TERMS)
            assert offered(bench) == [2]
            bench.uplink.online = False
            await bench.pass_time(7)
            assert (bench.last.state, bench.last.rule) == ("reverted", "uplink")
            assert "no link" in bench.last.reason
            assert bench.deciding == ("pushed", 2)
            assert offered(bench) == [1, 2]
            assert bench.entries("destroy.rec") == []

    asyncio.run(story())


def test_what_the_trial_let_out_goes_where_the_old_policy_does_not_allow_it(
    tmp_path: Path,
) -> None:
    """A revert tightens: what only the candidate permitted is destroyed."""

    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await bench.push(2, EVENTS, terms=TERMS)
            await bench.pass_time(11)
            await bench.push(3, BATTERY + EVENTS, terms=TERMS)
            found = labels(bench)
            spool(bench, found["battery"], 7)
            spool(bench, found["events"], 8)
            assert offered(bench) == [7, 8]
            bench.uplink.online = False
            await bench.pass_time(7)
            assert bench.deciding == ("pushed", 2)
            assert offered(bench) == [8]
            (gone,) = bench.entries("destroy.rec")
            assert gone["count"] == 1

    asyncio.run(story())


@pytest.mark.parametrize("confirmed", [True, False], ids=["confirmed", "reverted"])
def test_what_lies_in_the_open_is_held_where_the_candidate_seals(
    tmp_path: Path, confirmed: bool
) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await bench.push(2, OPEN_BATTERY + EVENTS, terms=TERMS)
            await bench.pass_time(11)
            label = labels(bench)["battery"]
            spool(bench, label, 1, is_open=True)
            spool(bench, label, 2)
            await bench.push(3, BATTERY + EVENTS, terms=TERMS)
            assert offered(bench) == [2]
            bench.uplink.online = confirmed
            await bench.pass_time(11)
            assert offered(bench) == ([2] if confirmed else [1, 2])

    asyncio.run(story())


def test_a_revert_to_sealing_destroys_what_the_trial_left_in_the_open(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await bench.push(2, BATTERY + EVENTS, terms=TERMS)
            await bench.pass_time(11)
            await bench.push(3, OPEN_BATTERY + EVENTS, terms=TERMS)
            label = labels(bench)["battery"]
            spool(bench, label, 1, is_open=True)
            spool(bench, label, 2)
            bench.uplink.online = False
            await bench.pass_time(7)
            assert offered(bench) == [2]  # a looser policy never unmasks

    asyncio.run(story())


def test_a_restart_in_the_trial_holds_the_same_and_confirms_the_same(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await both_spooled(bench)
            await bench.push(3, EVENTS, terms=TERMS)
        async with bench.running():
            assert (bench.last.state, bench.deciding[1]) == ("trial", 3)
            assert offered(bench) == [2]
            assert bench.store.statistics().records == 2
            await bench.pass_time(11)
            assert bench.last.state == "active"
            assert bench.store.statistics().records == 1

    asyncio.run(story())


def test_a_reload_in_the_trial_keeps_trial_and_hold(tmp_path: Path) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await both_spooled(bench)
            await bench.push(3, EVENTS, terms=TERMS)
            assert (await reloaded(bench))["reason"] == "reload"
            assert bench.deciding == ("pushed", 3)
            assert offered(bench) == [2]
            assert bench.steering.on_trial
            bench.uplink.online = False
            await bench.pass_time(7)
            assert bench.deciding == ("pushed", 2)
            assert offered(bench) == [1, 2]
            # what was read again was the candidate: now it is the old one's turn
            assert bench.steering._reload.is_set()

    asyncio.run(story())


async def reloaded(bench: PolicyBench) -> dict[str, object]:
    """Reload, and return the entry that tells how it ended."""
    serving = asyncio.create_task(bench.steering.run())
    size = len(bench.entries())
    bench.steering.reload()
    async with asyncio.timeout(20):
        while len(bench.entries()) == size:  # noqa: ASYNC110  # of another task and a thread
            await asyncio.sleep(0.01)
    serving.cancel()
    return bench.entries()[-1]


def test_a_reload_holds_a_pushed_policy_against_the_local_files_again(
    tmp_path: Path,
) -> None:
    floor = tmp_path / "floor.yaml"
    floor.write_text("schema: sluicegate/floor/1\nrules: []\n", encoding="ascii")
    strict = (
        "schema: sluicegate/floor/1\nrules:\n"
        "  - {name: mine, match: {category: energy.state}, never_leaves: true}\n"
    )

    async def story() -> None:
        bench = PolicyBench(tmp_path, floor="floor.yaml")
        async with bench.running():
            await bench.push(2, BATTERY + EVENTS, terms=TERMS)
            await bench.pass_time(11)
            assert (await reloaded(bench))["reason"] == "reload"
            assert bench.now.accepted.signed is not None
            floor.write_text(strict, encoding="ascii")
            told = await reloaded(bench)
            assert (told["step"], told["rule"]) == ("refused", "floor")
            assert bench.deciding == ("pushed", 2)  # what decided goes on

    asyncio.run(story())
