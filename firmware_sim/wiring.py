"""What each signal of the shipped databases carries, and the item it is in truth.

Signals that are not here are sent as zero bits. Items are COVESA VSS paths; a quantity
without one is real on the bus and has no name outside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from firmware_sim.vehicle import GEAR_PARK, GRAVITY, Moment

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocols.frames import F64

Quantity: TypeAlias = "Callable[[Moment], F64]"

COARSE_DEG: Final = 1.5  # step of the coarse part of the steering angle


def _coarse(m: Moment) -> F64:
    return np.rint(m.steering_angle / COARSE_DEG) * COARSE_DEG


def _severity(m: Moment) -> F64:
    return m.crashed * 3.0


def _object(number: int, what: str) -> Quantity:
    """A made-up road user that swings around a place ahead."""

    def compute(m: Moment) -> F64:
        phase = m.time_s / (7.0 + number) + number
        if what == "DISTANCE":
            return 20.0 * number + 8.0 * np.sin(phase)
        if what == "RELATIVE_SPEED":
            return 8.0 / (7.0 + number) * np.cos(phase)
        return 15.0 * np.sin(phase / 3.0)

    return compute


def _cell(number: int) -> Quantity:
    return lambda m: m.cell_v(number)


def _ripple(period_s: float, size: float) -> Quantity:
    return lambda m: size * np.sin(m.time_s / period_s) * (m.speed > 0.0)


_CHASSIS: Final[dict[str, Quantity]] = {
    "CRASH.CRASH_DETECTED": lambda m: m.crashed,
    "CRASH.SEVERITY": _severity,
    "WHEEL_SPEEDS.WHEEL_FL": lambda m: m.wheel(front=True, left=True),
    "WHEEL_SPEEDS.WHEEL_FR": lambda m: m.wheel(front=True, left=False),
    "WHEEL_SPEEDS.WHEEL_RL": lambda m: m.wheel(front=False, left=True),
    "WHEEL_SPEEDS.WHEEL_RR": lambda m: m.wheel(front=False, left=False),
    "STEERING.STEER_ANGLE": _coarse,
    "STEERING.STEER_FRACTION": lambda m: m.steering_angle - _coarse(m),
    "STEERING.STEER_TORQUE": lambda m: m.lateral * 0.6,
    "VEHICLE_DYNAMICS.SPEED": lambda m: m.speed_kmh,
    "VEHICLE_DYNAMICS.YAW_RATE": lambda m: m.yaw_rate,
    "VEHICLE_DYNAMICS.ACCEL_LONG": lambda m: m.motion.acceleration,
    "VEHICLE_DYNAMICS.ACCEL_LAT": lambda m: m.lateral,
    "IMU.IMU_X": lambda m: m.motion.acceleration,
    "IMU.IMU_Y": lambda m: m.lateral,
    "IMU.IMU_Z": lambda m: m.zero() + GRAVITY,
    "BRAKES.PRESSURE_FL": lambda m: m.brake * 0.9,
    "BRAKES.PRESSURE_FR": lambda m: m.brake * 0.9,
    "BRAKES.PRESSURE_RL": lambda m: m.brake * 0.6,
    "BRAKES.PRESSURE_RR": lambda m: m.brake * 0.6,
    "MOTOR_FRONT.MF_SPEED": lambda m: m.motor_rpm(front=True),
    "MOTOR_FRONT.MF_TORQUE": lambda m: m.motor_torque(front=True),
    "MOTOR_FRONT.MF_TEMPERATURE": lambda m: m.battery_c + 9.0,
    "MOTOR_REAR.MR_SPEED": lambda m: m.motor_rpm(front=False),
    "MOTOR_REAR.MR_TORQUE": lambda m: m.motor_torque(front=False),
    "MOTOR_REAR.MR_TEMPERATURE": lambda m: m.battery_c + 14.0,
    "PEDALS.GAS_PEDAL": lambda m: m.gas,
    "PEDALS.BRAKE_PEDAL": lambda m: m.brake,
    "PEDALS.BRAKE_PRESSED": lambda m: (m.brake > 0.0).astype(np.float64),
    "PEDALS.GEAR": lambda m: m.gear,
    "BATTERY.SOC": lambda m: m.soc,
    "BATTERY.PACK_VOLTAGE": lambda m: m.voltage,
    "BATTERY.PACK_CURRENT": lambda m: m.current,
    "BATTERY.PACK_TEMPERATURE": lambda m: m.battery_c,
    **{f"BATTERY_CELLS.CELL_{cell}": _cell(cell) for cell in range(1, 13)},
    "ODOMETER.ODOMETER_KM": lambda m: m.odometer_km,
    "ODOMETER.TRIP_KM": lambda m: m.motion.distance / 1000.0,
}

_BODY: Final[dict[str, Quantity]] = {
    "DOORS.DOOR_FL": lambda m: m.switch("door-driver"),
    "DOORS.DOOR_FR": lambda m: m.switch("door-passenger"),
    "DOORS.DOOR_RL": lambda m: m.switch("door-rear-left"),
    "DOORS.DOOR_RR": lambda m: m.switch("door-rear-right"),
    "DOORS.TRUNK": lambda m: m.switch("door-trunk"),
    "LIGHTS.LOW_BEAM": lambda m: m.switch("low-beam"),
    "LIGHTS.HIGH_BEAM": lambda m: m.switch("high-beam"),
    "LIGHTS.INDICATOR_LEFT": lambda m: m.indicator(left=True),
    "LIGHTS.INDICATOR_RIGHT": lambda m: m.indicator(left=False),
    "LIGHTS.BRAKE_LIGHT": lambda m: (m.brake > 0.0).astype(np.float64),
    "CLIMATE.AMBIENT": lambda m: m.ambient_c,
    "CLIMATE.CABIN": lambda m: m.cabin_c,
    "SEATS.DRIVER_SEATED": lambda m: (m.gear != GEAR_PARK).astype(np.float64),
    "SEATS.DRIVER_BELT": lambda m: m.switch("belt"),
    "GNSS_POSITION.GNSS_LATITUDE": lambda m: m.latitude,
    "GNSS_POSITION.GNSS_LONGITUDE": lambda m: m.longitude,
    "GNSS_MOTION.GNSS_ALTITUDE": lambda m: m.altitude,
    "GNSS_MOTION.GNSS_HEADING": lambda m: m.heading,
    "GNSS_MOTION.GNSS_SPEED": lambda m: m.speed,
    "GNSS_MOTION.GNSS_FIX": lambda m: m.fix,
    "GNSS_MOTION.GNSS_SATELLITES": lambda m: m.satellites,
    "GNSS_TIME.GNSS_UTC": lambda m: m.utc_s,
}

_ADAS: Final[dict[str, Quantity]] = {
    "FUSION.EGO_LATITUDE": lambda m: m.latitude,
    "FUSION.EGO_LONGITUDE": lambda m: m.longitude,
    "FUSION.EGO_SPEED": lambda m: m.speed,
    "FUSION.EGO_HEADING": lambda m: m.heading,
    "FUSION.EGO_YAW_RATE": lambda m: m.yaw_rate,
    **{
        f"FUSION.OBJ{number}_{what}": _object(number, what)
        for number in range(1, 5)
        for what in ("DISTANCE", "RELATIVE_SPEED", "BEARING")
    },
    "RIDE.HEIGHT_FL": lambda m: m.zero() + 141.0,
    "RIDE.HEIGHT_FR": lambda m: m.zero() + 140.0,
    "RIDE.HEIGHT_RL": lambda m: m.zero() + 144.0,
    "RIDE.HEIGHT_RR": lambda m: m.zero() + 143.0,
    "RIDE.ROLL": lambda m: 0.4 * m.lateral,
    "RIDE.PITCH": _ripple(1.7, 0.6),
}

WIRING: Final[dict[str, Quantity]] = {**_CHASSIS, **_BODY, **_ADAS}

# Item of the truth file -> what it is. Units as the databases have them.
ITEMS: Final[dict[str, Quantity]] = {
    "Vehicle.Speed": lambda m: m.speed_kmh,
    "Vehicle.CurrentLocation.Latitude": lambda m: m.latitude,
    "Vehicle.CurrentLocation.Longitude": lambda m: m.longitude,
    "Vehicle.CurrentLocation.Altitude": lambda m: m.altitude,
    "Vehicle.CurrentLocation.Heading": lambda m: m.heading,
    "Vehicle.Chassis.SteeringWheel.Angle": lambda m: m.steering_angle,
    "Vehicle.Chassis.Axle.Row1.Wheel.Left.Speed": _CHASSIS["WHEEL_SPEEDS.WHEEL_FL"],
    "Vehicle.Chassis.Axle.Row1.Wheel.Right.Speed": _CHASSIS["WHEEL_SPEEDS.WHEEL_FR"],
    "Vehicle.Chassis.Axle.Row2.Wheel.Left.Speed": _CHASSIS["WHEEL_SPEEDS.WHEEL_RL"],
    "Vehicle.Chassis.Axle.Row2.Wheel.Right.Speed": _CHASSIS["WHEEL_SPEEDS.WHEEL_RR"],
    "Vehicle.AngularVelocity.Yaw": lambda m: m.yaw_rate,
    "Vehicle.Acceleration.Longitudinal": lambda m: m.motion.acceleration,
    "Vehicle.Acceleration.Lateral": lambda m: m.lateral,
    "Vehicle.Chassis.Accelerator.PedalPosition": lambda m: m.gas,
    "Vehicle.Chassis.Brake.PedalPosition": lambda m: m.brake,
    "Vehicle.Powertrain.Transmission.SelectedGear": lambda m: m.gear,
    "Vehicle.Powertrain.TractionBattery.StateOfCharge.Current": lambda m: m.soc,
    "Vehicle.Powertrain.TractionBattery.CurrentVoltage": lambda m: m.voltage,
    "Vehicle.Powertrain.TractionBattery.CurrentCurrent": lambda m: m.current,
    "Vehicle.Powertrain.TractionBattery.Temperature.Average": lambda m: m.battery_c,
    "Vehicle.TraveledDistance": lambda m: m.odometer_km,
    "Vehicle.Exterior.AirTemperature": lambda m: m.ambient_c,
    "Vehicle.Cabin.HVAC.AmbientAirTemperature": lambda m: m.cabin_c,
    "Vehicle.Cabin.Door.Row1.DriverSide.IsOpen": _BODY["DOORS.DOOR_FL"],
    "Vehicle.Cabin.Door.Row1.PassengerSide.IsOpen": _BODY["DOORS.DOOR_FR"],
    "Vehicle.Cabin.Door.Row2.DriverSide.IsOpen": _BODY["DOORS.DOOR_RL"],
    "Vehicle.Cabin.Door.Row2.PassengerSide.IsOpen": _BODY["DOORS.DOOR_RR"],
    "Vehicle.Body.Trunk.Rear.IsOpen": _BODY["DOORS.TRUNK"],
    "Vehicle.Body.Lights.Beam.Low.IsOn": _BODY["LIGHTS.LOW_BEAM"],
    "Vehicle.Body.Lights.Beam.High.IsOn": _BODY["LIGHTS.HIGH_BEAM"],
    "Vehicle.Body.Lights.DirectionIndicator.Left.IsSignaling": _BODY[
        "LIGHTS.INDICATOR_LEFT"
    ],
    "Vehicle.Body.Lights.DirectionIndicator.Right.IsSignaling": _BODY[
        "LIGHTS.INDICATOR_RIGHT"
    ],
    "Vehicle.Cabin.Seat.Row1.DriverSide.IsOccupied": _BODY["SEATS.DRIVER_SEATED"],
    "Vehicle.Cabin.Seat.Row1.DriverSide.IsBelted": _BODY["SEATS.DRIVER_BELT"],
    "Vehicle.Safety.CrashDetected": lambda m: m.crashed,
}

# Switches that make a message go out at once, and how often it repeats then.
ON_EVENT: Final[dict[str, tuple[tuple[str, ...], int]]] = {
    "CRASH": (("crash",), 10),
    "DOORS": (
        (
            "door-driver", "door-passenger", "door-rear-left", "door-rear-right",
            "door-trunk",
        ),
        3,
    ),
    "LIGHTS": (("low-beam", "high-beam"), 3),
    "SEATS": (("belt",), 3),
}  # fmt: skip
