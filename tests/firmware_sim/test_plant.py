"""The tank line's physics, and its scenario's faults in it."""

from __future__ import annotations

import msgspec
import pytest

from firmware_sim.plant import Plant
from firmware_sim.scenario import NS, PlantScenario, load_scenario, nanoseconds


def line(name: str = "tank-line") -> Plant:
    scenario = load_scenario(name)
    assert isinstance(scenario, PlantScenario)
    return Plant(scenario)


@pytest.mark.parametrize("name", ["tank-line", "tank-line-fault"])
def test_mass_balances_in_every_step(name: str) -> None:
    plant = line(name)
    area = plant.scenario.tank.area_m2
    first = plant.level_m * area
    for _ in range(6000):
        held, supplied = plant.level_m * area, plant.supplied_m3
        produced, spilt = plant.produced_m3, plant.overflow_m3
        plant.step()
        came = plant.supplied_m3 - supplied
        went = plant.produced_m3 - produced + plant.overflow_m3 - spilt
        assert plant.level_m * area - held == pytest.approx(came - went, abs=1e-12)
        assert 0.0 <= plant.level_m <= plant.scenario.tank.height_m + 1e-12
    balance = plant.supplied_m3 - plant.produced_m3 - plant.overflow_m3
    assert plant.level_m * area - first == pytest.approx(balance, abs=1e-9)
    assert plant.produced_m3 > 1.0


def test_the_controller_reaches_each_phase_and_batches_are_counted() -> None:
    plant = line()
    reached = {}
    for _ in range(int(300 * NS / nanoseconds(plant.scenario.step))):
        before = plant.phase.name
        plant.step()
        if plant.phase.name != before:
            reached[before] = plant.level_m
    assert reached["fill"] == pytest.approx(1.8, abs=0.15)
    assert reached["heat"] == pytest.approx(2.0, abs=0.15)
    assert plant.batches == 2  # 150 s a batch
    assert "batch done" in [what for _, what in plant.events]


def test_energy_is_the_integral_of_power() -> None:
    plant = line()
    total = 0.0
    for _ in range(2000):
        plant.step()
        total += plant.power_w * 0.05 / 3600.0
    assert plant.energy_wh == pytest.approx(total, rel=1e-9)
    assert total > 100.0


def test_heat_balances_without_flow() -> None:
    """A closed, stopped tank only loses heat, as the loss coefficient says."""
    scenario = msgspec.structs.replace(
        line().scenario,
        tank=msgspec.structs.replace(line().scenario.tank, temperature_c=60.0),
    )
    plant = Plant(scenario)
    plant.stopped = True
    for _ in range(1200):
        plant.step()
    assert plant.inflow_m3h == plant.outflow_m3h == plant.heater == 0.0
    mass = plant.level_m * scenario.tank.area_m2 * 998.0
    fell = 85.0 * (60.0 - 19.0) * 60.0 / (mass * 4184.0)
    assert 60.0 - plant.temperature_c == pytest.approx(fell, rel=0.01)


def test_interlocks_trip_before_the_tank_runs_over_or_dry() -> None:
    plant = line("tank-line-fault")
    while plant.time_ns < 240 * NS:
        plant.step()
    said = [what for _, what in plant.events]
    assert "fault inlet-stuck-open" in said
    # The valve sticks: the trip cannot close it, so the alarm stands and it spills.
    assert "interlock level-high tripped" in said
    assert plant.overflow_m3 > 0.0
    frozen = plant.measured_level_m
    assert abs(frozen - plant.level_m) > 0.0


def test_same_scenario_same_run_and_another_seed_another() -> None:
    def run(plant: Plant) -> list[float]:
        seen = []
        for _ in range(300):
            plant.step()
            seen.append(plant.measured_level_m)
        return seen

    assert run(line()) == run(line())
    other = Plant(msgspec.structs.replace(line().scenario, seed=1))
    assert run(other) != run(line())
