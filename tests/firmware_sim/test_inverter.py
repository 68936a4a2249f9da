"""The SunSpec inverter, found and read by SunSpec's own client over TCP."""

from __future__ import annotations

import asyncio

import pytest
import sunspec2.modbus.client as sunspec

from firmware_sim.inverter import Inverter
from firmware_sim.plant import Plant
from firmware_sim.plc import Plc
from firmware_sim.scenario import NS, InverterSpec, PlantScenario, load_scenario


def test_energy_is_the_integral_of_power() -> None:
    spec = InverterSpec(energy_kwh=5.0)
    steps = [Inverter(spec, t / 10).power_w for t in range(6000)]
    energy = Inverter(spec, 600.0).energy_wh
    assert energy == pytest.approx(5000.0 + sum(steps) / 10 / 3600, rel=1e-3)


def test_pysunspec2_finds_both_models_with_the_true_values() -> None:
    scenario = load_scenario("tank-line")
    assert isinstance(scenario, PlantScenario)
    plant = Plant(scenario)

    def scan(port: int) -> dict[str, object]:
        device = sunspec.SunSpecModbusClientDeviceTCP(
            slave_id=2, ipaddr="127.0.0.1", ipport=port, timeout=30
        )
        try:
            device.scan()
            common, inverter = device.models[1][0], device.models[103][0]
            names = ("W", "A", "WH", "Hz", "TmpCab", "PF", "PhVphA", "TmpSnk")
            read = {name: getattr(inverter, name).cvalue for name in names}
            return {**read, "SN": common.SN.value, "len": inverter.model_len}
        finally:
            device.close()

    async def run() -> dict[str, object]:
        plc = Plc(plant)
        await plc.start()
        plc.advance(100 * NS)
        try:
            return await asyncio.to_thread(scan, plc.port)
        finally:
            await plc.close()

    read = asyncio.run(run())
    assert scenario.inverter is not None
    true = Inverter(scenario.inverter, 100.0)
    assert read["W"] == pytest.approx(true.power_w, abs=5.0)
    assert read["A"] == pytest.approx(true.current_a, abs=0.005)
    assert read["WH"] == pytest.approx(true.energy_wh, abs=0.5)
    assert read["Hz"] == pytest.approx(true.frequency_hz, abs=0.005)
    assert read["TmpCab"] == pytest.approx(true.cabinet_c, abs=0.05)
    assert read["PhVphA"] == pytest.approx(231.0)
    assert read["PF"] == 100
    assert read["TmpSnk"] is None  # not implemented
    assert read["SN"] == "SGSIM-PV-0003"
    assert read["len"] == 50
