"""Scenario files: what a simulated vehicle, plant or network does, and when.

Schema ``sluicegate/scenario/1``. Unknown fields are refused. Times are text with a unit
(``500us``, ``20ms``, ``1.5s``, ``2m``, ``1h``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from firmware_sim.document import BYTES_MAX, Lines, read_document
from firmware_sim.errors import ScenarioError
from firmware_sim.network.checks import check_network
from firmware_sim.network.model import NetworkScenario
from firmware_sim.schema import (
    NS,
    Duration,
    FileName,
    InverterSpec,
    Name,
    Phase,
    ScenarioHead,
    Strict,
    TankSpec,
    nanoseconds,
    start_ns,
)
from firmware_sim.vin import is_vin

FOLDER: Final = Path(__file__).resolve().parent / "scenarios"


class BusSpec(Strict, frozen=True, kw_only=True):
    """One CAN bus: its database gives messages and cycle times."""

    name: Name
    database: FileName
    fd: bool = False
    diagnostics: bool = False  # OBD-II and UDS conversations run here


class Waypoint(Strict, frozen=True, kw_only=True):
    """A corner of the route (WGS-84). ``limit_kmh`` holds until the next one."""

    lat: Annotated[float, Meta(ge=-80.0, le=80.0)]
    lon: Annotated[float, Meta(ge=-180.0, le=180.0)]
    alt: Annotated[float, Meta(ge=-400.0, le=3000.0)] = 0.0
    limit_kmh: Annotated[float, Meta(ge=5.0, le=250.0)] = 50.0
    stop: Duration = "0s"  # stands here this long; from 10s on in gear P


class DriveSpec(Strict, frozen=True, kw_only=True):
    """A route and how it is driven. One waypoint: the vehicle stands there."""

    waypoints: Annotated[tuple[Waypoint, ...], Meta(min_length=1, max_length=1000)]
    closed: bool = False  # laps without end; otherwise it stands at the last waypoint
    acceleration: Annotated[float, Meta(ge=0.2, le=6.0)] = 1.8  # m/s^2
    braking: Annotated[float, Meta(ge=0.2, le=9.0)] = 2.2
    lateral: Annotated[float, Meta(ge=0.2, le=9.0)] = 2.5
    corner_radius_m: Annotated[float, Meta(ge=3.0, le=2000.0)] = 15.0


VehicleAct: TypeAlias = Literal[
    "open-door", "close-door", "lights-on", "lights-off", "high-beam-on",
    "high-beam-off", "unbelt-driver", "belt-driver", "crash", "read-vin-obd",
    "read-vin-uds", "read-ecu-serial",
]  # fmt: skip
Door: TypeAlias = Literal["driver", "passenger", "rear-left", "rear-right", "trunk"]


class VehicleEvent(Strict, frozen=True, kw_only=True):
    """Something that happens at a time after the start; ``every`` repeats it."""

    at: Duration
    do: VehicleAct
    door: Door = "driver"
    every: Duration | None = None


class VehicleScenario(
    ScenarioHead, tag_field="kind", tag="vehicle", frozen=True, kw_only=True
):
    """A vehicle with its buses, its route and its events."""

    jitter: Duration = "200us"
    vin: str
    ecu_serial: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{4,32}$")]
    buses: Annotated[tuple[BusSpec, ...], Meta(min_length=1, max_length=16)]
    drive: DriveSpec
    ambient_c: Annotated[float, Meta(ge=-39.0, le=60.0)] = 18.0
    soc: Annotated[float, Meta(ge=5.0, le=100.0)] = 80.0
    charging_kw: Annotated[float, Meta(ge=0.0, le=350.0)] = 0.0
    odometer_km: Annotated[float, Meta(ge=0.0, le=2e6)] = 0.0
    events: Annotated[tuple[VehicleEvent, ...], Meta(max_length=1000)] = ()


PlantFault: TypeAlias = Literal[
    "dead", "slow", "exception", "one-connection", "inlet-stuck-open", "sensor-frozen"
]


class FaultEvent(Strict, frozen=True, kw_only=True):
    """What goes wrong, from when and for how long; ``always`` without ``lasts``."""

    at: Duration
    mode: PlantFault
    lasts: Duration | None = None
    delay: Duration = "2s"  # of slow answers
    code: Annotated[int, Meta(ge=1, le=11)] = 6  # Modbus exception, 6: device busy


class PlantScenario(
    ScenarioHead, tag_field="kind", tag="plant", frozen=True, kw_only=True
):
    """A tank line and its PLC."""

    step: Duration = "50ms"
    unit: Annotated[int, Meta(ge=1, le=247)] = 1
    serial: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,16}$")]
    tank: TankSpec = TankSpec()
    inverter: InverterSpec | None = None
    recipe: Annotated[tuple[Phase, ...], Meta(min_length=1, max_length=100)]
    faults: Annotated[tuple[FaultEvent, ...], Meta(max_length=100)] = ()


Scenario: TypeAlias = VehicleScenario | PlantScenario | NetworkScenario


def _check(scenario: Scenario) -> tuple[str, str] | None:
    """Return path and reason of the first thing that types cannot tell."""
    try:
        start_ns(scenario.start)
    except ValueError as error:
        return "$.start", str(error)
    if isinstance(scenario, PlantScenario):
        return _check_plant(scenario)
    if isinstance(scenario, NetworkScenario):
        return check_network(scenario)
    if not is_vin(scenario.vin):
        # Not the text itself: even a fictional VIN does not belong in an error.
        return "$.vin", "is no VIN with a right check digit"
    names = [bus.name for bus in scenario.buses]
    if len(set(names)) < len(names):
        return "$.buses", "two buses of one name"
    for i, event in enumerate(scenario.events):
        if event.every is not None and nanoseconds(event.every) < 100_000_000:
            return f"$.events[{i}].every", "is below 100ms"
    if sum(event.do == "crash" for event in scenario.events) > 1:
        return "$.events", "a vehicle crashes once"
    if scenario.drive.closed and len(scenario.drive.waypoints) < 3:
        return "$.drive.closed", "a closed route has three waypoints or more"
    return None


def _check_plant(scenario: PlantScenario) -> tuple[str, str] | None:
    step = nanoseconds(scenario.step)
    if not 1_000_000 <= step <= NS:
        return "$.step", "must lie in 1ms..1s"
    tank = scenario.tank
    if not tank.trip_low_m < tank.trip_high_m <= tank.height_m:
        return "$.tank", "trip_low_m < trip_high_m <= height_m must hold"
    if scenario.inverter is not None and scenario.inverter.unit == scenario.unit:
        return "$.inverter.unit", "is the PLC's own"
    for i, phase in enumerate(scenario.recipe):
        if nanoseconds(phase.lasts) < step:
            return f"$.recipe[{i}].lasts", "is shorter than a step"
    return None


def _place(path: str, lines: Lines) -> str:
    """Return the line of a path, or of the nearest part above it."""
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["))]
    return str(lines.get(path, 1))


def parse_scenario(data: bytes, file: str) -> Scenario:
    """Return the scenario in ``data``; ScenarioError names line, path and reason."""
    plain, lines = read_document(data, file)
    try:
        scenario: Scenario = msgspec.convert(
            plain, VehicleScenario | PlantScenario | NetworkScenario
        )
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `")
        path = path.rstrip("`") or "$"
        named = re.search(r"unknown field `([^`]+)`", reason)
        below = f"{path}.{named[1]}" if named else path
        raise ScenarioError(file, _place(below, lines), f"{path}: {reason}") from None
    found = _check(scenario)
    if found is not None:
        path, reason = found
        raise ScenarioError(file, _place(path, lines), f"{path}: {reason}")
    return scenario


def load_scenario(name: str) -> Scenario:
    """Return the scenario of that shipped name, or of that file (``*.yaml``).

    Raises ScenarioError.
    """
    is_file = name.endswith((".yaml", ".yml"))
    path = Path(name) if is_file else FOLDER / f"{name}.yaml"
    if not is_file and name not in shipped():
        raise ScenarioError(
            name, "", f"no such scenario: one of {', '.join(shipped())}"
        )
    try:
        with path.open("rb") as file:
            data = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise ScenarioError(name, "", error.strerror or "cannot be read") from None
    return parse_scenario(data, str(path) if is_file else f"{name}.yaml")


def shipped() -> list[str]:
    """Return the names of the scenarios that come with the simulator."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))
