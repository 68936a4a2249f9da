"""The poller against pymodbus's own servers: every type, order and kind of link."""

from __future__ import annotations

import asyncio
import os
import time
import tty
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from pymodbus import FramerType
from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from agent.adapters.modbus.link import LinkConfig
from agent.adapters.modbus.poll import ModbusPoller
from protocols.modbus.decode import compile_points, decode
from protocols.modbus.values import Point

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from protocols.samples import TransactionBatch

DATATYPE = ModbusClientMixin.DATATYPE
PERIOD_NS = 5_000_000


class LoopClock:
    """Real time: sockets answer in it."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def half() -> float:
    return 0.5


def device_of(holding: Sequence[int], unit: int = 1) -> SimDevice:
    bits = [i % 3 == 0 for i in range(32)]
    return SimDevice(
        unit,
        simdata=(
            [SimData(0, values=bits, datatype=DataType.BITS)],
            [SimData(0, values=[not b for b in bits], datatype=DataType.BITS)],
            [SimData(0, values=list(holding), datatype=DataType.REGISTERS)],
            [SimData(0, values=list(holding), datatype=DataType.REGISTERS)],
        ),
    )


@asynccontextmanager
async def serving(
    *devices: SimDevice, framer: FramerType = FramerType.SOCKET
) -> AsyncIterator[int]:
    server = ModbusTcpServer(list(devices), framer=framer, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        yield server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # asyncio's Server
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus's own


async def take(poller: ModbusPoller, rows: int) -> list[TransactionBatch]:
    found: list[TransactionBatch] = []
    async with aclosing(poller.batches()) as batches:  # type: ignore[type-var]  # an async generator
        async for batch in batches:
            found.append(batch)
            if sum(map(len, found)) >= rows:
                return found
    raise AssertionError


def poller_of(points: Sequence[Point], **config: object) -> ModbusPoller:
    settings = {"pause_s": 0.0, "timeout_s": 2.0, "period_ns": PERIOD_NS} | config
    return ModbusPoller(
        0,
        LinkConfig("device", **settings),  # type: ignore[arg-type]  # test settings
        points,
        clock=LoopClock(),
        chance=half,
        window_s=0.01,
    )


def words_of(value: float | str, kind: object, order: str) -> list[int]:
    words = ModbusClientMixin.convert_to_registers(
        value,
        kind,  # type: ignore[arg-type]  # a member of DATATYPE
        word_order="little" if order in {"CDAB", "DCBA"} else "big",
    )
    if order in {"BADC", "DCBA"}:
        words = [(w >> 8) | (w & 255) << 8 for w in words]
    return words


NUMBERS = [
    ("u16", DATATYPE.UINT16, 65_000),
    ("i16", DATATYPE.INT16, -1234),
    ("u32", DATATYPE.UINT32, 4_000_000_123),
    ("i32", DATATYPE.INT32, -2_000_000_123),
    ("u64", DATATYPE.UINT64, 2**63 + 2**40),
    ("i64", DATATYPE.INT64, -(2**62)),
    ("f32", DATATYPE.FLOAT32, -12.5),
    ("f64", DATATYPE.FLOAT64, 1.1),
]


@pytest.mark.parametrize("kind", ["tcp", "rtu-tcp"])
def test_all_types_and_orders_as_pymodbus_wrote_them(kind: str) -> None:
    points: list[Point] = []
    memory: list[int] = []
    expected: dict[int, float] = {}
    for order in ("ABCD", "CDAB", "BADC", "DCBA"):
        for name, datatype, value in NUMBERS:
            table = 3 + len(points) % 2
            expected[len(points)] = value
            points.append(
                Point(len(points), 0, 1, table, len(memory), name, order=order)
            )
            memory += words_of(value, datatype, order)
    points.append(Point(200, 0, 1, 4, len(memory), "string", length=4))
    memory += words_of("SN-0042", DATATYPE.STRING, "ABCD")
    for bit in (0, 1, 17):
        points.append(Point(100 + bit, 0, 1, 0, bit, "coil"))
        points.append(Point(300 + bit, 0, 1, 1, bit, "coil"))
        expected[100 + bit], expected[300 + bit] = bit % 3 == 0, bit % 3 != 0
    framer = FramerType.SOCKET if kind == "tcp" else FramerType.RTU

    async def scenario() -> list[TransactionBatch]:
        async with serving(device_of(memory), framer=framer) as port:
            poller = poller_of(points, kind=kind, port=port)
            reads = 1 + 1 + 2  # both bit tables; both register tables in one read each
            return await take(poller, reads)

    plan = compile_points(points)
    got: dict[int, float] = {}
    texts: set[bytes] = set()
    for batch in asyncio.run(scenario()):
        found = decode(plan, batch)
        assert found.errors == 0
        got |= dict(
            zip(found.samples.item.tolist(), found.samples.value.tolist(), strict=True)
        )
        texts |= set(found.texts.text)
    assert got == expected
    assert texts == {b"SN-0042"}


def test_exceptions_become_rows_and_are_no_reason_to_back_off() -> None:
    points = [Point(0, 0, 1, 4, 1, "u16"), Point(1, 0, 1, 4, 900, "u16")]

    async def scenario() -> tuple[list[TransactionBatch], ModbusPoller]:
        async with serving(device_of([5, 6])) as port:
            poller = poller_of(points, port=port)
            return await take(poller, 20), poller

    batches, poller = asyncio.run(scenario())
    rows = {
        (int(a), int(e)): None
        for b in batches
        for a, e in zip(b.address, b.exception, strict=True)
    }
    assert set(rows) == {(1, 0), (900, 2)}
    counts = poller.statistics()
    assert counts.exceptions >= 9
    assert counts.requests == counts.replies + counts.exceptions
    assert (counts.timeouts, counts.units_left_alone, counts.connects) == (0, 0, 1)


def forward(source: int, sink: int) -> None:
    os.write(sink, os.read(source, 512))


def test_rtu_on_a_serial_line() -> None:
    """A pty pair has no baud rate and no parity, but it is a line with two ends."""
    ours, device_side = os.openpty()
    theirs, server_side = os.openpty()
    for descriptor in (ours, theirs, device_side, server_side):
        tty.setraw(descriptor)
    points = [Point(0, 0, 1, 4, 1, "u32"), Point(1, 0, 1, 0, 3, "coil")]

    async def scenario() -> list[TransactionBatch]:
        loop = asyncio.get_running_loop()
        for source, sink in ((ours, theirs), (theirs, ours)):
            os.set_blocking(source, False)
            loop.add_reader(source, forward, source, sink)
        server = ModbusSerialServer(
            device_of([9, 1, 2]),
            framer=FramerType.RTU,
            port=os.ttyname(server_side),
            baudrate=115_200,
        )
        await server.serve_forever(background=True)
        try:
            poller = poller_of(
                points,
                kind="rtu",
                device=os.ttyname(device_side),
                baudrate=115_200,
                parity="N",
            )
            return await take(poller, 4)
        finally:
            await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus's own
            for descriptor in (ours, theirs):
                loop.remove_reader(descriptor)

    try:
        batches = asyncio.run(scenario())
    finally:
        for descriptor in (ours, theirs, device_side, server_side):
            os.close(descriptor)
    plan = compile_points(points)
    for batch in batches:
        found = decode(plan, batch)
        values = zip(
            found.samples.item.tolist(), found.samples.value.tolist(), strict=True
        )
        assert set(values) <= {(0, 65538.0), (1, 1.0)}
