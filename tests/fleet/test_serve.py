"""`policy publish` and `policy serve` at a mosquitto: retained, renewed, answered."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import aiomqtt
import pytest

from fleet.errors import BadInput, Unavailable
from fleet.link import BrokerOptions
from fleet.trust.publishing import publish
from fleet.trust.release import Release
from fleet.trust.serve import Server
from policies.trust import begin, freshness, offer, open_bundle
from protocols.acks import Ack, pack_ack
from protocols.topics import down_topic, policy_topic, up_topic
from tests.support import sealing
from tests.support.broker import Broker, free_port, needs_mosquitto
from tests.support.founding import found_fleet, publish_policy, write_tiny

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fleet.trust.founding import Founded

pytestmark = [pytest.mark.broker, needs_mosquitto]
DEVICE = "gw-1"
KEY = sealing.Device()
NONCE = "0123456789abcdef" * 2
DAY_S = 86_400


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path, persistence=True) as running:
        yield running


@pytest.fixture
def founded(tmp_path: Path) -> Founded:
    made = found_fleet(tmp_path / "f")
    publish_policy(made, write_tiny(tmp_path))
    return made


def options(broker: Broker, name: str) -> BrokerOptions:
    return BrokerOptions(broker.host, broker.port, name)


async def retained(broker: Broker, topic: str) -> bytes:
    """Return what a device that comes now is given."""
    async with aiomqtt.Client(broker.host, broker.port) as client:
        await client.subscribe(topic, qos=1)
        async with asyncio.timeout(10):
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                return message.payload
    raise AssertionError(topic)


def ack(nonce: str, number: int = 1, key: sealing.Device = KEY) -> bytes:
    told = Ack(
        device=DEVICE, number=number, time_ns=1, boot="b", nonce=nonce, clock="low",
        state="waiting",
    )  # fmt: skip
    return pack_ack(told, key.sign)


def test_a_bundle_is_retained_for_whoever_comes_later(
    broker: Broker, founded: Founded
) -> None:
    release = Release(founded.repository, founded.keys)
    parts = {"bundle": release.bundle(), "timestamp": release.renewal()}
    asyncio.run(publish(options(broker, "p"), "north", parts))
    message = asyncio.run(retained(broker, policy_topic("north", "bundle")))
    start = begin(founded.root.read_bytes(), "north")
    trusted, _ = offer(start, open_bundle(message), time.time_ns())
    renewal = asyncio.run(retained(broker, policy_topic("north", "timestamp")))
    assert offer(trusted, open_bundle(renewal), time.time_ns())[0] == trusted


def test_an_away_broker_is_told(
    founded: Founded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.trust.publishing.PAUSE_S", 0.0)
    at = BrokerOptions("127.0.0.1", free_port(), "p")
    release = Release(founded.repository, founded.keys)
    with pytest.raises(Unavailable, match="publish it again"):
        asyncio.run(publish(at, "north", {"bundle": release.bundle()}))


def test_a_device_that_asks_is_answered_once(broker: Broker, founded: Founded) -> None:
    """Its ack was retained before the server came; a stranger's gets no answer."""
    said: list[tuple[str, str]] = []
    release = Release(founded.repository, founded.keys)
    keys = {DEVICE: KEY.public_key()}
    server = Server(
        release, options(broker, "s"), keys, lambda *told: said.append(told)
    )

    async def scenario() -> bytes:
        async with aiomqtt.Client(broker.host, broker.port) as device:
            await device.subscribe(down_topic("north", DEVICE, "command"), qos=1)
            topic = up_topic("north", DEVICE, "ack")
            stranger = up_topic("north", "gw-2", "ack")
            await device.publish(topic, ack(NONCE), qos=1, retain=True)
            await device.publish(stranger, ack(NONCE), qos=1, retain=True)
            task = asyncio.create_task(server.run())
            try:
                async with asyncio.timeout(10):
                    first = await anext(aiter(device.messages))
                    await device.publish(topic, ack(NONCE, 2), qos=1, retain=True)
                    await device.publish(topic, ack("f" * 32, 3), qos=1, retain=True)
                    second = await anext(aiter(device.messages))
            finally:
                server.stop()
                await task
            assert isinstance(first.payload, bytes)
            assert isinstance(second.payload, bytes)
            trusted, _ = offer(
                begin(founded.root.read_bytes(), "north"),
                open_bundle(release.bundle()),
                time.time_ns(),
            )
            assert not freshness(trusted, second.payload, "f" * 32, DEVICE).is_behind
            fresh = freshness(trusted, first.payload, NONCE, DEVICE)
            assert abs(fresh.time_ns - time.time_ns()) < 60 * 10**9
            return first.payload

    asyncio.run(scenario())
    assert server.answered == 2
    assert ("answered", DEVICE) in said


def test_what_is_away_is_said_once_per_change(
    broker: Broker, founded: Founded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before the first publish, or without a broker: not at every attempt."""
    monkeypatch.setattr("fleet.serving.random.uniform", lambda *_: 0.0)
    said: list[tuple[str, str]] = []
    release = Release(founded.repository, founded.keys)
    reasons = ["nothing is published yet"] * 3 + ["it is locked"] * 2
    whole = release.bundle

    def bundle() -> bytes:
        if reasons:
            raise BadInput("", "", reasons.pop(0))
        return whole()

    monkeypatch.setattr(release, "bundle", bundle)

    def show(*told: str) -> None:
        said.append((told[0], told[1]))
        if told[0] == "published":
            server.stop()

    server = Server(release, options(broker, "s"), {}, show)
    asyncio.run(server.run(30))
    assert [what for what, _ in said] == ["away", "away", "published"]
    assert "nothing is published yet" in said[0][1]
    assert "it is locked" in said[1][1]


def test_an_answer_names_what_was_signed_a_moment_ago(
    broker: Broker, founded: Founded
) -> None:
    """A device that has it already would refuse an older one, and ask in an hour."""
    release = Release(founded.repository, founded.keys)
    keys = {DEVICE: KEY.public_key()}
    server = Server(release, options(broker, "s"), keys, lambda *_: None)

    async def scenario() -> bytes:
        async with aiomqtt.Client(broker.host, broker.port) as device:
            await device.subscribe(down_topic("north", DEVICE, "command"), qos=1)
            topic = up_topic("north", DEVICE, "ack")
            await device.publish(topic, ack(NONCE), qos=1, retain=True)
            task = asyncio.create_task(server.run())
            try:
                async with asyncio.timeout(10):
                    await anext(aiter(device.messages))
                    Release(founded.repository, founded.keys).renew()
                    await device.publish(topic, ack("f" * 32, 2), qos=1, retain=True)
                    told = await anext(aiter(device.messages))
            finally:
                server.stop()
                await task
        assert isinstance(told.payload, bytes)
        return told.payload

    told = asyncio.run(scenario())
    start = begin(founded.root.read_bytes(), "north")
    trusted, offered = offer(start, open_bundle(release.bundle()), time.time_ns())
    fresh = freshness(trusted, told, "f" * 32, DEVICE)
    assert fresh.timestamp_version == offered.timestamp_version


class Overtaken(Release):
    """Somebody signs between our reading of the bundle and its publication."""

    read = False

    def bundle(self) -> bytes:
        message = super().bundle()
        if not self.read:
            self.read = True
            self.renew()
        return message


def test_an_older_bundle_does_not_stay_in_the_place_of_a_newer(
    broker: Broker, founded: Founded
) -> None:
    release = Overtaken(founded.repository, founded.keys)
    told: list[str] = []

    def show(what: str, detail: str) -> None:
        told.append(f"{what} {detail}")
        if len(told) > 1:
            server.stop()

    server = Server(release, options(broker, "s"), {}, show)

    async def scenario() -> bytes:
        await server.run(seconds=4)  # less than until it looks again
        return await retained(broker, policy_topic("north", "bundle"))

    assert asyncio.run(scenario()) == release.bundle()


def test_an_old_timestamp_is_renewed_and_published(
    broker: Broker, founded: Founded
) -> None:
    """The repository was left alone for five of seven days."""
    before = Release(founded.repository, founded.keys)
    version = before.repository.standing()
    assert version.timestamp is not None
    past_s = int(time.time()) - 5 * DAY_S
    old = Release(founded.repository, founded.keys, now_s=lambda: past_s)
    old.renew()
    server = Server(
        Release(founded.repository, founded.keys),
        options(broker, "s"),
        {},
        lambda *_: None,
    )

    async def scenario() -> bytes:
        task = asyncio.create_task(server.run())
        try:
            return await retained(broker, policy_topic("north", "timestamp"))
        finally:
            server.stop()
            await task

    renewal = asyncio.run(scenario())
    trusted, offered = offer(
        begin(founded.root.read_bytes(), "north"),
        open_bundle(before.bundle()),
        time.time_ns(),
    )
    assert offered.timestamp_version == version.timestamp.version + 2
    assert open_bundle(renewal)["timestamp.json"] == trusted.timestamp
