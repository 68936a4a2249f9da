"""The tank line's points: one of every register type and word order.

``policies/examples/sim-plant.bindings.yaml`` binds them; a test holds both together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from firmware_sim.registers import RegisterPoint

if TYPE_CHECKING:
    from firmware_sim.plant import Plant

LINE: Final = "Plant.Line1"


def _set_level(plant: Plant, value: float) -> None:
    plant.level_setpoint_m = min(max(value, 0.0), plant.scenario.tank.height_m)


def _set_temperature(plant: Plant, value: float) -> None:
    plant.temperature_setpoint_c = min(max(value, 0.0), 99.0)


def _set_stopped(plant: Plant, value: float) -> None:
    plant.stopped = bool(value)


def _p(item: str) -> str:
    return f"{LINE}.{item}"


P = RegisterPoint

COILS: Final = (
    P(_p("Control.StopCommand"), 0, 0, "coil", lambda p: p.stopped, write=_set_stopped),
    P(_p("Inlet.ValveCommand"), 0, 1, "coil", lambda p: p.valve > 0.01),
    P(_p("Pump.RunCommand"), 0, 2, "coil", lambda p: p.pump > 0.01),
    P(_p("Heater.OnCommand"), 0, 3, "coil", lambda p: p.heater > 0.0),
)
DISCRETE: Final = (
    P(_p("Interlock.LevelHigh"), 1, 0, "coil", lambda p: p.tripped_high),
    P(_p("Interlock.LevelLow"), 1, 1, "coil", lambda p: p.tripped_low),
    P(_p("Interlock.OverTemperature"), 1, 2, "coil", lambda p: p.tripped_hot),
    P(_p("Alarm.Any"), 1, 3, "coil", lambda p: p.alarm_word > 0),
    P(_p("Pump.Run"), 1, 4, "coil", lambda p: p.pump > 0.05),
)
INPUT: Final = (
    P(_p("Tank.Level"), 3, 0, "f32", lambda p: p.measured_level_m, unit="m"),
    P(
        _p("Tank.Temperature"), 3, 2, "f32", lambda p: p.measured_temperature_c,
        order="CDAB", unit="degC",
    ),
    P(
        _p("Tank.Pressure"), 3, 4, "u16", lambda p: p.pressure_bar, scale=0.0001,
        unit="bar",
    ),
    P(_p("Inlet.Flow"), 3, 5, "u16", lambda p: p.inflow_m3h, scale=0.01, unit="m3/h"),
    P(_p("Outlet.Flow"), 3, 6, "u16", lambda p: p.outflow_m3h, scale=0.01, unit="m3/h"),
    P(
        _p("Tank.NetFlow"), 3, 7, "i16", lambda p: p.inflow_m3h - p.outflow_m3h,
        scale=0.01, unit="m3/h",
    ),
    P(_p("Pump.Speed"), 3, 8, "u16", lambda p: p.pump_rpm, scale=0.1, unit="rpm"),
    P(_p("Inlet.ValvePosition"), 3, 9, "u16", lambda p: p.valve * 100.0, scale=0.01,
      unit="%"),
    P(_p("Energy.Active"), 3, 10, "u32", lambda p: p.energy_wh, unit="Wh"),
    P(
        _p("Production.Volume"), 3, 12, "u32", lambda p: p.produced_m3, order="CDAB",
        scale=0.001, unit="m3",
    ),
    P(_p("Energy.Power"), 3, 14, "f32", lambda p: p.power_w, order="BADC", unit="W"),
    P(
        _p("Tank.Balance"), 3, 16, "i32", lambda p: p.supplied_m3 - p.produced_m3,
        order="DCBA", scale=0.0001, unit="m3",
    ),
    P(_p("Production.Batches"), 3, 18, "u16", lambda p: p.batches),
    P(_p("Alarm.Word"), 3, 19, "u16", lambda p: p.alarm_word),
)  # fmt: skip
HOLDING: Final = (
    P(
        _p("Recipe.LevelSetpoint"), 4, 0, "f32", lambda p: p.level_setpoint_m,
        unit="m", write=_set_level,
    ),
    P(
        _p("Recipe.TemperatureSetpoint"), 4, 2, "f32",
        lambda p: p.temperature_setpoint_c, order="CDAB", unit="degC",
        write=_set_temperature,
    ),
    P(_p("Interlock.HighTrip"), 4, 4, "f32", lambda p: p.scenario.tank.trip_high_m,
      unit="m"),
    P(_p("Interlock.LowTrip"), 4, 6, "f32", lambda p: p.scenario.tank.trip_low_m,
      unit="m"),
    P(_p("Interlock.HotTrip"), 4, 8, "i16", lambda p: p.scenario.tank.trip_hot_c,
      scale=0.1, unit="degC"),
    P(_p("Recipe.Phase"), 4, 9, "u16", lambda p: p.phase_index),
    P(_p("Recipe.PhaseName"), 4, 10, "string", lambda p: p.phase.name, length=8),
    P(_p("Pid.LevelGain"), 4, 18, "f32", lambda p: p.level_pid.gain),
    P(
        _p("Identity.SerialNumber"), 4, 20, "string", lambda p: p.scenario.serial,
        length=8,
    ),
)  # fmt: skip
POINTS: Final = COILS + DISCRETE + INPUT + HOLDING
