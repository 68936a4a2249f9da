"""The example bindings fit the simulator: every signal, point and item exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from firmware_sim.encoder import load_messages
from firmware_sim.plant_map import POINTS
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
