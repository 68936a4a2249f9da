"""Physics of a tank line: a heated tank between an inlet valve and an outlet pump.

Pure and stepped: ``step`` advances by the scenario's step and nothing else moves it, so
a run is deterministic by scenario. What enters and leaves in a step is what the level
changes by, exactly: mass balances to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from firmware_sim.noise import mixed
from firmware_sim.schema import NS, nanoseconds, start_ns

if TYPE_CHECKING:
    from firmware_sim.scenario import FaultEvent, PlantScenario
    from firmware_sim.schema import Phase

RHO: Final = 998.0  # kg/m^3
HEAT: Final = 4184.0  # J/(kg K)
GRAVITY: Final = 9.80665
LOSS_W_K: Final = 85.0
AMBIENT_C: Final = 19.0
HEATER_EFFICIENCY: Final = 0.97
PUMP_RPM: Final = 2900.0
PUMP_W: Final = 7500.0
ACTUATOR_S: Final = 1.2  # time constant of valve and pump
LEVEL_NOISE_M: Final = 0.0008
TEMPERATURE_NOISE_C: Final = 0.02

ALARMS: Final = (
    "level-high", "level-low", "over-temperature", "overflow", "inlet-stuck",
    "sensor-frozen",
)  # fmt: skip


@dataclass(slots=True)
class Pid:
    """A PI controller with output 0..1 and conditional integration (no wind-up)."""

    gain: float
    integral_s: float
    state: float = 0.0

    def update(self, error: float, dt: float) -> float:
        """Return the output for this error."""
        wanted = self.gain * error + self.state
        output = min(max(wanted, 0.0), 1.0)
        if output == wanted or (wanted > 1.0) != (error > 0.0):
            self.state += self.gain * error * dt / self.integral_s
        return output


@dataclass(slots=True)
class Plant:
    """The line's state; SI units but where a name says otherwise."""

    scenario: PlantScenario
    start_ns: int = 0
    steps: int = 0
    level_m: float = 0.0
    temperature_c: float = 0.0
    valve: float = 0.0  # 0..1 opening
    pump: float = 0.0  # 0..1 of full speed
    heater: float = 0.0  # 0..1
    inflow_m3h: float = 0.0
    outflow_m3h: float = 0.0
    overflow_m3: float = 0.0
    supplied_m3: float = 0.0
    produced_m3: float = 0.0
    energy_wh: float = 0.0
    batches: int = 0
    phase_index: int = 0
    phase_left_ns: int = 0
    level_setpoint_m: float = 0.0
    temperature_setpoint_c: float = 0.0
    tripped_high: bool = False
    tripped_low: bool = False
    tripped_hot: bool = False
    stopped: bool = False  # by the operator's coil
    measured_level_m: float = 0.0
    measured_temperature_c: float = 0.0
    events: list[tuple[int, str]] = field(default_factory=list)
    level_pid: Pid = field(default_factory=lambda: Pid(3.0, 25.0))
    heat_pid: Pid = field(default_factory=lambda: Pid(0.25, 180.0))
    _faults: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Fill the tank as the scenario says and begin its recipe."""
        tank = self.scenario.tank
        self.start_ns = start_ns(self.scenario.start)
        self.level_m = self.measured_level_m = min(tank.level_m, tank.height_m)
        self.temperature_c = self.measured_temperature_c = tank.temperature_c
        self._enter(0)

    # --- what others ask ------------------------------------------------------------

    @property
    def time_ns(self) -> int:
        """Nanoseconds since the scenario's start."""
        return self.steps * nanoseconds(self.scenario.step)

    @property
    def phase(self) -> Phase:
        """The recipe's current phase."""
        return self.scenario.recipe[self.phase_index]

    @property
    def pressure_bar(self) -> float:
        """Absolute pressure at the bottom: air and water column."""
        return 1.01325 + RHO * GRAVITY * self.level_m / 1e5

    @property
    def pump_rpm(self) -> float:
        """Pump speed."""
        return self.pump * PUMP_RPM

    @property
    def power_w(self) -> float:
        """Electric power: heater and pump (affinity law: third power of speed)."""
        heater = self.heater * self.scenario.tank.heater_kw * 1000.0
        return heater / HEATER_EFFICIENCY + PUMP_W * self.pump**3

    @property
    def alarms(self) -> tuple[str, ...]:
        """Names of the alarms that stand."""
        tank = self.scenario.tank
        standing = {
            "level-high": self.tripped_high,
            "level-low": self.tripped_low,
            "over-temperature": self.tripped_hot,
            "overflow": self.level_m >= tank.height_m,
            "inlet-stuck": "inlet-stuck-open" in self._faults,
            "sensor-frozen": "sensor-frozen" in self._faults,
        }
        return tuple(name for name in ALARMS if standing[name])

    @property
    def alarm_word(self) -> int:
        """One bit an alarm, in the order of ALARMS."""
        standing = self.alarms
        return sum(1 << i for i, name in enumerate(ALARMS) if name in standing)

    def faults(self) -> tuple[FaultEvent, ...]:
        """Return the faults that hold now."""
        now = self.time_ns
        return tuple(
            fault
            for fault in self.scenario.faults
            if now >= nanoseconds(fault.at)
            and (
                fault.lasts is None
                or now < nanoseconds(fault.at) + nanoseconds(fault.lasts)
            )
        )

    # --- the step --------------------------------------------------------------------

    def step(self) -> None:
        """Advance by one step of the scenario."""
        dt = nanoseconds(self.scenario.step) / NS
        self.steps += 1
        self._note_faults()
        self._recipe()
        self._measure()
        self._interlocks()
        self._control(dt)
        self._flow(dt)
        self._heat(dt)
        self.energy_wh += self.power_w * dt / 3600.0

    def _note(self, what: str) -> None:
        self.events.append((self.time_ns, what))

    def _note_faults(self) -> None:
        modes: frozenset[str] = frozenset(fault.mode for fault in self.faults())
        for mode in sorted(modes - self._faults):
            self._note(f"fault {mode}")
        for mode in sorted(self._faults - modes):
            self._note(f"fault over {mode}")
        self._faults = modes

    def _enter(self, index: int) -> None:
        self.phase_index = index
        phase = self.phase
        self.phase_left_ns += nanoseconds(phase.lasts)
        self.level_setpoint_m = phase.level_m
        self.temperature_setpoint_c = phase.temperature_c

    def _recipe(self) -> None:
        self.phase_left_ns -= nanoseconds(self.scenario.step)
        if self.phase_left_ns > 0:
            return
        following = (self.phase_index + 1) % len(self.scenario.recipe)
        if following == 0:
            self.batches += 1
            self._note("batch done")
        self._enter(following)
        self._note(f"phase {self.phase.name}")

    def _noise(self, channel: int) -> float:
        """Return noise in -1..1, by seed, step and channel."""
        key = self.scenario.seed * 1_000_003 + self.steps * 7 + channel
        number = int(mixed(np.array([key], np.uint64))[0])
        return number / 2**63 - 1.0

    def _measure(self) -> None:
        if "sensor-frozen" not in self._faults:
            self.measured_level_m = self.level_m + LEVEL_NOISE_M * self._noise(0)
        self.measured_temperature_c = (
            self.temperature_c + TEMPERATURE_NOISE_C * self._noise(1)
        )

    def _interlocks(self) -> None:
        """Trip at the limit, release with hysteresis."""
        tank, level = self.scenario.tank, self.measured_level_m
        before = (self.tripped_high, self.tripped_low, self.tripped_hot)
        self.tripped_high = level >= tank.trip_high_m - 0.15 * self.tripped_high
        self.tripped_low = level <= tank.trip_low_m + 0.15 * self.tripped_low
        hot = tank.trip_hot_c - 4.0 * self.tripped_hot
        self.tripped_hot = self.measured_temperature_c >= hot
        after = (self.tripped_high, self.tripped_low, self.tripped_hot)
        for name, was, now in zip(ALARMS, before, after, strict=False):
            if was != now:
                self._note(f"interlock {name} {'tripped' if now else 'released'}")

    def _control(self, dt: float) -> None:
        share = min(dt / ACTUATOR_S, 1.0)
        opening = self.level_pid.update(
            self.level_setpoint_m - self.measured_level_m, dt
        )
        if self.tripped_high or self.stopped:
            opening = 0.0
        self.valve += (opening - self.valve) * share
        if "inlet-stuck-open" in self._faults:
            self.valve = 1.0
        speed = 0.0 if self.tripped_low or self.stopped else self.phase.pump
        self.pump += (speed - self.pump) * share
        heat = self.heat_pid.update(
            self.temperature_setpoint_c - self.measured_temperature_c, dt
        )
        # A dry heater burns out: it shares the low-level trip.
        off = self.tripped_hot or self.tripped_low or self.stopped
        self.heater = 0.0 if off else heat

    def _flow(self, dt: float) -> None:
        tank = self.scenario.tank
        hours = dt / 3600.0
        held = self.level_m * tank.area_m2
        came = tank.inflow_max_m3h * self.valve * hours
        went = min(tank.pump_max_m3h * self.pump * hours, held + came)
        spilt = max(held + came - went - tank.height_m * tank.area_m2, 0.0)
        self.inflow_m3h, self.outflow_m3h = came / hours, went / hours
        self.supplied_m3 += came
        self.produced_m3 += went
        self.overflow_m3 += spilt
        self.level_m = (held + came - went - spilt) / tank.area_m2

    def _heat(self, dt: float) -> None:
        tank = self.scenario.tank
        mass = max(self.level_m * tank.area_m2 * RHO, 1.0)
        supplied = self.inflow_m3h / 3600.0 * RHO * HEAT * tank.supply_c
        # What leaves takes the tank's temperature with it, so only the inflow mixes.
        mixing = supplied - self.inflow_m3h / 3600.0 * RHO * HEAT * self.temperature_c
        gain = self.heater * tank.heater_kw * 1000.0
        loss = LOSS_W_K * (self.temperature_c - AMBIENT_C)
        self.temperature_c += (mixing + gain - loss) * dt / (mass * HEAT)
