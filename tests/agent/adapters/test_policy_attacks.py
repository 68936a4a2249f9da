"""The attack suite against a device: refused by name, nothing changed, the next good.

Each attack comes on the broker's topic and ends in the evidence log and in a signed
ack; the policy that decides, and all that is kept of policies, stay byte for byte.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from agent.adapters.policy.inbox import BYTES_MAX, MESSAGE_BYTES_MAX
from agent.store.documents import CHECKED
from policies.trust import begin, offer, open_bundle
from protocols.bundle import BUNDLE_BYTES_MAX, encode_bundle
from tests.support.fleet_trust import DAY_S, NS, FleetTrust, resealed
from tests.support.policy_bench import PolicyBench
from tests.support.trust_attacks import ATTACKS, World, expired_root, freeze
from tests.support.trust_attacks_form import FORM_ATTACKS
from tests.support.trust_attacks_keys import KEY_ATTACKS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from policies.trust import Offer, Trusted

ALL = ATTACKS | KEY_ATTACKS | FORM_ATTACKS


@dataclass
class Seen(World):
    """An attacker's world; what the honest fleet published meanwhile is kept."""

    published: list[bytes] = field(default_factory=list)

    def offer(self, message: bytes) -> tuple[Trusted, Offer]:
        self.published.append(message)
        return super().offer(message)


def new_world() -> Seen:
    fleet = FleetTrust()
    for version in (1, 2):
        fleet.add_policy(version, terms={"trial_s": 1})
    fleet.roll_out(2, 1)
    first = fleet.message()
    start = begin(fleet.roots[0], fleet.name)
    trusted, _ = offer(start, open_bundle(first), fleet.now_s * NS)
    return Seen(fleet, trusted, first)


def kept(bench: PolicyBench) -> dict[str, bytes | None]:
    return {name: bench.store.document(name) for name in CHECKED}


def at_the_time_of(bench: PolicyBench, world: World) -> None:
    bench.clock.wall_ns = max(bench.clock.wall_ns, world.fleet.now_s * NS)
    bench.desk.watch.look(bench.now)


async def next_is_good(bench: PolicyBench, world: Seen) -> None:
    """An honest update behind the attack is taken and decides."""
    version = max(world.trusted.policy_version, 5) + 1
    world.fleet.add_policy(version, terms={"trial_s": 1})
    world.fleet.roll_out(version)
    await bench.send(world.fleet.message())
    assert bench.last.state == "trial"
    await bench.pass_time(2)
    assert (bench.last.state, bench.deciding[1]) == ("active", version)
    assert "policy" not in bench.now.troubles


@pytest.mark.parametrize(
    ("attack", "rule"), ALL.items(), ids=lambda one: getattr(one, "__name__", one)
)
def test_an_attack_is_refused_and_the_next_update_decides(
    tmp_path: Path, attack: Callable[[World], bytes], rule: str
) -> None:
    world = new_world()

    async def story() -> None:
        bench = PolicyBench(tmp_path, world.fleet)
        async with bench.running():
            await bench.send(world.first)
            await bench.pass_time(2)
            assert bench.deciding == ("test-fleet", 2)
            message = attack(world)
            for honest in world.published:
                await bench.send(honest)
                await bench.pass_time(3)
            deciding, before = bench.deciding, kept(bench)
            at_the_time_of(bench, world)
            size = len(bench.entries())
            await bench.send(message)
            assert bench.deciding == deciding
            assert kept(bench) == before
            told = bench.entries()[size:]
            if attack is freeze:  # the very bytes that it has: nothing is read again
                assert told == []
                assert "expired" in bench.now.troubles["trust"]
            else:
                assert [(one["step"], one["rule"]) for one in told] == [
                    ("refused", rule)
                ]
                refused, retained = bench.all[-2:]
                assert (refused.state, refused.rule) == ("refused", rule)
                assert refused.policy_version == deciding[1]
                assert refused.evidence_index == bench.store.root()[0] - 1
                # what is retained speaks of the policy that was offered before
                assert retained.state == bench.recorder.standing.state.value
                assert retained.candidate_version == deciding[1]
                assert f"refused: {rule}" in bench.now.troubles["policy"]
            assert bench.wire.acknowledged[-1].body == message
            if attack is expired_root:
                world.fleet.rotate()
            await next_is_good(bench, world)

    asyncio.run(story())


def test_a_policy_for_another_device_is_refused_and_its_metadata_are_kept(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            bench.listed(2, devices=["gw-2"])
            bench.fleet.roll_out(2)
            await bench.send(bench.fleet.message())
            assert (bench.last.state, bench.last.rule) == ("refused", "wrong-device")
            assert bench.deciding == ("local", 1)
            assert bench.last.targets_version == 1
            await bench.pass_time(5)  # said once, not every second
            assert bench.states.count("refused") == 1
            await bench.push(3)
            assert bench.last.state == "trial"

    asyncio.run(story())


@pytest.mark.parametrize("topic", ["bundle", "timestamp", "command"])
def test_what_is_larger_than_its_topic_is_refused_before_it_is_parsed(
    tmp_path: Path, topic: str
) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            body = bytes(BYTES_MAX[topic] + 1)
            assert len(body) <= MESSAGE_BYTES_MAX  # it comes here, and is not dropped
            await bench.send(body, topic)
            assert (bench.last.state, bench.last.rule) == ("refused", "size")
            assert topic in bench.last.reason
            await bench.push(2)
            assert bench.last.state == "trial"

    asyncio.run(story())
    assert BYTES_MAX["bundle"] == BUNDLE_BYTES_MAX


def test_a_stolen_timestamp_key_runs_ahead_and_rotation_recovers(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        fleet = bench.fleet
        async with bench.running():
            first = await bench.push(2, terms={"trial_s": 1})
            await bench.pass_time(2)
            files = open_bundle(first)
            bound = {"fleet": "north", "time_s": fleet.now_s + 2 * DAY_S}
            ahead = resealed(
                files["timestamp.json"],
                ["timestamp"],
                version=2**40,
                **{"x-sluicegate": bound},
            )
            await bench.send(encode_bundle({"timestamp.json": ahead}), "timestamp")
            assert bench.last.timestamp_version == 2**40
            bench.listed(3, terms={"trial_s": 1})
            fleet.roll_out(3)
            await bench.send(fleet.message())
            assert bench.refusal == "rollback"
            fleet.rotate(timestamp_name="timestamp-2")
            await bench.send(fleet.message())
            assert bench.last.state == "trial"
            await bench.pass_time(2)
            assert bench.deciding == ("pushed", 3)
            assert bench.last.timestamp_version < 100
        async with bench.running():  # and what is kept says the same
            assert bench.deciding == ("pushed", 3)

    asyncio.run(story())


def test_three_root_rotations_while_the_device_was_off(tmp_path: Path) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        fleet = bench.fleet
        async with bench.running():
            await bench.push(2, terms={"trial_s": 1})
            await bench.pass_time(2)
        fleet.rotate(root_names=("r-4", "root-2", "root-3"))
        fleet.rotate(root_names=("r-4", "r-5", "root-3"))
        fleet.rotate(root_names=("r-4", "r-5", "r-6"), people=("dora", "emil", "fay"))
        fleet.signed_by = ("dora", "emil")
        async with bench.running():
            assert bench.deciding == ("pushed", 2)
            await bench.push(3, terms={"trial_s": 1})
            await bench.pass_time(2)
            assert bench.deciding == ("pushed", 3)
            assert (bench.last.root_version, bench.last.approvers) == (
                4,
                ("dora", "emil"),
            )

    asyncio.run(story())


def test_a_flood_of_refusals_is_counted_and_not_written(tmp_path: Path) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            for number in range(100):
                await bench.send(b"junk %d" % number)
            told = len(bench.entries())
            assert told < 50
            bench.clock.pass_time(60)
            await bench.send(b"junk again")
            assert "refusals not recorded" in bench.last.reason
            await bench.push(2)
            assert bench.last.state == "trial"

    asyncio.run(story())


def test_only_the_newest_of_a_flood_is_looked_at(tmp_path: Path) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            for number in range(1000):
                await bench.deliver(b"junk %d" % number)
            assert len(bench.wire.acknowledged) == 999
            good = bench.message(2)
            await bench.deliver(good)
            await bench.feed.look()
            assert bench.last.state == "trial"
            assert "refused" not in bench.states
            assert bench.wire.acknowledged[-1].body == good
            loads = bench.loads
            await bench.send(good)  # again, as after a new connection
            assert (bench.loads, bench.last.state) == (loads, "trial")

    asyncio.run(story())


def test_a_stolen_timestamp_key_tells_a_time_and_rotation_takes_it_back(
    tmp_path: Path,
) -> None:
    """The thief answers our nonce from ten years ahead: all has expired until then."""

    async def story() -> None:
        bench = PolicyBench(tmp_path)
        fleet = bench.fleet
        async with bench.running():
            await bench.push(2, terms={"trial_s": 1})
            await bench.pass_time(2)
            await bench.answer(time_s=fleet.now_s + 4000 * DAY_S)
            await bench.push(3, terms={"trial_s": 1})
            assert bench.refusal == "expired"
            fleet.rotate(timestamp_name="timestamp-2")
            await bench.send(fleet.message())
            assert bench.last.state == "trial"
            assert bench.last.nonce  # the new keys are asked
            await bench.answer()
            await bench.pass_time(2)
            assert bench.deciding == ("pushed", 3)
            assert not bench.now.troubles
        async with bench.running():
            assert bench.deciding == ("pushed", 3)
            assert bench.restored.trusted.time_floor_ns <= bench.clock.wall_ns

    asyncio.run(story())


def test_keys_that_a_newer_root_took_back_tell_no_time(tmp_path: Path) -> None:
    """Off for a year, the clock at 1970, and the thief is the first to answer."""

    async def story() -> None:
        bench = PolicyBench(tmp_path)
        fleet = bench.fleet
        async with bench.running():
            await bench.push(2, terms={"trial_s": 1})
            await bench.pass_time(2)
        fleet.rotate(timestamp_name="timestamp-2")
        bench.clock.wall_ns = 0
        async with bench.running():
            await bench.push(3, terms={"trial_s": 1})
            assert (bench.last.state, bench.last.rule) == ("waiting", "clock")
            await bench.answer(by="timestamp", time_s=fleet.now_s + 4000 * DAY_S)
            assert bench.refusal == "key-id"
            await bench.answer()
            assert bench.last.state == "trial"

    asyncio.run(story())


def test_an_answer_from_before_what_is_past_and_one_that_was_held_back(
    tmp_path: Path,
) -> None:
    """Neither makes expired metadata good again."""

    async def story() -> None:
        bench = PolicyBench(tmp_path)
        fleet = bench.fleet
        message = bench.message(2, terms={"trial_s": 1})
        async with bench.running():
            bench.clock.pass_time(60 * DAY_S)
            bench.desk.watch.look(bench.now)  # believed, and past from now on
            bench.clock.wall_ns = 0
            bench.desk.watch.look(bench.now)
            await bench.send(message)
            await bench.answer(time_s=fleet.now_s)
            known_ns = bench.desk.watch.known_ns()
            assert known_ns is not None
            assert known_ns >= bench.store.clock_floor_ns
            assert bench.deciding == ("local", 1)
            nonce = bench.recorder.nonce or "0" * 32
            for _ in range(2):
                bench.clock.pass_time(25 * 3600)
                await bench.feed.look()
                assert bench.recorder.nonce not in {"", nonce}
                nonce = bench.recorder.nonce
            held = fleet.answer("0" * 32, "gw-1")
            await bench.send(held, "command")
            assert bench.refusal == "replay"

    asyncio.run(story())
