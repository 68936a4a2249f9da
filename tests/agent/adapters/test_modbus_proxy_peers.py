"""The proxy between masters and devices that others wrote."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import msgspec
import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from agent.adapters.modbus.proxy import ModbusProxy
from firmware_sim.plant import Plant
from firmware_sim.plant_map import POINTS
from firmware_sim.plc import Plc
from firmware_sim.registers import image
from firmware_sim.scenario import FaultEvent, PlantScenario, load_scenario
from protocols.modbus.peers import Peers
from tests.support.libmodbus import LibDevice, LibError, LibMaster, needs_libmodbus
from tests.support.proxying import (
    ALLOW,
    DENY,
    Asking,
    Device,
    allowing,
    counts,
    link_to,
    proxied,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.firewall.decision import Caller, Decision
    from protocols.modbus.pdu import Request


def below_50(_: Caller, __: int, request: object) -> Decision:
    asked = cast("Request", request)
    return ALLOW if asked.address < 50 else DENY


async def with_pymodbus(work: Callable[[int], Awaitable[None]]) -> None:
    """Run ``work`` with the port of pymodbus' server."""
    bits = [SimData(0, values=[False] * 128, datatype=DataType.BITS)]
    words = [SimData(0, count=100, values=7, datatype=DataType.REGISTERS)]
    server = ModbusTcpServer(
        [SimDevice(1, (bits, bits, words, words))], address=("127.0.0.1", 0)
    )
    assert await server.listen()
    transport = server.transport
    assert isinstance(transport, asyncio.Server)
    try:
        await work(transport.sockets[0].getsockname()[1])
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus


def test_pymodbus_on_both_sides() -> None:
    async def work(port: int) -> None:
        proxy = ModbusProxy([link_to(port)], Peers())
        proxy.use(Asking(below_50), clock_ok=True)
        proxy.start()
        client = AsyncModbusTcpClient("127.0.0.1", port=proxy.port("plc1"), retries=0)
        assert await client.connect()
        assert (await client.read_holding_registers(0, count=10)).registers == [7] * 10
        assert not (await client.write_registers(3, [1, 2, 3])).isError()
        assert (await client.read_holding_registers(2, count=5)).registers == [
            7, 1, 2, 3, 7,
        ]  # fmt: skip
        assert not (await client.write_coil(5, value=True)).isError()
        assert (await client.read_coils(0, count=8)).bits[5] is True
        assert (await client.read_input_registers(1, count=1)).registers == [7]
        refused = await client.write_register(60, 1)
        assert refused.isError()
        assert refused.exception_code == 1
        assert (await client.read_holding_registers(49, count=1)).registers == [7]
        client.close()
        await asyncio.to_thread(proxy.stop)

    asyncio.run(with_pymodbus(work))


def test_the_simulated_plc_that_takes_one_connection_serves_eight_masters() -> None:
    async def work() -> None:
        scenario = load_scenario("tank-line")
        assert isinstance(scenario, PlantScenario)
        fault = FaultEvent(at="0s", mode="one-connection")
        plant = Plant(msgspec.structs.replace(scenario, faults=(fault,)))
        plc = Plc(plant)
        proxy = ModbusProxy([link_to(await plc.start("127.0.0.1"))], Peers())
        proxy.use(allowing())
        proxy.start()
        unit, port = plant.scenario.unit, proxy.port("plc1")
        masters = [
            AsyncModbusTcpClient("127.0.0.1", port=port, retries=0) for _ in range(8)
        ]
        for master in masters:
            assert await master.connect()
        wanted = image(POINTS, plant, 3)[:4]
        for _ in range(3):
            answers = await asyncio.gather(
                *(m.read_input_registers(0, count=4, device_id=unit) for m in masters)
            )
            assert [answer.registers for answer in answers] == [wanted] * 8
        for master in masters:
            master.close()
        await asyncio.to_thread(proxy.stop)
        await plc.close()

    asyncio.run(work())


@needs_libmodbus
def test_libmodbus_on_both_sides() -> None:
    device = LibDevice()
    with (
        proxied(device.port, Asking(below_50)) as proxy,
        LibMaster(proxy.port("plc1")) as master,
    ):
        master.write(10, [1, 2, 0xFFFF])
        assert master.registers(9, 5) == [0, 1, 2, 0xFFFF, 0]
        master.write_coil(3, 1)
        assert master.coils(0, 5) == [0, 0, 0, 1, 0]
        master.mask(11, 0xFFFF, 0)
        assert master.write_read(20, [4, 5], 10, 2) == [1, 2]
        assert master.registers(20, 2) == [4, 5]
        with pytest.raises(LibError) as refused:
            master.write(60, [1])
        assert refused.value.exception == 1
        assert master.registers(20, 2) == [4, 5]
        assert counts(proxy).bad_replies == 0


@needs_libmodbus
def test_libmodbus_masters_with_a_device_that_allows_one_connection() -> None:
    with Device(single=True) as device, proxied(device.port, allowing()) as proxy:
        port = proxy.port("plc1")
        with (
            LibMaster(port) as one,
            LibMaster(port) as two,
            LibMaster(port, 7) as three,
        ):
            for address in range(20):
                assert one.registers(address, 1) == [address]
                assert two.registers(address + 100, 1) == [address + 100]
                assert three.registers(address + 200, 1) == [address + 200]
        assert device.connections == 1
