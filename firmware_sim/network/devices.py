"""Devices as their tables see them: registers and bits as functions of time and writes.

A device never looks at a clock: ``advance`` moves it, and never back.
"""

from __future__ import annotations

import math
import struct
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from firmware_sim.inverter import BASE, Inverter
from firmware_sim.network.model import InverterDevice, MeterDevice, TankDevice
from firmware_sim.network.pumps import Pumps
from firmware_sim.plant import Plant
from firmware_sim.plant_map import POINTS
from firmware_sim.registers import apply_write, image
from firmware_sim.scenario import PlantScenario
from firmware_sim.schema import NS, InverterSpec

if TYPE_CHECKING:
    from firmware_sim.network.model import DeviceSpec

COILS: Final = 0
DISCRETE: Final = 1
INPUT: Final = 3
HOLDING: Final = 4
ILLEGAL_ADDRESS: Final = 2
POWER_LIMIT_AT: Final = 100  # of the inverter, holding, 0.1 %


class Device(ABC):
    """Tables of one unit. ``identity``: the objects of 43/14, basic category."""

    def __init__(self, product: str, serial: str, start: str, seed: int) -> None:
        """Take what identification tells, and the start of time."""
        self.identity: dict[int, bytes] = {
            0: b"Sluicegate simulator",
            1: product.encode("ascii"),
            2: b"1.0",
        }
        self.serial = serial
        self.start = start
        self.seed = seed
        self.silent = False  # forced to listen only (8/4), until 8/1
        self._now_ns = 0  # since the start
        self._images: dict[int, tuple[int, dict[int, int]]] = {}

    def advance(self, now_ns: int) -> None:
        """Move to ``now_ns`` since the start; an earlier time changes nothing."""
        self._now_ns = max(self._now_ns, now_ns)

    def version(self) -> int:
        """Return a number that changes when tables may."""
        return self._now_ns // 100_000_000

    @abstractmethod
    def cells(self, table: int) -> dict[int, int]:
        """Return address -> register (or bit) of a table, as it is now."""

    def store(self, table: int, address: int, values: list[int]) -> bool:
        """Carry out a write; False where it is not allowed there."""
        del table, address, values  # a device that takes nothing
        return False

    def read(self, table: int, address: int, count: int) -> list[int] | None:
        """Return cells, or None where one of them does not exist."""
        version = self.version()
        known = self._images.get(table)
        if known is None or known[0] != version:
            known = (version, self.cells(table))
            self._images[table] = known
        found = [known[1].get(at) for at in range(address, address + count)]
        whole = [cell for cell in found if cell is not None]
        return whole if len(whole) == count else None

    def write(self, table: int, address: int, values: list[int]) -> int:
        """Carry out a write; return 0 or an exception code."""
        self._images.clear()
        return 0 if self.store(table, address, values) else ILLEGAL_ADDRESS


def _numbered(first: int, cells: list[int]) -> dict[int, int]:
    return dict(enumerate(cells, first))


class Tank(Device):
    """The tank line."""

    def __init__(self, spec: TankDevice, start: str, seed: int) -> None:
        """Fill the tank."""
        super().__init__("SIM-TANK", spec.serial, start, seed)
        self.plant = Plant(
            PlantScenario(
                schema="sluicegate/scenario/1", name="tank", seed=seed, start=start,
                step=spec.step, unit=1, serial=spec.serial, tank=spec.tank,
                recipe=spec.recipe,
            )
        )  # fmt: skip

    def advance(self, now_ns: int) -> None:
        """Step the plant."""
        super().advance(now_ns)
        while self.plant.time_ns < now_ns:
            self.plant.step()

    def version(self) -> int:
        """Return the steps made."""
        return self.plant.steps

    def cells(self, table: int) -> dict[int, int]:
        """Return the image of the plant."""
        return _numbered(0, image(POINTS, self.plant, table))

    def store(self, table: int, address: int, values: list[int]) -> bool:
        """Write whole points that may be written."""
        return apply_write(POINTS, self.plant, table, address, values)


class SolarInverter(Device):
    """SunSpec models 1 and 103 at 40000, and a power limit."""

    def __init__(self, spec: InverterDevice, start: str, seed: int) -> None:
        """Begin with full power."""
        super().__init__("SIM-PV", spec.serial, start, seed)
        self._spec = InverterSpec(
            unit=max(spec.unit, 1), peak_kw=spec.peak_kw, energy_kwh=spec.energy_kwh,
            serial=spec.serial,
        )  # fmt: skip
        self.limit = 1000

    def cells(self, table: int) -> dict[int, int]:
        """Return the holding registers; nothing else is there."""
        if table != HOLDING:
            return {}
        now = Inverter(self._spec, self._now_ns / NS)
        return _numbered(BASE, now.registers()) | {POWER_LIMIT_AT: self.limit}

    def store(self, table: int, address: int, values: list[int]) -> bool:
        """Set the power limit."""
        if (table, address, len(values)) != (HOLDING, POWER_LIMIT_AT, 1):
            return False
        if values[0] > 1000:
            return False
        self.limit = values[0]
        return True


class PumpStation(Device):
    """The sump: see ``pumps.py`` for its map."""

    def __init__(self, pumps: Pumps, serial: str, start: str, seed: int) -> None:
        """Take the sump."""
        super().__init__("SIM-PUMPS", serial, start, seed)
        self.pumps = pumps

    def advance(self, now_ns: int) -> None:
        """Step the sump."""
        super().advance(now_ns)
        self.pumps.advance(now_ns)

    def version(self) -> int:
        """Return the steps made."""
        return self.pumps.steps

    def cells(self, table: int) -> dict[int, int]:
        """Return the map."""
        return self.pumps.cells(table)

    def store(self, table: int, address: int, values: list[int]) -> bool:
        """Set speeds, levels and commands."""
        return self.pumps.store(table, address, values)


class Meter(Device):
    """Three phases: voltages, currents, power, frequency and energy; it takes nothing.

    Input registers: 0-2 V (0.1), 3-5 A (0.01), 6 kW (0.01), 7 Hz (0.01), 8-9 kWh (0.1).
    """

    def __init__(self, spec: MeterDevice, start: str, seed: int) -> None:
        """Begin at 1000 kWh."""
        super().__init__("SIM-METER", spec.serial, start, seed)
        self._base_kw = spec.base_kw

    def cells(self, table: int) -> dict[int, int]:
        """Return the readings."""
        if table != INPUT:
            return {}
        s = self._now_ns / NS
        power = self._base_kw * (1.0 + 0.2 * math.sin(s / 47.0))
        volts = [230.0 + 1.5 * math.sin(s / 31.0 + k) for k in range(3)]
        energy = 1000.0 + self._base_kw * (s - 9.4 * (math.cos(s / 47.0) - 1)) / 3600.0
        words = [round(10 * volt) for volt in volts]
        words += [round(100_000 * power / 3.0 / volt) for volt in volts]
        words += [round(100 * power), round(100 * (50 + 0.02 * math.sin(s / 11.0)))]
        words += struct.unpack(">HH", struct.pack(">I", round(10 * energy)))
        return _numbered(0, words)


def build_device(spec: DeviceSpec, start: str, seed: int) -> Device:
    """Return the device of a specification."""
    if isinstance(spec, TankDevice):
        return Tank(spec, start, seed)
    if isinstance(spec, InverterDevice):
        return SolarInverter(spec, start, seed)
    if isinstance(spec, MeterDevice):
        return Meter(spec, start, seed)
    return PumpStation(Pumps(spec.inflow_m3h, seed), spec.serial, start, seed)
