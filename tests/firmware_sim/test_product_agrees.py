"""The product's own readers find the simulator's truth through the example bindings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from agent.adapters.modbus_sunspec import load_model
from firmware_sim.scenario import VehicleScenario, load_scenario
from firmware_sim.traffic import Traffic
from firmware_sim.wiring import ITEMS
from policies.bindings import Bound, bind
from policies.parse import parse_bindings
from protocols.can.database import load_database
from protocols.can.decode import decode
from protocols.can.isotp import Diagnostics
from protocols.can.uds import identifiers
from protocols.capture.candump import CandumpParser, encode_candump
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
