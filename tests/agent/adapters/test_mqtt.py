"""The MQTT link against a real mosquitto, and once against rumqttd (iotcore)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, TypeVar

import pytest

from agent.adapters.mqtt import MqttOptions, connect
from agent.errors import BadInput, Refused, Unavailable
from agent.limits import SEND_WINDOW
from agent.records import Incoming, Outgoing
from tests.support.broker import Broker, free_port, needs_mosquitto
from tests.support.links import first, options, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytestmark = pytest.mark.broker
T = TypeVar("T")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as running:
        yield running


@needs_mosquitto
def test_what_is_published_arrives_with_its_properties(broker: Broker) -> None:
    async def work() -> tuple[int, int, Incoming, Incoming]:
        collector = await connect(options(broker, "collector"))
        await collector.subscribe(["sg/1/f/gw-1/data"])
        device = await connect(options(broker))
        message = Outgoing(
            "sg/1/f/gw-1/data", b"sealed", False, "application/x", (("label", "G2"),)
        )
        code = await device.publish(message)
        (got,) = await first(collector)
        kept = Outgoing("sg/1/f/gw-1/state", b"state", retain=True)
        nobody = await device.publish(kept)
        late = await connect(options(broker, "late"))
        await late.subscribe(["sg/1/f/+/state"])
        (state,) = await first(late)
        for link in (collector, device, late):
            await link.close()
        return code, nobody, got, state

    code, nobody, got, state = run(work())
    assert code == 0
    assert nobody in {0x00, 0x10}  # a retained message is kept, heard or not
    assert (got.topic, got.body) == ("sg/1/f/gw-1/data", b"sealed")
    assert got.content_type == "application/x"
    assert got.properties == (("label", "G2"),)
    assert (state.body, state.retain) == (b"state", True)


@needs_mosquitto
def test_nobody_listening_is_told_apart_from_taken(broker: Broker) -> None:
    async def work() -> int:
        link = await connect(options(broker))
        code = await link.publish(Outgoing("sg/1/f/gw-1/data", b"x"))
        await link.close()
        return code

    assert run(work()) == 0x10


@needs_mosquitto
def test_a_message_that_the_access_list_denies_is_not_delivered(
    tmp_path: Path,
) -> None:
    acl = "topic write sg/1/f/gw-1/data\ntopic read sg/#\n"

    async def work(broker: Broker) -> tuple[int, int, int]:
        link = await connect(options(broker))
        collector = await connect(options(broker, "collector"))
        await collector.subscribe(["sg/#"])
        allowed = await link.publish(Outgoing("sg/1/f/gw-1/data", b"x"))
        denied = await link.publish(Outgoing("sg/1/f/gw-2/data", b"x"))
        after = await link.publish(Outgoing("sg/1/f/gw-1/data", b"x"))
        await link.close()
        await collector.close()
        return allowed, denied, after

    with Broker(tmp_path, acl=acl) as broker:
        assert run(work(broker)) == (0, 0x87, 0)


@needs_mosquitto
@pytest.mark.parametrize(("told", "window"), [(20, 20), (200, SEND_WINDOW)])
def test_a_full_window_of_publishes_is_answered_one_by_one(
    tmp_path: Path, told: int, window: int
) -> None:
    async def work(broker: Broker) -> tuple[list[int], list[bytes]]:
        collector = await connect(options(broker, "collector"))
        await collector.subscribe(["t"])
        link = await connect(options(broker))
        bodies = [b"%03d" % n * 9000 for n in range(link.window)]
        answers = asyncio.gather(*(link.publish(Outgoing("t", b)) for b in bodies))
        got = await first(collector, link.window)
        codes = await answers
        await link.close()
        await collector.close()
        return codes, sorted(m.body[:3] for m in got)

    # the broker's Receive Maximum holds where it is less than ours
    with Broker(tmp_path, settings=(f"max_inflight_messages {told}",)) as broker:
        codes, got = run(work(broker))
    assert codes == [0] * window
    assert got == [b"%03d" % n for n in range(window)]


@needs_mosquitto
def test_more_than_the_broker_takes_is_refused_here(tmp_path: Path) -> None:
    async def work(broker: Broker) -> tuple[int, int, int]:
        link = await connect(options(broker))
        await link.subscribe(["t"])
        fits = await link.publish(Outgoing("t", bytes(900)))
        over = await link.publish(Outgoing("t", bytes(1024)))
        after = await link.publish(Outgoing("t", b"still there"))
        assert link.packet_bytes_max == 1024
        await link.close()
        return fits, over, after

    with Broker(tmp_path, settings=("max_packet_size 1024",)) as broker:
        assert run(work(broker)) == (0, 0x95, 0)


@needs_mosquitto
def test_incoming_messages_above_the_limit_are_dropped_and_counted(
    broker: Broker,
) -> None:
    async def work() -> tuple[list[bytes], int]:
        link = await connect(options(broker, message_bytes_max=100))
        await link.subscribe(["command"])
        other = await connect(options(broker, "other"))
        for size in (101, 6000, 100):  # 6000: the broker itself drops it
            await other.publish(Outgoing("command", bytes(size)))
        got = await first(link)
        await link.close()
        await other.close()
        return [m.body for m in got], link.oversize

    assert run(work()) == ([bytes(100)], 1)


@needs_mosquitto
def test_a_command_that_was_not_acknowledged_comes_again(broker: Broker) -> None:
    async def work() -> tuple[bytes, bytes, bool, bool]:
        link = await connect(options(broker, clean_start=True))
        await link.subscribe(["command"])
        new_session = link.session_present
        other = await connect(options(broker, "other"))
        await other.publish(Outgoing("command", b"one"))
        unhandled = await anext(link.messages())
        await link.close()  # without an acknowledgement
        await other.publish(Outgoing("command", b"two"))
        link = await connect(options(broker))
        again = await first(link, 2)
        resumed = link.session_present
        await link.close()
        link = await connect(options(broker))
        await other.publish(Outgoing("command", b"three"))
        (only,) = await first(link)
        await link.close()
        await other.close()
        assert [m.body for m in again] == [b"one", b"two"]
        return unhandled.body, only.body, new_session, resumed

    assert run(work()) == (b"one", b"three", False, True)


@needs_mosquitto
def test_the_last_will_is_published_when_the_gateway_dies(broker: Broker) -> None:
    will = Outgoing("sg/1/f/gw-1/state", b"gone", retain=True, content_type="a/b")

    async def work() -> Incoming:
        watcher = await connect(options(broker, "watcher"))
        await watcher.subscribe(["sg/1/f/gw-1/state"])
        link = await connect(options(broker, will=will))
        link._client.below.socket().shutdown(socket.SHUT_RDWR)  # no DISCONNECT
        (got,) = await first(watcher)
        assert await link.lost()
        await link.close()
        await watcher.close()
        return got

    got = run(work())
    assert (got.body, got.content_type) == (b"gone", "a/b")


@needs_mosquitto
def test_a_second_gateway_of_the_same_name_ends_the_first_link(
    broker: Broker,
) -> None:
    async def work() -> tuple[str, int]:
        link = await connect(options(broker))
        second = await connect(options(broker))
        reason = await link.lost()
        with pytest.raises(Unavailable):
            await link.publish(Outgoing("t", b"x"))
        code = await second.publish(Outgoing("t", b"x"))
        await second.close()
        return reason, code

    reason, code = run(work())
    # mosquitto 2.0.11 just hangs up; MQTT 5 would have it say 0x8E
    assert reason == "the link broke" or "taken over" in reason
    assert code == 0x10


@needs_mosquitto
def test_an_orderly_goodbye_keeps_the_will(broker: Broker) -> None:
    will = Outgoing("sg/1/f/gw-1/state", b"gone")

    async def work() -> list[bytes]:
        watcher = await connect(options(broker, "watcher"))
        await watcher.subscribe(["sg/1/f/gw-1/state", "end"])
        link = await connect(options(broker, will=will))
        await link.close()
        await watcher.publish(Outgoing("end", b"end"))
        got = await first(watcher)
        await watcher.close()
        return [m.body for m in got]

    assert run(work()) == [b"end"]


@needs_mosquitto
def test_a_broker_that_is_killed_in_mid_publish_is_unavailable(broker: Broker) -> None:
    async def work() -> tuple[list[int], list[str], str]:
        link = await connect(options(broker))
        await link.subscribe(["t"])
        codes, errors = [], []
        codes.append(await link.publish(Outgoing("t", b"before")))
        broker.pause()  # it takes bytes and answers nothing
        pending = [
            asyncio.create_task(link.publish(Outgoing("t", bytes(50_000))))
            for _ in range(20)
        ]
        await asyncio.sleep(0)  # let them start
        broker.kill()
        for outcome in await asyncio.gather(*pending, return_exceptions=True):
            assert isinstance(outcome, Unavailable)
            errors.append(str(outcome))
        with pytest.raises(Unavailable):
            await link.publish(Outgoing("t", b"after"))
        with pytest.raises(Unavailable):
            await first(link, 2)
        with pytest.raises(Unavailable):
            await link.subscribe(["u"])
        reason = await link.lost()
        await link.close()
        broker.start()
        link = await connect(options(broker))
        await link.subscribe(["t"])
        codes.append(await link.publish(Outgoing("t", b"again")))
        await link.close()
        return codes, errors, reason

    codes, errors, reason = run(work())
    assert codes == [0, 0]
    assert len(errors) == 20
    assert all("mqtt: " in error for error in errors)
    assert reason


@needs_mosquitto
def test_a_message_that_was_acknowledged_may_be_lost_by_a_killed_broker(
    tmp_path: Path,
) -> None:
    """Why a record leaves on a receipt: PUBACK without persistence is no promise."""

    async def work(broker: Broker) -> tuple[int, bool]:
        collector = await connect(options(broker, "collector"))
        await collector.subscribe(["t"])
        await collector.close()  # its session stays at the broker
        link = await connect(options(broker))
        code = await link.publish(Outgoing("t", b"acknowledged"))
        broker.kill()
        await link.close()
        broker.start()
        collector = await connect(options(broker, "collector"))
        present = collector.session_present
        await collector.close()
        return code, present

    with Broker(tmp_path) as broker:
        assert run(work(broker)) == (0, False)


def test_no_broker_is_unavailable_with_one_clear_line() -> None:
    port = free_port()
    with pytest.raises(Unavailable, match=f"^mqtt: 127.0.0.1:{port}: .*refused"):
        run(connect(MqttOptions("127.0.0.1", port, "gw-1")))


@needs_mosquitto
def test_a_broker_that_does_not_let_us_in_is_unavailable(tmp_path: Path) -> None:
    settings = ("allow_anonymous false",)
    with (
        Broker(tmp_path, settings=settings) as broker,
        pytest.raises(Unavailable, match=r"[Nn]ot authorized"),
    ):
        run(connect(options(broker, username="u", password="p")))


def test_plaintext_beyond_this_machine_is_bad_input() -> None:
    with pytest.raises(BadInput, match="needs TLS"):
        run(connect(MqttOptions("192.0.2.1", 1883, "gw-1")))


@needs_mosquitto
def test_topics_that_cannot_be_are_refused(broker: Broker) -> None:
    async def work() -> None:
        link = await connect(options(broker))
        with pytest.raises(Refused):
            await link.publish(Outgoing("a/#", b"x"))
        assert await link.publish(Outgoing("a", b"x")) == 0x10
        await link.close()

    run(work())


def test_running_twice_in_one_loop_leaves_nothing_behind(tmp_path: Path) -> None:
    """A failed attempt ends its own tasks: the runtime tries thousands of times."""

    async def work() -> set[str]:
        for _ in range(3):
            with contextlib.suppress(Unavailable):
                await connect(MqttOptions("127.0.0.1", port, "gw-1"))
        return {task.get_name() for task in asyncio.all_tasks()}

    port = free_port()
    assert len(run(work())) <= 2
