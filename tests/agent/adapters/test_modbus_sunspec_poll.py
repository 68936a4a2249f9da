"""SunSpec over a real connection: pysunspec2 encodes, the poller finds and reads."""

from __future__ import annotations

import asyncio
import struct
import time
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import sunspec2.device as oracle
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from agent.adapters.modbus.link import LinkConfig
from agent.adapters.modbus.poll import ModbusPoller
from agent.adapters.modbus.sunspec import load_model
from agent.errors import BadInput
from protocols.modbus.decode import compile_points, decode
from protocols.modbus.plan import NeverRange
from protocols.modbus.sunspec import MARKER, SunSpecBinding
from protocols.modbus.values import Point

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

BASE = 40_000


class LoopClock:
    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def half() -> float:
    return 0.5


def registers_of(model: oracle.Model) -> list[int]:
    image = model.get_mb()
    registers = list(struct.unpack(f">{len(image) // 2}H", image))
    registers[1] = len(registers) - 2
    return registers


def inverter() -> tuple[list[int], dict[str, float]]:
    """Models 1, 103 and 160 in a row, and what pysunspec2 says they tell."""
    common = oracle.Model(1, data={"Mn": "ACME", "SN": "SN-0042"})
    three = oracle.Model(
        103,
        data={
            "A": 2301, "A_SF": -2, "W": -512, "W_SF": 1, "Hz": 5001, "Hz_SF": -2,
            "WH": 123_456_789, "WH_SF": 0, "St": 4,
        },
    )  # fmt: skip
    modules = [{"ID": i, "DCA": 10 * i, "DCV": 3000 + i} for i in range(9)]
    strings = oracle.Model(
        160, data={"N": 9, "DCA_SF": -1, "DCV_SF": -1, "module": modules}
    )
    told = {name: three.points[name].cvalue for name in ("A", "W", "Hz", "WH", "St")}
    for index in (0, 8):
        point = strings.groups["module"][index].points["DCV"]
        told[f"module[{index}].DCV"] = point.cvalue
    models = [registers_of(model) for model in (common, three, strings)]
    return [*MARKER, *models[0], *models[1], *models[2], 0xFFFF, 0], told


@asynccontextmanager
async def serving(registers: Sequence[int]) -> AsyncIterator[int]:
    device = SimDevice(
        1, simdata=[SimData(BASE, values=list(registers), datatype=DataType.REGISTERS)]
    )
    server = ModbusTcpServer(device, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        yield server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # asyncio's Server
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus's own


def poller_of(
    port: int,
    bindings: Sequence[SunSpecBinding],
    points: Sequence[Point] = (),
    never: Sequence[NeverRange] = (),
) -> ModbusPoller:
    config = LinkConfig("sun", port=port, pause_s=0.0, period_ns=5_000_000)
    return ModbusPoller(
        0, config, points, clock=LoopClock(), chance=half, never=never, sunspec=bindings
    )


def bindings_of(names: Sequence[str]) -> list[SunSpecBinding]:
    return [
        SunSpecBinding(item, 0, 1, 160 if "[" in name else 103, name)
        for item, name in enumerate(names)
    ]


def test_an_inverter_is_found_and_read() -> None:
    registers, told = inverter()
    names = list(told)
    serial = SunSpecBinding(90, 0, 1, 1, "SN")
    absent = [
        SunSpecBinding(91, 0, 1, 103, "W", instance=1),
        SunSpecBinding(92, 0, 1, 103, "nosuch"),
        SunSpecBinding(93, 0, 1, 701, "W"),
    ]
    other_link = SunSpecBinding(94, 1, 1, 103, "W")

    async def scenario() -> tuple[dict[int, float], set[bytes], ModbusPoller]:
        values: dict[int, float] = {}
        texts: set[bytes] = set()
        async with serving(registers) as port:
            poller = poller_of(port, [*bindings_of(names), serial, *absent, other_link])
            assert (poller.points, poller.revision) == ((), 0)
            async with aclosing(poller.batches()) as batches:  # type: ignore[type-var]  # an async generator
                async for batch in batches:
                    assert poller.revision == 1
                    found = decode(compile_points(poller.points), batch)
                    samples = found.samples
                    values |= dict(
                        zip(samples.item.tolist(), samples.value.tolist(), strict=True)
                    )
                    texts |= set(found.texts.text)
                    if len(values) == len(names) and texts:
                        break
        return values, texts, poller

    values, texts, poller = asyncio.run(scenario())
    assert values == pytest.approx(dict(enumerate(told.values())), rel=1e-12)
    assert texts == {b"SN-0042"}
    counts = poller.statistics()
    assert counts.sunspec_absent == 3
    assert (counts.timeouts, counts.searches_failed, counts.connects) == (0, 0, 1)


@pytest.mark.parametrize(
    ("registers", "failed"),
    [([0] * 40, 0), ([*MARKER, 1, 66], 1), ([*MARKER, 103, 9, *[0] * 9, 0xFFFF, 0], 0)],
    ids=["no marker", "cut chain", "short model"],
)
def test_a_device_without_the_models_still_gives_its_other_points(
    registers: list[int], failed: int
) -> None:
    async def scenario() -> ModbusPoller:
        async with serving(registers) as port:
            point = Point(7, 0, 1, 4, BASE, "u16")
            poller = poller_of(port, bindings_of(["W", "WH"]), [point])
            async with aclosing(poller.batches()) as batches:  # type: ignore[type-var]  # an async generator
                async for batch in batches:
                    assert batch.values[0] == registers[0]
                    return poller
        raise AssertionError

    poller = asyncio.run(scenario())
    assert poller.revision == 0
    assert [point.item for point in poller.points] == [7]
    counts = poller.statistics()
    assert counts.searches_failed == failed
    assert counts.sunspec_absent == (0 if failed else 2)


def test_found_points_that_may_not_be_read_are_left_out() -> None:
    registers, _ = inverter()

    async def scenario() -> ModbusPoller:
        async with serving(registers) as port:
            point = Point(7, 0, 1, 4, BASE, "u16")
            never = [NeverRange(0, 1, 4, BASE + 72, 50)]
            poller = poller_of(port, bindings_of(["W"]), [point], never)
            async with aclosing(poller.batches()) as batches:  # type: ignore[type-var]  # an async generator
                async for _ in batches:
                    return poller
        raise AssertionError

    poller = asyncio.run(scenario())
    assert [point.item for point in poller.points] == [7]
    assert poller.statistics().searches_failed == 1
    assert poller.statistics().sunspec_absent == 1


def test_models_that_nobody_published_are_refused_by_name() -> None:
    assert load_model(103).id == 103
    with pytest.raises(BadInput, match="SunSpec model 9"):
        load_model(9_999)
    with pytest.raises(BadInput, match="SunSpec model 9"):
        poller_of(502, [SunSpecBinding(0, 0, 1, 9_999, "W")])
