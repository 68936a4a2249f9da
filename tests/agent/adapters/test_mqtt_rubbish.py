"""A broker that answers rubbish is a broker that is away, on either side."""

from __future__ import annotations

import asyncio
import gc
import socket
from typing import TYPE_CHECKING, Any, Final

import pytest

import agent.errors
import fleet.errors
from agent.adapters import mqtt
from fleet import link

if TYPE_CHECKING:
    from types import ModuleType

CONNACK, PUBLISH, SUBACK = 0x20, 0x32, 0x90  # MQTT 5.0, 3.2, 3.3 (QoS 1) and 3.9
DISCONNECT: Final = 0xE0  # 3.14
HUGE: Final = bytes([PUBLISH, 0xFF, 0xFF, 0xFF, 0x7F])
SIDES = [
    pytest.param(mqtt, mqtt.MqttOptions, agent.errors, id="agent"),
    pytest.param(link, link.BrokerOptions, fleet.errors, id="fleet"),
]


def packet(kind: int, body: bytes) -> bytes:
    return bytes([kind, len(body)]) + body


async def _broken(side: ModuleType, options: Any, told: bytes) -> tuple[str, bool]:
    """Return why a link ends that is sent ``told``, and whether its socket is open."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(packet(CONNACK, bytes(3)))
        asked = await reader.read(4096)
        writer.write(packet(SUBACK, asked[2:4] + b"\0\1") + told)
        await over.wait()  # it does not hang up
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    there = await side.connect(options("127.0.0.1", port, "gw"))
    await there.subscribe(["x"])
    why = ""
    try:
        async for _ in there.messages():
            pass
    except (agent.errors.Unavailable, fleet.errors.Unavailable) as error:
        why = str(error)
    await there.close()
    for _ in range(1000):  # the goodbye is written in the loop's next turn
        await asyncio.sleep(0)
    over.set()
    server.close()
    return why, there._client.below.socket() is not None


@pytest.mark.parametrize(("side", "options", "errors"), SIDES)
def test_what_ended_by_a_packet_that_cannot_be_read_is_closed(
    side: ModuleType, options: Any, errors: ModuleType
) -> None:
    del errors
    topic = packet(PUBLISH, b"\0\3a/#" + b"\0\7" + b"\0" + b"body")
    why, is_open = asyncio.run(_broken(side, options, topic))
    assert why
    assert not is_open


@pytest.mark.parametrize(("side", "options", "errors"), SIDES)
def test_a_packet_beyond_our_memory_is_not_collected(
    side: ModuleType, options: Any, errors: ModuleType
) -> None:
    del errors
    begun = HUGE + bytes(1000)
    why, is_open = asyncio.run(_broken(side, options, begun))
    assert "began a packet of 268435455 bytes" in why
    assert not is_open


@pytest.mark.parametrize(("side", "options", "errors"), SIDES)
def test_a_broker_that_neither_keeps_rules_nor_reads_is_left_at_once_with_our_will(
    side: ModuleType, options: Any, errors: ModuleType
) -> None:
    """It was read for as long as it kept still, at every turn of the loop."""
    del errors

    async def story(*, deaf: bool) -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            loop = asyncio.get_running_loop()
            made = loop.create_task(
                side.connect(options("127.0.0.1", server.getsockname()[1], "gw"))
            )
            broker, _ = await loop.sock_accept(server)
            with broker:
                await loop.sock_recv(broker, 4096)
                await loop.sock_sendall(broker, packet(CONNACK, bytes(3)))
                there = await made
                below = there._client.below
                if deaf:
                    below.publish("x", bytes(16 * 1024 * 1024), qos=1)
                await loop.sock_sendall(broker, HUGE + bytes(1000))
                with pytest.raises(Exception, match="began a packet of 268435455"):
                    async for _ in there.messages():
                        pass
                assert not below._in_packet["packet"]
                await there.close()
                assert below.socket() is None
                await asyncio.sleep(0)
                return b"" if deaf else await loop.sock_recv(broker, 4096)

    assert asyncio.run(story(deaf=True)) == b""
    assert asyncio.run(story(deaf=False)) == packet(DISCONNECT, b"\4")


@pytest.mark.parametrize("codes", [b"", b"\x01\x01"], ids=["none", "two"])
@pytest.mark.parametrize(("side", "options", "errors"), SIDES)
def test_an_answer_of_other_topics_than_were_asked_for(
    side: ModuleType, options: Any, errors: ModuleType, codes: bytes
) -> None:
    left: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(packet(CONNACK, bytes(3)))
        asked = await reader.read(4096)
        writer.write(packet(SUBACK, asked[2:4] + b"\0" + codes))
        left.put_nowait(await reader.read())
        writer.close()

    async def story() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        there = await side.connect(options("127.0.0.1", port, "gw"))
        try:
            with pytest.raises(errors.Unavailable, match=f"{len(codes)} topics of 1"):
                await there.subscribe(["x"])
        finally:
            await there.close()
            goodbye = await left.get()
            server.close()
        # with its will where it is the agent, whose retained state says online
        assert goodbye == packet(DISCONNECT, b"\4" if side is mqtt else b"")

    asyncio.run(story())


@pytest.mark.parametrize(
    ("told", "why"),
    [
        pytest.param(packet(DISCONNECT, b"\x97\0"), "Quota exceeded", id="goodbye"),
        pytest.param(
            packet(PUBLISH, b"\0\3a/#" + b"\0\7" + b"\0"), "topic", id="rubbish"
        ),
    ],
)
@pytest.mark.parametrize(("side", "options", "errors"), SIDES)
def test_what_ends_right_behind_its_connack_was_never_connected(
    side: ModuleType,
    options: Any,
    errors: ModuleType,
    told: bytes,
    why: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It was: a new certificate was proved by it, and rubbish cost ten seconds more."""

    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(packet(CONNACK, bytes(3)) + told)
        await reader.read()
        writer.close()
        gone.set()

    async def story() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(errors.Unavailable, match=why):
            await side.connect(options("127.0.0.1", port, "gw"))
        await gone.wait()
        server.close()

    asyncio.run(story())
    gc.collect()
    assert not caplog.records
