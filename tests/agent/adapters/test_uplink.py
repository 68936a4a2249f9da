"""The uplink on a real broker and a real store: reconnects, silence, last will."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from agent.adapters.clock import SystemClock
from agent.adapters.device_key import load_or_create
from agent.adapters.ending import ended
from agent.adapters.journal import Journal
from agent.adapters.mqtt import MqttLink, MqttOptions, connect
from agent.adapters.policy.inbox import PolicyInbox
from agent.adapters.publisher import Publisher
from agent.adapters.sqlite_open import StoreOptions, open_store
from agent.adapters.store_thread import StoreThread
from agent.adapters.uplink import Uplink
from agent.errors import Fatal, Refused
from agent.evidence import Evidence
from agent.records import Commit, Queued, Rank, SpoolRecord
from agent.uplink.authority import Authority
from agent.uplink.backoff import Backoff
from agent.uplink.machine import State
from agent.uplink.scheduler import Scheduler
from fleet.keys import generate
from protocols.announcement import Announcement, encode_announcement
from tests.support.broker import Broker, needs_mosquitto
from tests.support.receiver import Receiver
from tests.support.store_cases import MIB, spool_record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from agent.adapters.sqlite_store import SqliteStore
    from policies.tables import CompiledPolicy

KEYS = generate("oem", dt.date(2026, 1, 1), dt.date(2027, 1, 1))


class Side:
    """One device's uplink without a flow, and its collector."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        clock = SystemClock()
        signer = load_or_create(folder / "device.key", "gw-1")
        self.signer = signer
        self.evidence = Evidence("gw-1", bytes(16), "test")
        self.journal = Journal(self.evidence, clock)
        options = StoreOptions(MIB, MIB, self.journal.witness, self.journal.broken)
        self.store: SqliteStore = open_store(folder / "store.db", options)
        self.journal.attach(self.store)
        self.publisher = Publisher(
            ("test", "gw-1"), signer, clock, _state, 10**9,
        )  # fmt: skip
        policy = SimpleNamespace(
            destinations=[SimpleNamespace(name="oem", region="CN", recipients=("oem",))]
        )
        keys = {"oem": KEYS.card().receipt_key()}
        self.thread = StoreThread()
        self.uplink = Uplink(
            ("test", "gw-1"),
            MqttOptions("127.0.0.1", broker.port, "sluicegate-test-gw-1"),
            self.store,
            self.thread,
            Scheduler(0.75),
            Backoff(lambda: 0.0),
            self.publisher,
            clock,
            Authority("gw-1", cast("CompiledPolicy", policy), "CN", keys),
            self.journal,
        )
        self.collector = Receiver("test", "gw-1", signer.public_key(), [KEYS])

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have the uplink work; what aiomqtt loses of a cancellation is said again."""
        task = asyncio.create_task(self.uplink.run())
        try:
            yield
        finally:
            await ended(task)

    async def until(self, seen: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not seen():  # noqa: ASYNC110  # of another thread and a broker
                await asyncio.sleep(0.01)


def _state(number: int, online: bool) -> bytes:
    from protocols.telemetry import State as Told
    from protocols.telemetry import encode_state

    return encode_state(
        Told(
            device="gw-1", number=number, time_ns=0, boot="", agent="", policy_name="",
            policy_version=0, policy_digest="", policy_state="active", clock="high",
            online=online, autonomy_h=0.0, spool_records=0, spool_bytes=0,
            spool_bytes_max=0, oldest_ns=0, evidence_size=0, coverage=1.0,
        )
    )  # fmt: skip


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_twenty_broken_links_change_nothing_in_the_spool(tmp_path: Path) -> None:
    """A failure of others: a spool that is rewritten with every reconnect."""

    async def story() -> None:
        with Broker(tmp_path) as broker:
            side = Side(tmp_path, broker)
            side.store.commit(
                Commit(tuple(spool_record(n, kind="telemetry") for n in range(1, 201)))
            )
            before = side.store.statistics()
            inode = (tmp_path / "store.db").stat().st_ino
            async with side.running():
                for _ in range(20):
                    await side.until(lambda: side.uplink.online)
                    broker.kill()
                    await side.until(lambda: not side.uplink.online)
                    broker.start()
                await side.until(lambda: side.uplink.online)
                assert side.uplink.counts["disconnected"] == 20
                assert side.store.statistics() == before
                assert (tmp_path / "store.db").stat().st_ino == inode
            side.store.close()

    asyncio.run(story())


@needs_mosquitto
def test_the_broker_says_offline_when_the_link_is_cut(tmp_path: Path) -> None:
    async def story() -> None:
        with Broker(tmp_path) as broker:
            side = Side(tmp_path, broker)
            side.publisher.boots = 3
            side.collector.start(broker.port)
            async with side.running():
                await side.until(lambda: side.collector.states)
                link = side.uplink._link  # what a cut cable is to a broker
                assert link is not None
                link._client.below.socket().shutdown(2)  # type: ignore[attr-defined]  # white box
                await side.until(
                    lambda: False in {s.online for s in side.collector.states}
                )
                await side.until(lambda: side.collector.states[-1].online)
                await side.publisher.leave()
                await side.until(lambda: not side.collector.states[-1].online)
                numbers = [state.number for state in side.collector.states]
                assert numbers == sorted(
                    set(numbers)
                )  # a will never hides what is newer
                assert numbers[0] >> 36 == 3
            side.collector.stop()
            side.store.close()

    asyncio.run(story())


@needs_mosquitto
def test_a_store_that_no_longer_knows_itself_ends_the_uplink(tmp_path: Path) -> None:
    async def story() -> None:
        with Broker(tmp_path) as broker:
            side = Side(tmp_path, broker)

            def damaged(live: int, backlog: int) -> list[Queued]:
                raise Fatal("store: damaged")

            side.store.next_to_send = damaged  # type: ignore[method-assign]  # the fault
            with pytest.RaisesGroup(pytest.RaisesExc(Fatal), flatten_subgroups=True):
                async with asyncio.timeout(20):
                    await side.uplink.run()
            side.store.close()

    asyncio.run(story())


@needs_mosquitto
def test_nobody_listening_is_asked_ever_more_seldom(tmp_path: Path) -> None:
    async def story() -> None:
        with Broker(tmp_path) as broker:
            side = Side(tmp_path, broker)
            side.store.commit(Commit((spool_record(1),), (), (b"\x81\xa1n\x00",)))
            async with side.running():
                await side.until(lambda: side.uplink.counts["published_sent"] >= 2)
                assert side.uplink.state in {State.DRAINING, State.IDLE}
                assert side.uplink._pause_s >= 2.0
                assert side.store.statistics().records == 1
            side.store.close()

    asyncio.run(story())


@needs_mosquitto
def test_a_receipt_that_was_lost_is_earned_again_on_the_same_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        with Broker(tmp_path) as broker:
            side = Side(tmp_path, broker)
            side.collector.start(broker.port)
            side.collector.mute = True
            side.store.commit(Commit((a_key(side),)))
            monkeypatch.setattr("agent.adapters.uplink.IDLE_S", 0.05)
            async with side.running():
                await side.until(lambda: side.collector.counts["key"] >= 1)
                side.collector.mute = False
                monkeypatch.setattr("agent.adapters.uplink.RECEIPT_WAIT_NS", 10**8)
                await side.until(lambda: side.store.statistics().records == 0)
                assert side.uplink.counts["disconnected"] == 0
                assert side.uplink.counts["receipts_overdue"] == 0
            side.collector.stop()
            side.store.close()

    asyncio.run(story())


def a_key(side: Side) -> SpoolRecord:
    """Return a record that the collector believes: an announcement."""
    said = Announcement(
        "open", "gw-1", bytes(16), "oem", 48, bytes(16), 1, b"", (), b"x"
    )
    body = encode_announcement(said, side.signer.sign)
    return SpoolRecord("key", "oem", Rank.CONTROL, 48, bytes(16), 0, 1, body)


@needs_mosquitto
def test_a_broker_that_denies_policies_takes_data_all_the_same(tmp_path: Path) -> None:
    """mosquitto's access files deny no subscription: the denial is made up."""

    async def denying(options: MqttOptions) -> MqttLink:
        link = await connect(options)
        allowed = link.subscribe

        async def subscribe(topics: Sequence[str]) -> None:
            for topic in topics:
                if "/policy/" in topic:
                    raise Refused("subscribe", f"{topic}: Not authorized")
            await allowed(topics)

        link.subscribe = subscribe  # type: ignore[method-assign]  # the denial
        return link

    async def story() -> None:
        with Broker(tmp_path) as broker:
            side = Side(tmp_path, broker)
            side.uplink._connect = denying
            side.uplink.mail = PolicyInbox("test", "gw-1")
            record = spool_record(1, kind="telemetry", confirm="puback")
            side.store.commit(Commit((record,)))
            async with side.running():
                await side.until(lambda: side.uplink.online)
                await side.until(lambda: "policy/bundle" in side.uplink.problem)
                await side.until(
                    lambda: any("published" in c for c in side.uplink.counts)
                )
            side.store.close()

    asyncio.run(story())


@needs_mosquitto
def test_policies_go_to_their_inbox_and_acks_come_in_order(tmp_path: Path) -> None:
    async def story() -> None:
        with Broker(tmp_path) as broker:
            side = Side(tmp_path, broker)
            inbox = PolicyInbox("test", "gw-1")
            side.uplink.mail = inbox
            heard: list[bytes] = []
            client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
            client.on_message = lambda *told: heard.append(told[2].payload)
            topic = "sg/1/test/gw-1/ack"
            client.on_connect = lambda *told: told[0].subscribe(topic, 1)
            client.reconnect_delay_set(0.1, 0.1)  # type: ignore[arg-type]  # seconds
            client.connect("127.0.0.1", broker.port)
            client.loop_start()
            bundle = b"b" * 1000
            client.publish("sg/1/test/policy/bundle", bundle, 1, retain=True)
            side.publisher.acknowledge(b"first")
            async with side.running():
                for number in range(5):
                    side.publisher.acknowledge(b"%d" % number)
                await side.until(lambda: len(heard) == 6)
                assert heard == [b"first", b"0", b"1", b"2", b"3", b"4"]
                await side.until(lambda: inbox._newest)
                letter = inbox.newest("bundle")
                assert letter is not None
                assert letter.body == bundle
                broker.kill()  # a new connection begins with the newest ack
                await side.until(lambda: not side.uplink.online)
                broker.start()
                await side.until(lambda: side.uplink.online)
                await side.until(lambda: heard[-1] == b"4" and len(heard) > 6)
                client.loop_stop()
            side.store.close()

    asyncio.run(story())


@needs_mosquitto
def test_who_pauses_the_uplink_does_not_wait_for_its_rest(tmp_path: Path) -> None:
    """Nobody listens, so that it rests ever longer; a policy is swapped meanwhile."""

    async def story() -> None:
        with Broker(tmp_path) as broker:
            side = Side(tmp_path, broker)
            side.uplink._pause_s = 60.0
            side.store.commit(Commit((spool_record(1),)))
            async with side.running():
                await side.until(
                    lambda: any("published" in c for c in side.uplink.counts)
                )
                async with asyncio.timeout(30), side.uplink.paused():
                    pass
            side.store.close()

    asyncio.run(story())
