"""The product's own readers find the simulator's truth through the example bindings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from agent.adapters.clock import SystemClock
from agent.adapters.modbus.link import LinkConfig
from agent.adapters.modbus.poll import ModbusPoller
from agent.adapters.modbus.sunspec import load_model
from firmware_sim.inverter import Inverter
from firmware_sim.plant import Plant
from firmware_sim.plant_map import POINTS
from firmware_sim.plc import Plc
from firmware_sim.scenario import PlantScenario, VehicleScenario, load_scenario
from firmware_sim.traffic import Traffic
from firmware_sim.wiring import ITEMS
from policies.bindings import Bound, bind
from policies.parse import parse_bindings
from protocols.can.database import load_database
from protocols.can.decode import decode
from protocols.can.isotp import Diagnostics
from protocols.can.uds import identifiers
from protocols.capture.candump import CandumpParser, encode_candump
from protocols.modbus.decode import compile_points
from protocols.modbus.decode import decode as decode_registers
from protocols.samples import Kind

if TYPE_CHECKING:
    from pathlib import Path

S = 1_000_000_000
PLACE = "Vehicle.CurrentLocation"
# Otherwise half a step of the signal.
NEAR = {
    ("Vehicle.Chassis.SteeringWheel.Angle", Kind.FLOAT): 0.05 + 1e-9,  # fraction's step
    (f"{PLACE}.Latitude", Kind.FLOAT): 1e-9,  # doubles on the FD bus
    (f"{PLACE}.Longitude", Kind.FLOAT): 1e-9,
    (f"{PLACE}.Heading", Kind.FLOAT): 3e-5,  # a float32 below 360
}


@pytest.fixture(scope="module")
def bound(root: Path) -> Bound:
    folder = root / "policies" / "examples"
    documents = [
        parse_bindings((folder / name).read_bytes(), name)
        for name in ("sim-vehicle.bindings.yaml", "sim-plant.bindings.yaml")
    ]
    databases = {
        part.database: load_database(folder / part.database)
        for document in documents
        for part in document.model.can
    }
    models = {number: load_model(number) for number in (1, 103)}
    return bind(documents, databases, ("can0", "can1", "can2"), ("plc1",), models)


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    scenario = load_scenario("city-drive")
    assert isinstance(scenario, VehicleScenario)
    return Traffic(scenario)


def test_a_capture_decodes_to_the_truth_of_every_item(
    bound: Bound, traffic: Traffic
) -> None:
    written = traffic.frames(20 * S, 60 * S)
    parser = CandumpParser()
    frames = parser.feed(encode_candump(written, traffic.buses))
    # Buses are numbered by their first frame in a capture; the plan by its own table.
    number = np.array([traffic.buses.index(name) for name in parser.buses], np.uint8)
    assert (number[frames.bus] == written.bus).all()
    samples = decode(bound.plan, written).samples
    seen = set()
    for index, row in enumerate(bound.rows):
        mine = samples.item == index
        quantity = ITEMS.get(row.name)
        if quantity is None or not mine.any():
            continue
        moment = traffic.car.at(samples.time_ns[mine] - traffic.car.start_ns)
        wrong = np.abs(samples.value[mine] - quantity(moment)).max()
        assert wrong <= NEAR.get((row.name, row.kind), row.scale / 2 + 1e-9), row.name
        seen.add(row.name)
    assert seen == set(ITEMS)


def test_diagnostics_find_vin_and_serial(traffic: Traffic) -> None:
    reader = Diagnostics()
    found = [
        (item.did, item.text)
        for message in reader.feed(traffic.frames(0, 10 * S))
        for item in identifiers(message)
    ]
    vin = traffic.scenario.vin.encode()
    serial = traffic.scenario.ecu_serial.encode()
    assert sorted(text for _, text in found) == sorted([vin, vin, serial])
    counters = reader.counters
    assert counters.sequence_errors == counters.malformed == counters.timeouts == 0


async def _polled(plc: Plc, bound: Bound) -> dict[str, float | bytes]:
    """Poll until every bound item of the plant has come once."""
    poller = ModbusPoller(
        0,
        LinkConfig("plc1", port=await plc.start(), pause_s=0.0),
        bound.modbus,
        clock=SystemClock(),
        chance=lambda: 0.5,
        sunspec=bound.sunspec,
    )
    wanted = {row.name for row in bound.rows if row.name.startswith("Plant.")}
    found: dict[str, float | bytes] = {}
    async with asyncio.timeout(30):
        async for batch in poller.batches():
            read = decode_registers(compile_points(poller.points), batch)
            samples, texts = read.samples, read.texts
            for item, value in zip(samples.item, samples.value, strict=True):
                found[bound.rows[item].name] = float(value)
            for item, text in zip(texts.item, texts.text, strict=True):
                found[bound.rows[item].name] = text
            if set(found) == wanted:
                break
    await plc.close()
    return found


def test_the_poller_reads_the_truth_of_every_point(bound: Bound) -> None:
    scenario = load_scenario("tank-line")
    assert isinstance(scenario, PlantScenario)
    plc = Plc(Plant(scenario))
    plc.advance(120 * S)
    found = asyncio.run(_polled(plc, bound))
    for point in POINTS:
        true = point.read(plc.plant)
        if isinstance(true, str):
            assert found[point.item] == true.encode(), point.item
        else:
            near = max(point.scale / 2, abs(true) * 1e-6) * 1.001
            near = 0.0 if point.type == "coil" else near
            read = found[point.item]
            assert read == pytest.approx(float(true), abs=near), point.item
    assert scenario.inverter is not None
    for name, true in Inverter(scenario.inverter, 120.0).truth().items():
        if isinstance(true, str):
            assert found[name] == true.encode()
        else:
            assert found[name] == pytest.approx(true, rel=2e-3), name
