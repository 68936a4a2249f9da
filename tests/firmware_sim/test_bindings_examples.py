"""The example bindings fit the simulator: every signal, point and item exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from firmware_sim.encoder import load_messages
from firmware_sim.network.model import NetworkScenario
from firmware_sim.network.world import World
from firmware_sim.plant_map import POINTS
from firmware_sim.scenario import load_scenario
from firmware_sim.schema import NS
from firmware_sim.wiring import ITEMS

if TYPE_CHECKING:
    from pathlib import Path


def test_vehicle_bindings_name_real_signals_and_leave_some_unbound(root: Path) -> None:
    path = root / "policies" / "examples" / "sim-vehicle.bindings.yaml"
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    bound, real, items = set(), set(), set()
    for part in loaded["can"]:
        for code in load_messages(path.parent / part["database"]):
            real |= {f"{code.name}.{signal.name}" for signal in code.signals}
        bound |= set(part["signals"])
        items |= set(part["signals"].values())
        for combined in part.get("combined", []):
            bound |= {f"{combined['message']}.{name}" for name in combined["parts"]}
            items.add(combined["item"])
    assert bound < real
    assert set(ITEMS) <= items  # the truth has no item that nobody binds


def test_plant_bindings_equal_the_plc_map(root: Path) -> None:
    path = root / "policies" / "examples" / "sim-plant.bindings.yaml"
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    (part,) = loaded["modbus"]
    told = {
        (
            p["item"], p["table"], p["address"], p["type"], p.get("order", "ABCD"),
            p.get("length", 0), p.get("scale", 1.0), p.get("unit", ""),
        )
        for p in part["points"]
    }  # fmt: skip
    assert told == {
        (p.item, p.table, p.address, p.type, p.order, p.length, p.scale, p.unit)
        for p in POINTS
    }


def test_network_bindings_name_registers_that_the_devices_have(root: Path) -> None:
    path = root / "policies" / "examples" / "sim-network.bindings.yaml"
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    scenario = load_scenario("plant-network")
    assert isinstance(scenario, NetworkScenario)
    world = World(scenario)
    world.now_ns = 60 * NS
    bound = set()
    for part in loaded["modbus"]:
        device = world.device(part["link"], part["unit"])
        assert device is not None
        for point in part["points"]:
            size = {"coil": 1, "u16": 1, "i16": 1, "string": point.get("length")}
            cells = device.read(
                point["table"], point["address"], size.get(point["type"], 2)
            )
            assert cells is not None, point["item"]
            bound.add((part["link"], part["unit"]))
    bound |= {(part["link"], part["unit"]) for part in loaded["sunspec"]}
    assert bound == set(world.devices)
    # What the HMI sets has a name.
    points = {
        (part["link"], point["table"], point["address"])
        for part in loaded["modbus"]
        for point in part["points"]
    }
    for client in scenario.clients:
        for one in client.setpoints:
            assert (one.to, 0 if one.type == "coil" else 4, one.address) in points
