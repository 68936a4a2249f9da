"""The poller against devices that are dead, busy, late or confused."""

from __future__ import annotations

import asyncio
import struct
import time
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeAlias

import pytest

from agent.adapters.modbus.link import LinkConfig
from agent.adapters.modbus.poll import ModbusPoller
from protocols.modbus.values import Point

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from protocols.samples import TransactionBatch

    Handler: TypeAlias = Callable[
        [asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]
    ]

PERIOD_NS = 5_000_000
SEVEN = b"\0\5\1\3\2\0\7"  # length, unit 1, function 3, one register


class LoopClock:
    """Real time: sockets answer in it."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class LeapClock(LoopClock):
    """Whoever sleeps wakes at once, and finds that the time has passed."""

    def __init__(self) -> None:
        self.now = 0

    def monotonic_ns(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += int(seconds * 1e9) + 1
        await asyncio.sleep(0)


def half() -> float:
    return 0.5


@asynccontextmanager
async def answering(handler: Handler) -> AsyncIterator[int]:
    """A device of our own making, for what a good server cannot be brought to do."""
    handlers: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def serve() -> None:
            try:
                with suppress(asyncio.IncompleteReadError, ConnectionError):
                    await handler(reader, writer)
            finally:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

        handlers.add(asyncio.create_task(serve()))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for handler_task in handlers:
            handler_task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        await asyncio.sleep(0)


async def take(poller: ModbusPoller, rows: int) -> list[TransactionBatch]:
    found: list[TransactionBatch] = []
    async with aclosing(poller.batches()) as batches:  # type: ignore[type-var]  # an async generator
        async for batch in batches:
            found.append(batch)
            if sum(map(len, found)) >= rows:
                return found
    raise AssertionError


def poller_of(
    points: Sequence[Point], clock: LoopClock | None = None, **config: object
) -> ModbusPoller:
    settings = {"pause_s": 0.0, "timeout_s": 2.0, "period_ns": PERIOD_NS} | config
    return ModbusPoller(
        0,
        LinkConfig("device", **settings),  # type: ignore[arg-type]  # test settings
        points,
        clock=clock or LoopClock(),
        chance=half,
        window_s=0.01,
    )


async def until(done: Callable[[], bool], poller: ModbusPoller) -> None:
    """Let the poller run, with nothing to hand over, until ``done``."""
    polling = asyncio.create_task(take(poller, 1))
    while not done():  # noqa: ASYNC110  # the condition lies in counters, not events
        await asyncio.sleep(0)
    polling.cancel()
    await asyncio.wait({polling})


async def seven(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        header = await reader.readexactly(12)
        writer.write(header[:4] + SEVEN)


async def never_answer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


def test_a_dead_device_does_not_delay_a_live_one() -> None:
    point = Point(0, 0, 1, 4, 0, "u16")
    rows = 60

    async def scenario() -> tuple[ModbusPoller, ModbusPoller]:
        async with answering(seven) as port, answering(never_answer) as dead:
            live = poller_of([point], port=port)
            silent = poller_of([point], port=dead, timeout_s=0.05)
            other = asyncio.create_task(take(silent, 1))
            await take(live, rows)
            assert not other.done()
            other.cancel()
            await asyncio.wait({other})
            return live, silent

    live, silent = asyncio.run(scenario())
    counts = live.statistics()
    assert (counts.timeouts, counts.connects) == (0, 1)
    assert silent.statistics().replies == 0
    # 60 polls of 5 ms take at least 0.3 s: time for three silences, then left alone.
    assert 1 <= silent.statistics().timeouts <= 3


def test_a_dead_unit_on_a_shared_line_is_left_alone() -> None:
    """A gateway where unit 2 never answers: unit 1 keeps being polled."""

    async def gateway(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            header = await reader.readexactly(12)
            if header[6] == 1:
                writer.write(header[:4] + SEVEN)

    points = [Point(0, 0, 1, 4, 0, "u16"), Point(1, 0, 2, 4, 0, "u16")]

    async def scenario() -> ModbusPoller:
        async with answering(gateway) as port:
            poller = poller_of(points, port=port, timeout_s=0.25)  # a core may be away
            await take(poller, 60)
            return poller

    counts = asyncio.run(scenario()).statistics()
    assert counts.replies >= 60
    assert counts.timeouts == 3
    assert counts.units_left_alone == 1
    assert counts.connects == 1  # TCP numbers its transactions: no new connection


def test_backoff_follows_the_clock_that_is_given() -> None:
    """An hour without the device, in an instant: few attempts, every miss counted."""
    point = Point(0, 0, 1, 4, 0, "u16", period_ns=10**9)
    hour_ns = 3600 * 10**9

    async def scenario() -> ModbusPoller:
        async with answering(never_answer) as port:
            pass  # nobody listens on this port any more
        clock = LeapClock()
        poller = poller_of([point], clock, port=port)
        await until(lambda: clock.now >= hour_ns, poller)
        return poller

    counts = asyncio.run(scenario()).statistics()
    # 0.75 of 1, 2, 4 ... 60 s: about 80 attempts an hour.
    assert 70 <= counts.connects_failed <= 90
    assert counts.requests == 0


def test_a_device_that_takes_one_connection_gets_one() -> None:
    point = Point(0, 0, 1, 4, 0, "u16")
    connections: list[asyncio.StreamWriter] = []

    async def picky(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while len(connections) == 1:
            header = await reader.readexactly(12)
            writer.write(header[:4] + SEVEN)

    async def scenario() -> ModbusPoller:
        async with answering(picky) as port:
            poller = poller_of([point], port=port)
            await take(poller, 30)
            return poller

    assert asyncio.run(scenario()).statistics().connects == 1
    assert len(connections) == 1


def test_a_device_that_hangs_up_at_once_is_not_hammered() -> None:
    """Someone else holds its one connection: each of ours is taken and dropped."""
    point = Point(0, 0, 1, 4, 0, "u16", period_ns=10**7)
    taken: list[None] = []

    async def busy(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(None)
        writer.close()

    async def scenario() -> ModbusPoller:
        async with answering(busy) as port:
            poller = poller_of([point], port=port, timeout_s=0.05)
            start = time.monotonic()
            await until(lambda: time.monotonic() > start + 0.5, poller)
            return poller

    poller = asyncio.run(scenario())
    assert len(taken) <= 8
    assert poller.statistics().replies == 0


def rtu_reply(values: Sequence[int]) -> bytes:
    body = struct.pack(f">BBB{len(values)}H", 1, 3, 2 * len(values), *values)
    crc = 0xFFFF
    for byte in body:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return body + struct.pack("<H", crc)


def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    """RTU has no transaction number; only a new connection keeps them apart."""
    points = [Point(0, 0, 1, 4, 0, "u16"), Point(1, 0, 1, 4, 100, "u16")]

    async def scenario() -> list[TransactionBatch]:
        late: list[bytes] = []

        async def slow(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            owed = b""
            while True:
                request = await reader.readexactly(8)
                reply = rtu_reply([int.from_bytes(request[2:4], "big") + 1])
                if not late:
                    late.append(reply)
                    owed = reply  # comes with the next request on this connection
                else:
                    writer.write(owed or reply)
                    owed = b""

        async with answering(slow) as port:
            poller = poller_of(points, kind="rtu-tcp", port=port, timeout_s=0.1)
            return await take(poller, 10)

    for batch in asyncio.run(scenario()):
        assert (batch.values == batch.address + 1).all()


@pytest.mark.parametrize(
    "answer",
    [
        b"\0\5\1\3\4\0\1\0\2"[:9],  # length field and content disagree
        b"\0\7\1\3\4\0\1\0\2",  # two registers where one was asked for
        b"\0\4\1\1\1\1",  # coils where registers were asked for
        b"\0\2\1\x63",  # no such function
        b"\xff\xff" + b"\0" * 300,
    ],
)
def test_answers_to_something_else_are_not_believed(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    point = Point(0, 0, 1, 4, 0, "u16")
    asked: list[int] = []

    async def confused(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            header = await reader.readexactly(12)
            asked.append(1)
            writer.write(header[:4] + (SEVEN if len(asked) > 2 else answer))

    async def scenario() -> tuple[list[TransactionBatch], ModbusPoller]:
        async with answering(confused) as port:
            poller = poller_of([point], port=port, timeout_s=0.3)  # a core may be away
            return await take(poller, 1), poller

    caplog.set_level("DEBUG")
    caplog.set_level("INFO", logger="asyncio")  # at DEBUG it tells of its selector
    [batch], poller = asyncio.run(scenario())
    assert set(batch.values.tolist()) == {7}
    counts = poller.statistics()
    assert counts.timeouts + counts.malformed == 2
    assert not caplog.records  # no traceback of a callback, no packet in hexadecimal


def test_what_arrived_is_handed_over_while_another_request_waits() -> None:
    points = [Point(0, 0, 1, 4, 0, "u16"), Point(1, 0, 2, 4, 0, "u16")]

    async def scenario() -> int:
        stuck = asyncio.Event()

        async def half_dead(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            header = await reader.readexactly(12)
            writer.write(header[:4] + SEVEN)
            await reader.readexactly(12)
            stuck.set()
            await reader.read()

        async with answering(half_dead) as port:
            poller = poller_of(points, port=port, timeout_s=30)
            [batch] = await take(poller, 1)
            assert stuck.is_set()
            assert poller.statistics().timeouts == 0
            return len(batch)

    assert asyncio.run(scenario()) == 1


def test_a_serial_device_that_is_absent_is_a_failed_connection() -> None:
    async def scenario() -> ModbusPoller:
        clock = LeapClock()
        poller = poller_of(
            [Point(0, 0, 1, 4, 1, "u16")], clock, kind="rtu", device="/dev/absent"
        )
        await until(lambda: poller.statistics().connects_failed == 3, poller)
        return poller

    assert asyncio.run(scenario()).statistics().connects == 0
