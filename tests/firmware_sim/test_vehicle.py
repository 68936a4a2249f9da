"""The vehicle's physics: what must hold in any drive."""

from __future__ import annotations

import numpy as np
import pytest

from firmware_sim.route import metres_per_degree
from firmware_sim.scenario import VehicleScenario, load_scenario
from firmware_sim.vehicle import PACK_KWH, Car
from firmware_sim.vin import check_digit, is_vin

MS = 1_000_000
S = 1000 * MS


@pytest.fixture(scope="module", params=["city-drive", "motorway", "parked", "crash"])
def car(request: pytest.FixtureRequest) -> Car:
    scenario = load_scenario(request.param)
    assert isinstance(scenario, VehicleScenario)
    return Car(scenario)


def test_speed_is_the_derivative_of_distance(car: Car) -> None:
    time = np.arange(0, 400 * S, 10 * MS)
    moment = car.at(time)
    slope = np.diff(moment.motion.distance) / 0.01
    low = np.minimum(moment.speed[:-1], moment.speed[1:])
    high = np.maximum(moment.speed[:-1], moment.speed[1:])
    # Within one step the speed moves between its ends, or a little beyond (a corner).
    assert (slope >= low - 0.05).all()
    assert (slope <= high + 0.05).all()
    assert np.allclose(slope.sum() * 0.01, moment.motion.distance[-1])


def test_position_moves_with_speed_and_heading(car: Car) -> None:
    moment = car.at(np.arange(0, 400 * S, 10 * MS))
    per_lat, per_lon = metres_per_degree(car.route.latitude_0)
    north = np.diff(moment.latitude) * per_lat
    east = np.diff(moment.longitude) * per_lon
    length = np.hypot(north, east)
    way = np.diff(moment.motion.distance)
    assert np.allclose(length, way, atol=2e-3)
    moving = length > 0.05
    course = np.degrees(np.arctan2(east, north))[moving]
    middle = moment.heading[:-1][moving]
    wrong = np.abs((course - middle + 180.0) % 360.0 - 180.0)
    assert wrong.max(initial=0.0) < 1.5  # half a step of turning


def test_acceleration_limits_hold(car: Car) -> None:
    moment = car.at(np.arange(0, 400 * S, 10 * MS))
    drive = car.scenario.drive
    before = moment.time_s < car.crash_s
    rate = moment.motion.acceleration[before]
    assert rate.max(initial=0.0) <= drive.acceleration + 1e-6
    assert rate.min(initial=0.0) >= -drive.braking - 1e-6
    assert np.abs(moment.lateral[before]).max() <= drive.lateral + 1e-6
    limit = max(w.limit_kmh for w in drive.waypoints)
    assert moment.speed_kmh.max() <= limit + 1e-6


def test_charge_is_the_integral_of_power(car: Car) -> None:
    moment = car.at(np.arange(0, 200 * S, 10 * MS))
    taken = np.sum(moment.power[:-1]) * 0.01
    fell = (moment.soc[0] - moment.soc[-1]) / 100.0 * PACK_KWH * 3.6e6
    assert fell == pytest.approx(taken, rel=0.01, abs=500.0)
    # P = -U * I: the current flows in, the power out.
    assert np.allclose(moment.voltage * moment.current, -moment.power, rtol=1e-6)


def test_wheels_agree_with_speed_and_turn(car: Car) -> None:
    moment = car.at(np.arange(0, 200 * S, 50 * MS))
    left = moment.wheel(front=False, left=True)
    right = moment.wheel(front=False, left=False)
    assert np.allclose((left + right) / 2.0, moment.speed_kmh)
    turn = moment.yaw_rate > 1.0  # to the left: the right wheel is outside
    assert (right[turn] > left[turn]).all()


def test_closed_route_comes_back() -> None:
    scenario = load_scenario("city-drive")
    assert isinstance(scenario, VehicleScenario)
    car = Car(scenario)
    lap_ns = int(car.lap.seconds * S)
    ends = car.at(np.array([0, lap_ns - 1, lap_ns + 1]))
    assert np.ptp(ends.latitude) < 1e-7
    assert np.ptp(ends.longitude) < 1e-7
    turned = np.abs((ends.heading - ends.heading[0] + 180.0) % 360.0 - 180.0)
    assert turned.max() < 1e-3
    assert car.lap.metres > 1000.0


def test_crash_takes_all_speed_and_leaves_the_vehicle_there() -> None:
    scenario = load_scenario("crash")
    assert isinstance(scenario, VehicleScenario)
    car = Car(scenario)
    at = int(car.crash_s * S)
    moment = car.at(np.array([at - 1, at, at + 500 * MS, at + 60 * S]))
    assert moment.speed[0] > 8.0
    assert moment.speed[2:].tolist() == [0.0, 0.0]
    assert moment.crashed.tolist() == [0.0, 1.0, 1.0, 1.0]
    assert moment.latitude[2] == moment.latitude[3]
    assert moment.motion.distance[2] - moment.motion.distance[1] < 3.0


@pytest.mark.parametrize(
    ("vin", "digit"),
    [
        ("11111111111111111", "1"),
        ("1M8GDM9AXKP042788", "X"),
        ("5GZCZ43D13S812715", "1"),
    ],
)
def test_check_digit_of_published_examples(vin: str, digit: str) -> None:
    """Examples of 49 CFR 565 and of the literature on ISO 3779."""
    assert check_digit(vin) == digit
    assert is_vin(vin)


def test_a_vin_with_a_changed_character_is_none() -> None:
    assert not is_vin("LCANARYS9T0163265")
    assert not is_vin("LCANARYS9T016326")
    assert not is_vin("LCANARYS9T016326O")
