"""The vehicle's physics: every quantity is a function of time, so any window is cheap.

A ``Moment`` holds N times and computes what is asked of it, once. Signs follow COVESA
VSS: steering angle positive to the left, battery current positive into the battery.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from firmware_sim.motion import Motion, build_lap
from firmware_sim.route import build_route
from firmware_sim.schema import NS, nanoseconds, start_ns

if TYPE_CHECKING:
    from firmware_sim.scenario import VehicleScenario
    from protocols.frames import F64, Index

MASS_KG: Final = 1850.0
GRAVITY: Final = 9.80665
ROLLING: Final = 0.011
DRAG: Final = 0.5 * 1.2 * 0.24 * 2.3  # half air density, c_w, frontal area
DRIVE_EFFICIENCY: Final = 0.88
RECUPERATION: Final = 0.62
AUXILIARY_W: Final = 450.0
PACK_KWH: Final = 62.0
PACK_OHM: Final = 0.09
WHEELBASE_M: Final = 2.75
TRACK_M: Final = 1.58
STEERING_RATIO: Final = 14.8
TYRE_M: Final = 0.334
GEAR_RATIO: Final = 9.1
CRASH_S: Final = 0.12  # the time in which a crash takes all speed
GNSS_AFTER_S: Final = 2.0  # no fix before

GEAR_PARK: Final = 126.0
GEAR_DRIVE: Final = 127.0
FRONT, REAR = True, False

# What each act sets: switch and new value. Doors get the door's name.
_ACTS: Final = {
    "open-door": ("", 1.0), "close-door": ("", 0.0),
    "lights-on": ("low-beam", 1.0), "lights-off": ("low-beam", 0.0),
    "high-beam-on": ("high-beam", 1.0), "high-beam-off": ("high-beam", 0.0),
    "unbelt-driver": ("belt", 0.0), "belt-driver": ("belt", 1.0),
    "crash": ("crash", 1.0),
}  # fmt: skip
_INITIAL: Final = {"belt": 1.0}


class Car:
    """A scenario's vehicle: what its drive compiles to."""

    def __init__(self, scenario: VehicleScenario) -> None:
        """Compile route, lap, energy and switches; ValueError for a bad route."""
        self.scenario = scenario
        self.start_ns = start_ns(scenario.start)
        self.route = build_route(scenario.drive)
        self.lap = build_lap(self.route, scenario.drive)
        self.crash_s = min(
            (nanoseconds(e.at) / NS for e in scenario.events if e.do == "crash"),
            default=math.inf,
        )
        self._switches = self._compile_switches()
        self.power, self.energy = self._compile_energy()

    def at(self, time_ns: Index | F64) -> Moment:
        """Return the vehicle at ``time_ns`` [N], ns since the scenario's start."""
        return Moment(self, np.asarray(time_ns, np.float64) / NS)

    def switch(self, name: str, time_s: F64) -> F64:
        """Return a switch's state (0 or 1) at each time."""
        times, states = self._switches.get(name, (np.empty(0), np.zeros(1)))
        result: F64 = states[np.searchsorted(times, time_s, "right")]
        return result

    def switch_times(self, names: tuple[str, ...]) -> F64:
        """Return when any of these switches is set, in seconds, in order."""
        found = [self._switches[n][0] for n in names if n in self._switches]
        return np.unique(np.concatenate(found)) if found else np.empty(0)

    def _compile_switches(self) -> dict[str, tuple[F64, F64]]:
        acts: dict[str, list[tuple[float, float]]] = {name: [] for name in _INITIAL}
        for event in self.scenario.events:
            if event.do in _ACTS:
                name, value = _ACTS[event.do]
                acts.setdefault(name or f"door-{event.door}", []).append(
                    (nanoseconds(event.at) / NS, value)
                )
        return {
            name: (
                np.array([at for at, _ in sorted(steps)]),
                np.array([_INITIAL.get(name, 0.0), *(v for _, v in sorted(steps))]),
            )
            for name, steps in acts.items()
        }

    def _compile_energy(self) -> tuple[F64, F64]:
        """Return mean power of each row of the lap (W) and energy before it (J)."""
        lap = self.lap
        took = np.diff(np.append(lap.time, lap.seconds))
        took[~np.isfinite(took)] = 0.0
        middle = lap.speed + lap.acceleration * took / 2.0
        power = traction_power(middle, lap.acceleration) + AUXILIARY_W
        power[lap.parked] -= self.scenario.charging_kw * 1000.0
        return power, np.concatenate([[0.0], np.cumsum(power * took)])


def traction_power(speed: F64, acceleration: F64) -> F64:
    """Return battery power for the motion, W; negative while recuperating."""
    rolling = np.where(speed > 0.0, ROLLING * MASS_KG * GRAVITY, 0.0)
    force = MASS_KG * acceleration + rolling + DRAG * speed**2
    wheel = force * speed
    return np.where(wheel > 0.0, wheel / DRIVE_EFFICIENCY, wheel * RECUPERATION)


class Moment:
    """N moments of one vehicle; all columns are float64 [N]."""

    def __init__(self, car: Car, time_s: F64) -> None:
        """Take seconds since the scenario's start, >= 0."""
        self.car = car
        self.time_s = time_s

    # --- motion --------------------------------------------------------------------

    @cached_property
    def motion(self) -> Motion:
        """The drive, with the crash in it."""
        crash = self.car.crash_s
        base = self.car.lap.at(np.minimum(self.time_s, crash))
        if not math.isfinite(crash):
            return base
        hit = self.car.lap.at(np.array([crash]))
        speed = float(hit.speed[0])
        since = np.clip(self.time_s - crash, 0.0, CRASH_S)
        past = self.time_s > crash
        slide = speed * since - speed * since**2 / (2.0 * CRASH_S)
        moving = past & (self.time_s < crash + CRASH_S)
        return Motion(
            base.distance + slide,
            base.along + slide,
            np.where(past, speed * (1.0 - since / CRASH_S), base.speed),
            np.where(past, np.where(moving, -speed / CRASH_S, 0.0), base.acceleration),
            base.parked & ~past,
            base.row,
            base.after,
            base.laps,
        )

    @cached_property
    def _place(self) -> tuple[F64, F64, F64, F64]:
        return self.car.route.place(self.motion.along)

    @cached_property
    def curvature(self) -> F64:
        """Path curvature, 1/m, positive to the right; 0 on straight legs."""
        return self._place[3]

    @cached_property
    def _geodetic(self) -> tuple[F64, F64]:
        return self.car.route.geodetic(self._place[0], self._place[1])

    @cached_property
    def latitude(self) -> F64:
        """Degrees north, WGS-84."""
        return self._geodetic[0]

    @cached_property
    def longitude(self) -> F64:
        """Degrees east, WGS-84."""
        return self._geodetic[1]

    @cached_property
    def altitude(self) -> F64:
        """Metres."""
        route = self.car.route
        return np.interp(self.motion.along, route.at, route.altitude)

    @cached_property
    def heading(self) -> F64:
        """Degrees clockwise from north, 0 <= heading < 360."""
        return np.mod(np.degrees(self._place[2]), 360.0)

    @cached_property
    def speed(self) -> F64:
        """Metres per second."""
        return self.motion.speed

    @cached_property
    def speed_kmh(self) -> F64:
        """Kilometres per hour."""
        return self.speed * 3.6

    @cached_property
    def odometer_km(self) -> F64:
        """Kilometres, with those before the scenario."""
        return self.car.scenario.odometer_km + self.motion.distance / 1000.0

    @cached_property
    def steering_angle(self) -> F64:
        """Degrees at the steering wheel, positive to the left (VSS)."""
        return -np.degrees(np.arctan(WHEELBASE_M * self.curvature)) * STEERING_RATIO

    @cached_property
    def yaw_rate(self) -> F64:
        """Degrees per second, positive to the left (ISO 8855)."""
        return -np.degrees(self.speed * self.curvature)

    @cached_property
    def lateral(self) -> F64:
        """m/s^2, positive to the left (ISO 8855)."""
        return -(self.speed**2) * self.curvature

    def wheel(self, *, front: bool, left: bool) -> F64:
        """Wheel speed in km/h: outer wheels go faster, front wheels go further."""
        side = 1.0 if left else -1.0
        wheel = self.speed_kmh * (1.0 + side * self.curvature * TRACK_M / 2.0)
        return wheel * np.hypot(1.0, WHEELBASE_M * self.curvature) if front else wheel

    # --- controls ------------------------------------------------------------------

    def switch(self, name: str) -> F64:
        """State of a switch that events set: 0 or 1."""
        return self.car.switch(name, self.time_s)

    @cached_property
    def gas(self) -> F64:
        """Accelerator pedal, percent."""
        force = self._traction_force
        return np.clip(force / (MASS_KG * 3.5), 0.0, 1.0) * 100.0

    @cached_property
    def brake(self) -> F64:
        """Brake pedal, percent; held while standing in D."""
        # The first 0.8 m/s^2 come from recuperation without the pedal.
        push = np.clip((-self.motion.acceleration - 0.8) / 8.0, 0.0, 1.0) * 100.0
        held = (self.speed == 0.0) & ~self.motion.parked
        return np.where(held, np.maximum(push, 12.0), push)

    @cached_property
    def gear(self) -> F64:
        """VSS SelectedGear: 126 park, 127 drive."""
        return np.where(self.motion.parked, GEAR_PARK, GEAR_DRIVE)

    def indicator(self, *, left: bool) -> F64:
        """Direction indicator: on within and 30 m before a tight corner."""
        ahead = self.car.route.place(self.motion.along + 30.0)[3]
        bend = np.where(np.abs(self.curvature) > 0.01, self.curvature, ahead)
        on = (bend < -0.01) if left else (bend > 0.01)
        return (on & ~self.motion.parked).astype(np.float64)

    # --- battery and motors --------------------------------------------------------

    @cached_property
    def _traction_force(self) -> F64:
        rolling = np.where(self.speed > 0.0, ROLLING * MASS_KG * GRAVITY, 0.0)
        return MASS_KG * self.motion.acceleration + rolling + DRAG * self.speed**2

    @cached_property
    def power(self) -> F64:
        """Battery power in W, positive out of the battery."""
        crashed = self.time_s > self.car.crash_s
        power = self.car.power[self.motion.row]
        return np.where(crashed, AUXILIARY_W, power)

    @cached_property
    def energy(self) -> F64:
        """Energy taken out of the battery since the start, J."""
        m = self.motion
        used = self.car.energy[m.row] + self.car.power[m.row] * m.after
        since = np.maximum(self.time_s - self.car.crash_s, 0.0)
        taken: F64 = used + m.laps * self.car.energy[-1] + since * AUXILIARY_W
        return taken

    @cached_property
    def soc(self) -> F64:
        """State of charge, percent; the simulated pack never goes below 3 %."""
        used = self.energy / (PACK_KWH * 36_000.0)
        return np.clip(self.car.scenario.soc - used, 3.0, 100.0)

    @cached_property
    def voltage(self) -> F64:
        """Terminal voltage, V."""
        return 330.0 + 0.75 * self.soc + self.current * PACK_OHM

    @cached_property
    def current(self) -> F64:
        """Current into the battery, A (VSS sign): the root of P = U * I."""
        open_v = 330.0 + 0.75 * self.soc
        root = np.sqrt(open_v**2 - 4.0 * PACK_OHM * self.power)
        return (root - open_v) / (2.0 * PACK_OHM)

    @cached_property
    def battery_c(self) -> F64:
        """Mean temperature of the pack, degrees Celsius."""
        warm = self.car.scenario.ambient_c + 11.0 * -np.expm1(-self.time_s / 1500.0)
        return warm + 0.4 * np.sin(self.time_s / 97.0)

    @cached_property
    def ambient_c(self) -> F64:
        """Degrees Celsius outside."""
        return self.car.scenario.ambient_c + 0.8 * np.sin(self.time_s / 311.0)

    @cached_property
    def cabin_c(self) -> F64:
        """Degrees Celsius inside: towards 21 with the heat pump."""
        gap = self.car.scenario.ambient_c - 21.0
        return 21.0 + gap * np.exp(-self.time_s / 240.0)

    def motor_rpm(self, *, front: bool) -> F64:
        """Motor speed; the front axle slips a little less."""
        rpm = self.speed / (2.0 * math.pi * TYRE_M) * 60.0 * GEAR_RATIO
        return rpm * (0.998 if front else 1.0)

    def motor_torque(self, *, front: bool) -> F64:
        """Motor torque in Nm; 40 % front, 60 % rear."""
        share = 0.4 if front else 0.6
        return np.clip(self._traction_force * TYRE_M / GEAR_RATIO * share, -350, 350)

    def cell_v(self, cell: int) -> F64:
        """Voltage of one of 96 cells; each has its own small offset."""
        return self.voltage / 96.0 + 0.004 * math.sin(cell * 2.399)

    # --- the rest ------------------------------------------------------------------

    @cached_property
    def crashed(self) -> F64:
        """1 from the crash on."""
        return (self.time_s >= self.car.crash_s).astype(np.float64)

    @cached_property
    def fix(self) -> F64:
        """GNSS fix: 0 none, 3 three-dimensional."""
        return np.where(self.time_s >= GNSS_AFTER_S, 3.0, 0.0)

    @cached_property
    def satellites(self) -> F64:
        """Satellites used."""
        count = 9.0 + np.round(3.0 * np.sin(self.time_s / 41.0))
        return np.where(self.fix > 0.0, count, 0.0)

    @cached_property
    def utc_s(self) -> F64:
        """Whole seconds since the epoch, as a GNSS receiver tells them."""
        return np.floor(self.car.start_ns / NS + self.time_s)

    def zero(self) -> F64:
        """Nothing, N times."""
        return np.zeros_like(self.time_s)
