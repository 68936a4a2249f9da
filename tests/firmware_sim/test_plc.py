"""The PLC over real TCP, read with pymodbus' own client."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusIOException

from firmware_sim.plant import Plant
from firmware_sim.plant_map import POINTS
from firmware_sim.plc import Plc
from firmware_sim.registers import from_registers, image, reorder
from firmware_sim.scenario import NS, FaultEvent, PlantScenario, load_scenario

HOST = "127.0.0.1"


def plant(*faults: FaultEvent) -> Plant:
    scenario = load_scenario("tank-line")
    assert isinstance(scenario, PlantScenario)
    return Plant(msgspec.structs.replace(scenario, faults=faults))


@asynccontextmanager
async def served(line: Plant) -> AsyncIterator[Plc]:
    plc = Plc(line)
    await plc.start(HOST, 0)
    try:
        yield plc
    finally:
        await plc.close()


@asynccontextmanager
async def client(plc: Plc, patience_s: float) -> AsyncIterator[AsyncModbusTcpClient]:
    connection = AsyncModbusTcpClient(
        HOST, port=plc.port, timeout=patience_s, retries=0, reconnect_delay=0
    )
    assert await connection.connect()
    try:
        yield connection
    finally:
        connection.close()


Check = Callable[[Plc, AsyncModbusTcpClient], Awaitable[None]]


def over_tcp(line: Plant, check: Check, patience_s: float = 3.0) -> None:
    async def run() -> None:
        async with served(line) as plc, client(plc, patience_s) as connection:
            await check(plc, connection)

    asyncio.run(run())


def test_every_point_reads_as_the_truth() -> None:
    line = plant()

    async def check(plc: Plc, connection: AsyncModbusTcpClient) -> None:
        plc.advance(130 * NS)
        coils = await connection.read_coils(0, count=4)
        inputs = await connection.read_discrete_inputs(0, count=5)
        low = await connection.read_input_registers(0, count=20)
        high = await connection.read_holding_registers(0, count=28)
        got = {0: coils.bits, 1: inputs.bits, 3: low.registers, 4: high.registers}
        for point in POINTS:
            cells = got[point.table][point.address : point.address + point.registers]
            truth = point.read(line)
            if point.type == "coil":
                assert bool(cells[0]) == bool(truth), point.item
            elif point.type == "string":
                text = struct.pack(f">{len(cells)}H", *cells).rstrip(b"\0").decode()
                assert text == truth, point.item
            else:
                near = max(point.scale / 2, abs(float(truth)) * 1e-6)
                value = from_registers(point, [int(cell) for cell in cells])
                assert value == pytest.approx(float(truth), abs=near * 1.001), point

    over_tcp(line, check)


def test_pymodbus_decodes_the_word_orders() -> None:
    """The same floats by pymodbus' converter: an oracle for ABCD and CDAB."""
    line = plant()

    async def check(plc: Plc, connection: AsyncModbusTcpClient) -> None:
        plc.advance(60 * NS)
        read = (await connection.read_input_registers(0, count=4)).registers
        kind = connection.DATATYPE.FLOAT32
        level = connection.convert_from_registers(read[:2], kind, word_order="big")
        heat = connection.convert_from_registers(read[2:], kind, word_order="little")
        assert level == pytest.approx(line.measured_level_m, rel=1e-6)
        assert heat == pytest.approx(line.measured_temperature_c, rel=1e-6)

    over_tcp(line, check)


def test_orders_are_permutations_and_undo_themselves() -> None:
    data = bytes(range(4))
    orders = {o: reorder(data, o) for o in ("ABCD", "CDAB", "BADC", "DCBA")}
    assert orders == {
        "ABCD": b"\0\1\2\3", "CDAB": b"\2\3\0\1", "BADC": b"\1\0\3\2",
        "DCBA": b"\3\2\1\0",
    }  # fmt: skip
    assert all(reorder(moved, order) == data for order, moved in orders.items())


def test_a_write_moves_the_plant_and_a_bad_one_is_refused() -> None:
    line = plant()

    async def check(plc: Plc, connection: AsyncModbusTcpClient) -> None:
        plc.advance(5 * NS)
        words = list(struct.unpack(">2H", struct.pack(">f", 1.25)))
        answer = await connection.write_registers(0, words)
        assert not answer.isError()
        assert line.level_setpoint_m == 1.25
        assert (await connection.write_coil(0, True)).isError() is False
        assert line.stopped
        plc.advance(20 * NS)
        assert line.pump < 0.01
        half = await connection.write_register(1, 7)
        assert half.exception_code == 2
        serial = await connection.write_register(20, 7)
        assert serial.exception_code == 2
        absent = await connection.read_input_registers(500, count=1)
        assert absent.exception_code == 2
        nobody = await connection.read_input_registers(0, count=1, device_id=9)
        assert nobody.exception_code == 11

    over_tcp(line, check)


def test_exception_fault_answers_its_code_until_it_is_over() -> None:
    line = plant(FaultEvent(at="1s", mode="exception", lasts="1s", code=6))

    async def check(plc: Plc, connection: AsyncModbusTcpClient) -> None:
        codes = []
        for until in (0, 1, 3):
            plc.advance(until * NS)
            answer = await connection.read_input_registers(0, count=2)
            codes.append(answer.exception_code if answer.isError() else 0)
        assert codes == [0, 6, 0]

    over_tcp(line, check)


def test_dead_accepts_and_never_answers() -> None:
    line = plant(FaultEvent(at="0s", mode="dead", lasts="5s"))

    async def check(plc: Plc, connection: AsyncModbusTcpClient) -> None:
        assert connection.connected
        with pytest.raises(ModbusIOException):
            await connection.read_input_registers(0, count=2)
        assert plc.requests == 1  # it was heard

    over_tcp(line, check, patience_s=0.2)


def test_slow_answers_after_its_delay() -> None:
    line = plant(FaultEvent(at="0s", mode="slow", delay="300ms"))

    async def check(plc: Plc, connection: AsyncModbusTcpClient) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        answer = await connection.read_input_registers(0, count=2)
        assert not answer.isError()
        assert loop.time() - before >= 0.29

    over_tcp(line, check)


def test_one_connection_closes_the_second_and_keeps_the_first() -> None:
    line = plant(FaultEvent(at="0s", mode="one-connection"))

    async def check(plc: Plc, connection: AsyncModbusTcpClient) -> None:
        reader, writer = await asyncio.open_connection(HOST, plc.port)
        assert await reader.read(1) == b""  # closed by the PLC
        writer.close()
        await writer.wait_closed()
        answer = await connection.read_input_registers(0, count=2)
        assert not answer.isError()

    over_tcp(line, check)


def test_points_do_not_overlap() -> None:
    for table in (0, 1, 3, 4):
        cells = [
            cell
            for point in POINTS
            if point.table == table
            for cell in range(point.address, point.address + point.registers)
        ]
        assert len(cells) == len(set(cells))
        assert len(image(POINTS, plant(), table)) == max(cells) + 1
