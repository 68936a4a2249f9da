"""The desk at a real broker: acks that lie there, acks that come, a halt by itself."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from fleet.errors import Unavailable
from fleet.link import BrokerOptions, connect
from fleet.rollout import desk as rollout_desk
from fleet.rollout.desk import Desk, Ended
from fleet.rollout.totals import AckBook, Report
from fleet.trust import publishing
from policies.rollout import Halt, Rollout, encode_rollout, parse_rollout
from protocols.topics import policy_topic, up_topic
from tests.support.ack_sender import AckSender, a_fleet, a_rollout
from tests.support.broker import Broker, needs_mosquitto

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from fleet.link import BrokerLink

pytestmark = [needs_mosquitto, pytest.mark.broker]
END_S = 60


class PlainSigner:
    """A repository that signs nothing: the bundle is the rollout's own text."""

    def __init__(self) -> None:
        self.signed: list[Rollout] = []

    def rollout(self) -> Rollout | None:
        return self.signed[-1] if self.signed else None

    def sign(self, rollout: Rollout, before: Rollout | None) -> bytes:
        now = self.rollout()
        if now != before:
            raise Unavailable("rollout", "another desk changed it meanwhile")
        self.signed.append(rollout)
        return encode_rollout(rollout)


class ListJournal:
    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, str | int | bool]]] = []

    def record(self, action: str, facts: Mapping[str, str | int | bool]) -> None:
        self.entries.append((action, dict(facts)))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """With its settings as shipped: a queue of 1,000 messages a client."""
    with Broker(tmp_path) as running:
        yield running


@pytest.fixture(autouse=True)
def _shown_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout_desk, "SHOW_S", 0.05)  # how often a watcher is told


class World:
    """A desk, its fleet and the fleet's link to one broker."""

    def __init__(self, broker: Broker, devices: list[AckSender]) -> None:
        self.devices = devices
        self.signer, self.journal = PlainSigner(), ListJournal()
        self.options = BrokerOptions("127.0.0.1", broker.port, "desk")
        self.theirs = BrokerOptions("127.0.0.1", broker.port, "fleet")
        keys = {one.device: one.public_key for one in devices}
        self.desk = Desk("f", self.options, keys, self.signer, self.journal)
        self.shown: list[Report] = []
        self.known = asyncio.Event()

    def show(self, report: Report) -> None:
        self.shown.append(report)
        if "silent" not in report.outcomes:
            self.known.set()

    async def watch(self, rollout: Rollout) -> Ended:
        return await self.desk.watch(rollout, self.show, seconds=END_S)


@contextlib.asynccontextmanager
async def _link(options: BrokerOptions) -> AsyncIterator[BrokerLink]:
    link = await connect(options, session_s=0)
    try:
        yield link
    finally:
        await link.close()


async def _say(world: World, states: list[str], rollout: Rollout) -> None:
    async with _link(world.theirs) as link:
        for device, state in zip(world.devices, states, strict=False):
            topic = up_topic("f", device.device, "ack")
            await link.publish(topic, device.says(rollout, state), retain=True)


async def _kept(options: BrokerOptions) -> bytes:
    """Return the bundle that the broker keeps."""
    async with _link(options) as link:
        await link.subscribe([policy_topic("f", "bundle")])
        async for message in link.messages():
            assert isinstance(message.payload, bytes)
            return message.payload
    return b""


def test_a_step_is_published_retained_and_in_the_journal(broker: Broker) -> None:
    async def run() -> None:
        world = World(broker, a_fleet(1))
        await world.desk.change("start", a_rollout(upto=100), None)
        assert parse_rollout(await _kept(world.theirs)) == a_rollout(upto=100)
        ((action, facts),) = world.journal.entries
        assert action == "rollout start"
        assert facts["published"] is True
        assert (facts["candidate"], facts["upto"], facts["by"]) == (43, 100, "person")

    asyncio.run(run())


def test_a_step_that_no_broker_took_is_in_the_journal_as_such(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "PAUSE_S", 0.0)

    async def run() -> None:
        world = World(broker, a_fleet(1))
        broker.stop()
        with pytest.raises(Unavailable, match="signed, not published"):
            await world.desk.change("start", a_rollout(), None)
        assert world.journal.entries[0][1]["published"] is False

    asyncio.run(run())


def test_watching_ends_when_the_whole_cohort_has_said_how_it_ended(
    broker: Broker,
) -> None:
    async def run() -> None:
        world = World(broker, a_fleet(8))
        rollout = a_rollout(upto=10_000, halt=Halt(refused_share=2000))
        await _say(world, ["active"] * 4 + ["trial"] * 4, rollout)
        watching = asyncio.create_task(world.watch(rollout))
        await world.known.wait()
        assert world.shown[-1].outcomes == {"active": 4, "trial": 4}
        await _say(world, ["active"] * 7 + ["refused"], rollout)
        ended = await watching
        assert (ended.done, ended.halted) == (True, "")
        assert ended.report.outcomes == {"active": 7, "refused": 1}
        assert ended.report.rules == {"refused floor": 1}
        assert world.signer.signed == []

    asyncio.run(run())


def test_it_halts_by_itself_when_refusals_pass_the_limit(broker: Broker) -> None:
    async def run() -> None:
        world = World(broker, a_fleet(20))
        rollout = a_rollout(upto=10_000, halt=Halt(refused_share=500, min_acks=10))
        await _say(world, ["trial"] * 8 + ["refused"] * 2, rollout)
        world.signer.signed.append(rollout)
        ended = await world.watch(rollout)
        assert ended.halted.startswith("2 of 10 refused (20 %, the limit is 5 %)")
        assert not ended.done
        stopped = parse_rollout(await _kept(world.theirs))
        assert (stopped.state, stopped.note) == ("paused", ended.halted)
        ((action, facts),) = world.journal.entries
        assert (action, facts["by"], facts["state"]) == (
            "rollout halt", "limits", "paused",
        )  # fmt: skip

    asyncio.run(run())


def test_a_rollout_that_another_desk_ended_is_not_signed_over(broker: Broker) -> None:
    async def run() -> None:
        world = World(broker, a_fleet(2))
        rollout = a_rollout(upto=10_000)
        await _say(world, ["refused"] * 2, rollout)
        world.signer.signed.append(a_rollout(upto=10_000, state="aborted"))
        with pytest.raises(Unavailable, match="changed it meanwhile"):
            await world.watch(rollout)
        assert len(world.signer.signed) == 1

    asyncio.run(run())


def test_status_is_in_the_retained_acks_at_any_time(broker: Broker) -> None:
    async def run() -> None:
        world = World(broker, a_fleet(5))
        rollout = a_rollout(upto=10_000)
        await _say(world, ["active", "waiting", "refused", "reverted"], rollout)
        async with _link(world.theirs) as link:
            forged = AckSender("gw-00009").says(rollout, "active")
            await link.publish(up_topic("f", "gw-00004", "ack"), forged, retain=True)
        told = await world.desk.status(rollout)
        assert told.outcomes == {
            "silent": 1, "waiting": 1, "active": 1, "refused": 1, "reverted": 1,
        }  # fmt: skip
        assert told.bad_acks == 1
        assert "signature" in told.bad_devices["gw-00004"]

    asyncio.run(run())


@pytest.mark.slow
@pytest.mark.alone
def test_thousands_of_retained_acks_come_through_a_broker_as_shipped(
    broker: Broker,
) -> None:
    async def run() -> None:
        world = World(broker, a_fleet(3000))
        rollout = a_rollout(upto=10_000)
        await _say(world, ["active"] * 3000, rollout)
        told = await world.desk.status(rollout)
        assert told.outcomes == {"active": 3000}

    asyncio.run(run())


def test_watching_survives_a_broker_that_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout_desk, "PAUSE_S", 0.2)

    async def run(broker: Broker) -> None:
        world = World(broker, a_fleet(3))
        rollout = a_rollout(upto=10_000)
        await _say(world, ["trial"] * 3, rollout)
        watching = asyncio.create_task(world.watch(rollout))
        await world.known.wait()
        broker.stop()
        broker.start()
        await _say(world, ["active"] * 3, rollout)
        assert (await watching).done

    with Broker(tmp_path, persistence=True) as broker:
        asyncio.run(run(broker))


def test_what_a_broker_dropped_is_asked_for_again(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The live message is lost; the retained one is found when nothing comes."""
    monkeypatch.setattr(rollout_desk, "ASK_S", 0.2)
    take = AckBook.take
    lost: list[str] = []

    def lossy(book: AckBook, device: str, message: bytes) -> bool:
        if device == "gw-00001" and not lost:
            lost.append(device)
            return False
        return take(book, device, message)

    monkeypatch.setattr(AckBook, "take", lossy)

    async def run() -> None:
        world = World(broker, a_fleet(2))
        rollout = a_rollout(upto=10_000)
        await _say(world, ["active"] * 2, rollout)
        assert (await world.watch(rollout)).done
        assert lost == ["gw-00001"]

    asyncio.run(run())
