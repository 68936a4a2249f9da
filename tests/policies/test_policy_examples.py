"""The shipped examples compile, lint clean, and say what their comments say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from policies.derive import slowest_ns
from policies.errors import PolicyError
from policies.files import (
    Loaded,
    load,
    load_text,
    load_unbound,
    schema_of,
    shipped,
    shipped_text,
)
from policies.rules import LEAVES
from policies.schema_tool import MODELS, schema_text
from policies.tables import NO_RULE, Action, Aggregate, Grid, Pseudonymise, Role
from protocols.can.decode import decode
from protocols.capture.candump import CandumpParser
from protocols.labels import Geo, Pi, unpack
from protocols.samples import Kind

if TYPE_CHECKING:
    from pathlib import Path

    from policies.compile import Compiled

FLOOR = "policies/examples/owner.floor.yaml"


@pytest.fixture(scope="module")
def rav4(data: Path, root: Path) -> Loaded:
    folder = data / "can-comma2k19-rav4"
    return load("passenger-fleet", ["toyota-rav4-2017"], root / FLOOR, folder)


@pytest.fixture(scope="module")
def gnss(data: Path, root: Path) -> Loaded:
    folder = data / "can-css-gnss"
    return load(
        "passenger-fleet", ["css-gnss"], root / FLOOR, folder, buses=("can1", "can2")
    )


def _first(compiled: Compiled, destination: str, item: str) -> str:
    """Return "rule action" of an unconditional first rule, "" where it is kept back."""
    (found,) = [d for d in compiled.policy.destinations if d.name == destination]
    number = found.chain[compiled.policy.items.name.index(item)].tolist()
    if not number or number[0] == NO_RULE:
        return ""
    rule = compiled.policy.rules[number[0]]
    return f"{rule.name} {rule.action.name.lower()}"


def test_what_is_shipped() -> None:
    assert shipped("examples") == (
        "demo",
        "factory-line",
        "lockdown",
        "passenger-fleet",
        "sim-network",
    )
    assert {"css-gnss.bindings", "toyota-rav4-2017.bindings"} <= {*shipped("bindings")}


def test_lockdown_is_the_default_and_lets_nothing_out() -> None:
    loaded = load(None)
    policy = loaded.compiled.policy
    assert policy.name == "lockdown"
    assert policy.rules == ()
    assert [d.name for d in policy.destinations] == ["device"]
    assert policy.destinations[0].recipients == ()
    assert loaded.findings == ()


def test_passenger_fleet_passes_its_lint_and_the_owners_floor(
    rav4: Loaded, gnss: Loaded
) -> None:
    for loaded in (rav4, gnss):
        assert loaded.errors == ()
        assert loaded.violations == ()


def test_every_item_of_the_example_bindings_is_classified(
    rav4: Loaded, gnss: Loaded
) -> None:
    for loaded in (rav4, gnss):
        items = loaded.compiled.policy.items
        assert items.classified.all()
        assert len(items) > 20


def test_the_shipped_bindings_decode_the_recording_to_the_reference(
    rav4: Loaded, data: Path
) -> None:
    """Reference: wheel speeds (m/s) and steering angle that others published."""
    folder = data / "can-comma2k19-rav4"
    parser = CandumpParser()
    frames = parser.feed((folder / "rav4_5s.candump.log").read_bytes())
    assert parser.buses[rav4.compiled.buses.index("can0")] == "can0"
    samples = decode(rav4.compiled.plan, frames).samples
    wheel = "Vehicle.Chassis.Axle.Row{}.Wheel.{}.Speed"
    names = [wheel.format(row, side) for row in (1, 2) for side in ("Left", "Right")]
    table = np.genfromtxt(
        folder / "rav4_5s.reference.csv", delimiter=",", skip_header=1
    )
    for column, name in enumerate(names, start=1):
        row = rav4.compiled.policy.items.name.index(name)
        value = samples.value[samples.item == row] / 3.6
        assert len(value) == len(table) == 414
        assert np.abs(value - table[:, column]).max() < 1e-9
    row = rav4.compiled.policy.items.name.index("Vehicle.Chassis.SteeringWheel.Angle")
    mine = samples.item == row
    at = np.searchsorted(samples.time_ns[mine], (table[:, 0] * 1e9).astype(np.int64))
    found = samples.value[mine][np.maximum(at - 1, 0)]
    assert np.abs(found - table[:, 5]).max() < 1e-9


def test_the_brief_of_passenger_fleet(rav4: Loaded) -> None:
    compiled = rav4.compiled
    angle = "Vehicle.Chassis.SteeringWheel.Angle"
    assert _first(compiled, "oem", angle) == "chassis-thinned encrypt"
    assert _first(compiled, "supplier", angle) == "brake-wear-abroad encrypt"
    wheel = "Vehicle.Chassis.Axle.Row1.Wheel.Left.Speed"
    assert _first(compiled, "oem", wheel) == "speed-thinned encrypt"
    assert _first(compiled, "supplier", wheel) == ""
    rpm = "Vehicle.Powertrain.CombustionEngine.Speed"
    assert _first(compiled, "oem", rpm) == "powertrain-thinned encrypt"
    vin = "Vehicle.VehicleIdentification.VIN"
    assert _first(compiled, "oem", vin) == "vin-pseudonym encrypt"
    assert _first(compiled, "supplier", vin) == ""
    door = "Vehicle.Cabin.Door.Row1.DriverSide.IsOpen"
    for destination in ("oem", "supplier"):
        assert _first(compiled, destination, door) == "cabin-nothing drop"
    rules = {rule.name: rule for rule in compiled.policy.rules}
    abroad = rules["brake-wear-abroad"].transforms
    assert any(isinstance(step, Aggregate) for step in abroad)
    assert any(
        isinstance(step, Pseudonymise) for step in rules["vin-pseudonym"].transforms
    )
    assert (
        compiled.policy.items.kind[compiled.policy.items.name.index(vin)] == Kind.TEXT
    )
    assert [d.suite for d in compiled.policy.destinations[:2]] == [
        "x25519-aes256gcm", "mlkem768x25519-aes256gcm",
    ]  # fmt: skip
    assert compiled.diagnostics[0].obd == (9, 2)


def test_no_precise_position_can_leave_under_passenger_fleet(gnss: Loaded) -> None:
    """Of every rule that could ever decide on a position, not of a sample of drives."""
    policy = gnss.compiled.policy
    places = [
        row
        for row in range(len(policy.items))
        if unpack(int(policy.items.label[row])).geo >= Geo.PRECISE
    ]
    assert len(places) == 2 * 9  # nine position items, on two buses
    for destination in policy.destinations:
        for row in places:
            for number in destination.chain[row].tolist():
                if number == NO_RULE or policy.rules[number].action not in LEAVES:
                    continue
                rule = policy.rules[number]
                assert policy.items.role[row] in {Role.LATITUDE, Role.LONGITUDE}
                assert destination.name == "oem"
                sizes = [s.size_m for s in rule.transforms if isinstance(s, Grid)]
                assert sizes == [1100.0]
                assert slowest_ns(rule.transforms) == 60 * 10**9
                label = unpack(int(rule.label_out[row]))
                assert (label.geo, label.pi) == (Geo.COARSE, Pi.PERSONAL)
                assert rule.category_out[row] == "location.coarse"


def test_no_example_sends_what_together_is_something_graver(
    rav4: Loaded, gnss: Loaded
) -> None:
    """Of nobody, and least of all the supplier abroad: a trajectory or a recipe."""
    unbound = [load_unbound(name) for name in shipped("examples")]
    simulated = [
        load("passenger-fleet", ["sim-vehicle"]),
        load("demo", ["sim-vehicle", "sim-plant"]),
        load("factory-line", ["sim-plant"]),
        load("factory-line", ["sim-network"]),
    ]
    for loaded in (rav4, gnss, *unbound, *simulated):
        for form in loaded.compiled.forms:
            assert not form.raised
            assert not form.cut


def test_a_trajectory_for_the_supplier_would_be_found() -> None:
    """The same policy, careless twice: the brakes at full rate, and the speed."""
    text = shipped_text("examples", "passenger-fleet").decode()
    window = "do: [{aggregate: {window: 10m, of: [min, mean, max, count]}}, encrypt]"
    assert window in text
    head, tail = text.split("  - name: brake-wear-abroad", 1)
    speed = (
        "  - {name: speed-abroad, match: {item: Vehicle.Speed}, to: supplier,"
        " purpose: p, do: [encrypt]}\n"
    )
    careless = f"{head}{speed}  - name: brake-wear-abroad{tail}"
    careless = careless.replace(window, "do: [encrypt]").encode()
    loaded = load_text(careless, "careless.yaml", ["sim-vehicle"])
    found = {one.rule: one.reason for one in loaded.findings}
    assert "SteeringWheel.Angle stay: with what else goes to supplier" in found["SG019"]
    angle = "Vehicle.Chassis.SteeringWheel.Angle"
    assert _first(loaded.compiled, "supplier", angle) == ""
    without = careless.replace(b", max_tier: G2, pi: none}", b"}")
    loaded = load_text(without, "careless.yaml", ["sim-vehicle"])
    assert {"SG002", "SG018"} <= {one.rule for one in loaded.findings}
    assert loaded.errors  # a track abroad needs an approval


def test_positions_of_each_bus_are_a_group_of_their_own(gnss: Loaded) -> None:
    items = gnss.compiled.policy.items
    roles = (Role.LATITUDE, Role.LONGITUDE, Role.FIX)
    by_group = {
        group: sorted(
            int(items.role[row])
            for row in range(len(items))
            if items.group[row] == group
        )
        for group in (0, 1)
    }
    for found in by_group.values():
        assert set(map(int, roles)) <= set(found)
        assert len(found) == len(set(found))


def test_the_speed_of_the_gnss_module_is_in_the_unit_of_vss(gnss: Loaded) -> None:
    items = gnss.compiled.policy.items
    row = items.name.index("Vehicle.Speed")
    assert items.unit[row] == "km/h"
    factors = [b.parts for b in gnss.compiled.can if b.item == row]
    assert math.isclose(factors[0][0][1], 3.6)


def test_factory_line_keeps_recipes_and_interlocks(tmp_path: Path) -> None:
    file = tmp_path / "plant.yaml"
    points = ("Line1.Tank.Level", "Line1.Recipe.Water", "Line1.Interlock.Level",
              "Line1.Output.Count", "Line1.Pump1.Run",
              "Line1.Tank.HighAlarm")  # fmt: skip
    lines = [
        f"      - {{item: Plant.{name}, table: 4, address: {number}}}"
        for number, name in enumerate(points)
    ]
    head = "schema: sluicegate/bindings/1\nname: plant\nmodbus:\n  - link: plc\n"
    file.write_text(head + "    unit: 1\n    points:\n" + "\n".join(lines) + "\n")
    loaded = load("factory-line", [file])
    compiled = loaded.compiled
    assert loaded.errors == ()
    assert _first(compiled, "plant", "Plant.Line1.Tank.Level").startswith(
        "process-down"
    )
    assert _first(compiled, "plant", "Plant.Line1.Recipe.Water") == "recipes-stay drop"
    interlock = "Plant.Line1.Interlock.Level"
    assert _first(compiled, "plant", interlock) == "interlocks-kept drop"
    assert _first(compiled, "device", interlock) == "interlocks-kept keep"
    assert _first(compiled, "plant", "Plant.Line1.Pump1.Run") == "commands-stay drop"
    count = "Plant.Line1.Output.Count"
    assert _first(compiled, "plant", count) == "production-counts encrypt"
    alarm = "Plant.Line1.Tank.HighAlarm"
    assert _first(compiled, "maintenance", alarm) == "alarms encrypt"
    assert compiled.policy.custodian == "plant-safety-2026"
    assert {r.purpose for r in compiled.policy.rules if r.name == "condition"} == {
        "maintenance"
    }
    keeps = [r for r in compiled.policy.rules if r.action == Action.KEEP]
    assert len(keeps) == 1


def test_files_that_are_not_there_are_one_line(tmp_path: Path, data: Path) -> None:
    with pytest.raises(PolicyError, match=r"nothing\.yaml: No such file or directory"):
        load(tmp_path / "nothing.yaml")
    with pytest.raises(
        PolicyError, match=r"can\[0\]\.database: no such file: 'gnss\.dbc'"
    ):
        load("passenger-fleet", ["css-gnss"])
    policy = tmp_path / "p.yaml"
    policy.write_text(
        "schema: sluicegate/policy/1\nname: p\nversion: 1\ncatalogues: [own.yaml]\n"
    )
    with pytest.raises(
        PolicyError, match=r"p\.yaml:4: catalogues\[0\]: .*own\.yaml: No"
    ):
        load(policy)
    broken = tmp_path / "gnss.dbc"
    broken.write_bytes(b"BO_ nonsense")
    with pytest.raises(PolicyError, match=r"can\[0\]\.database: .*gnss\.dbc"):
        load("passenger-fleet", ["css-gnss"], None, tmp_path)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_shipped_schemas_are_current(name: str) -> None:
    """Else run ``python -m policies.schema_tool``."""
    assert schema_of(name) == schema_text(name)
