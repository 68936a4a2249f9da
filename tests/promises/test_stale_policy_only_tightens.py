"""Promise 4: no valid policy, an expired one, a wrong clock: permissions never grow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from protocols.bundle import encode_bundle
from tests.support.broker import needs_mosquitto
from tests.support.fleet_trust import DAY_S
from tests.support.gateway import OTHER_WORLD, REST, SPEED, Gateway
from tests.support.policy_bench import BATTERY, EVENTS, PolicyBench
from tests.support.pushing import Fleet

if TYPE_CHECKING:
    from pathlib import Path

TERMS = {"trial_s": 5, "uplink_s": 30}
MAP = """\
schema: sluicegate/bindings/1
name: map
diagnostics:
  - {bus: can0, did: 0xF1A0, item: Vehicle.Map.Tile}
"""


async def confirmed(bench: PolicyBench, version: int) -> None:
    await bench.push(version, EVENTS, terms=TERMS)
    await bench.pass_time(6)
    assert bench.deciding == ("pushed", version)


def off_for_a_year(bench: PolicyBench) -> None:
    """A year passes, and the battery behind the clock is empty."""
    bench.fleet.now_s += 365 * DAY_S + 10
    bench.fleet.rotate()  # the old root has expired meanwhile
    bench.clock.wall_ns = 7 * 10**9
    bench.clock.synchronised = False


def test_a_year_off_and_1970_recovers_with_one_message(tmp_path: Path) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await confirmed(bench, 2)
        off_for_a_year(bench)
        async with bench.running():
            assert bench.deciding == ("pushed", 2)  # it protects as before
            await bench.push(3, BATTERY + EVENTS, terms=TERMS)
            await bench.pass_time(30)
            assert bench.deciding == ("pushed", 2)  # and permits nothing new
            last = bench.last
            assert (last.state, last.rule, last.clock) == ("waiting", "clock", "low")
            assert len(last.nonce) == 32
            assert "clock" in bench.now.troubles["trust"]
            await bench.answer()  # the one message
            assert bench.last.state == "trial"
            await bench.pass_time(6)
            assert bench.deciding == ("pushed", 3)
            assert bench.last.nonce == ""
            assert "trust" not in bench.now.troubles
        async with bench.running():  # its time is a floor from here on
            assert bench.deciding == ("pushed", 3)
            assert bench.feed._messages.trusted.time_floor_ns >= (
                bench.fleet.now_s * 10**9
            )

    asyncio.run(story())


def test_an_answer_before_the_bundle_helps_as_well(tmp_path: Path) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await confirmed(bench, 2)
        bench.clock.wall_ns = 7 * 10**9
        bench.clock.synchronised = False
        async with bench.running():
            await bench.answer()
            assert bench.steps()[-1] == "fresh"
            assert bench.last.nonce == ""
            await bench.push(3, EVENTS + BATTERY, terms=TERMS)
            assert bench.last.state == "trial"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({"by": "snapshot"}, "key-id"),
        ({"device": "gw-2"}, "wrong-device"),
        ({"nonce": "00" * 16}, "replay"),
    ],
)
def test_an_answer_that_is_not_ours_is_none(
    tmp_path: Path, more: dict[str, str], rule: str
) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        bench.clock.wall_ns = 7 * 10**9
        bench.clock.synchronised = False
        async with bench.running():
            await bench.push(2, EVENTS, terms=TERMS)
            told = {"device": "gw-1", "nonce": bench.recorder.nonce} | more
            answer = bench.fleet.answer(
                told["nonce"], told["device"], by=told.get("by", "")
            )
            await bench.send(answer, "command")
            assert ("refused", rule) in [(a.state, a.rule) for a in bench.all]
            assert bench.deciding == ("local", 1)
            assert bench.recorder.nonce != ""
            await bench.answer()
            assert bench.last.state == "trial"

    asyncio.run(story())


def test_a_freeze_is_seen_though_everything_shown_is_good(tmp_path: Path) -> None:
    """The broker shows old metadata that have not expired; the answer tells."""

    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await confirmed(bench, 2)
            bench.listed(3, BATTERY + EVENTS, terms=TERMS)
            bench.fleet.roll_out(3)
            withheld = bench.fleet.message()
            await bench.answer()
            await bench.pass_time(1)
            assert bench.now.troubles["trust"].startswith("frozen")
            await bench.send(withheld)
            await bench.pass_time(1)
            assert "trust" not in bench.now.troubles
            assert bench.last.state == "trial"

    asyncio.run(story())


def test_expired_metadata_permit_nothing_new_and_take_nothing_away(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await confirmed(bench, 2)
            bench.listed(3, BATTERY + EVENTS, terms=TERMS)
            bench.fleet.roll_out(3)
            late = bench.fleet.message()
            bench.clock.pass_time(8 * DAY_S)
            await bench.pass_time(1)
            assert "expired" in bench.now.troubles["trust"]
            assert bench.deciding == ("pushed", 2)
            await bench.send(late)  # good once, and shown too late
            assert bench.refusal == "freeze"
            bench.fleet.now_s += 8 * DAY_S
            await bench.renew()  # for the bundle that waits
            assert bench.last.state == "trial"
            await bench.pass_time(6)
            assert bench.deciding == ("pushed", 3)
            assert "trust" not in bench.now.troubles

    asyncio.run(story())


def test_renewals_alone_keep_metadata_fresh_and_old_ones_are_nothing(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            message = bench.message(2, EVENTS, terms=TERMS)
            old = encode_bundle(bench.fleet.renew())
            await bench.send(old, "timestamp")  # before its bundle: waits for it
            assert "refused" not in bench.states
            await bench.send(message)
            assert bench.last.timestamp_version == 2
            await bench.renew()
            assert bench.last.timestamp_version == 3
            await bench.send(old, "timestamp")
            assert "refused" not in bench.states
        async with bench.running():  # retained messages come again, in any order
            for body, topic in ((message, "bundle"), (old, "timestamp")):
                await bench.send(body, topic)
            assert "refused" not in bench.states
            assert bench.last.timestamp_version == 3

    asyncio.run(story())


def test_a_weakening_of_important_data_names_its_two_approvers(
    tmp_path: Path,
) -> None:
    """GOV-04: two different people, in the evidence and in the ack."""
    (tmp_path / "map.yaml").write_text(MAP, encoding="ascii")
    tiles = (
        "  - {name: tiles, match: {category: geo.map}, to: oem, purpose: survey,\n"
        "     approval: CAC-1, do: [encrypt]}\n"
    )

    async def story() -> None:
        files = ["sim-vehicle.bindings", "map.yaml"]
        bench = PolicyBench(tmp_path, bindings=files)
        async with bench.running():
            await confirmed(bench, 2)
            assert bench.entries()[-1]["weakens"] == 0
            await bench.push(3, EVENTS + tiles, terms=TERMS)
            assert bench.last.approvers == ("alice", "bob")
            entry = bench.entries()[-1]
            assert (entry["step"], entry["weakens"]) == ("trial", 1)
            assert entry["approvers"] == ["alice", "bob"]

    asyncio.run(story())


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_a_year_off_with_a_clock_at_1970_as_a_process(tmp_path: Path) -> None:
    fleet = Fleet()
    settings = fleet.settings(program=OTHER_WORLD)
    with Gateway(tmp_path, settings) as gateway:
        fleet.attach(gateway)
        gateway.drive()
        gateway.start()
        fleet.push(2, SPEED + REST)
        fleet.until(lambda ack: ack.state == "active")
        gateway.kill()
        (gateway.folder / "clock").write_text(str(-56 * 365 * DAY_S), encoding="ascii")
        fleet.push(3, REST)
        gateway.start()
        waiting = fleet.until(lambda ack: ack.state == "waiting" and ack.nonce)
        assert (waiting.rule, waiting.policy_version) == ("clock", 2)
        gateway.until(lambda: gateway.metric("samples_total") > 500)
        assert gateway.status()["policy_version"] == 2
        fleet.send_answer(waiting)
        done = fleet.until(
            lambda ack: ack.state == "active" and ack.policy_version == 3
        )
        assert done.clock == "low"
        gateway.park()
        gateway.drained()
        assert gateway.stop() == 0
        assert gateway.collector.problems() == []
    fleet.detach()
