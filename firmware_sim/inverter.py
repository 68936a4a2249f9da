"""A solar inverter as a SunSpec device: models 1 (common) and 103 (three phase).

SunSpec Device Information Model: the marker at 40000, then models one behind the other,
each with a header (id, length), and the end model 0xFFFF. Values are functions of time,
so energy is the exact integral of power.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from firmware_sim.schema import InverterSpec

BASE: Final = 40000
MEAN: Final = 0.55  # of the peak power
SWING: Final = 0.35
PERIOD_S: Final = 90.0  # clouds pass
PHASE_V: Final = 231.0
EFFICIENCY: Final = 0.975
STATE_MPPT: Final = 4  # model 103, point St

_NONE_U16: Final = 0xFFFF
_NONE_I16: Final = -0x8000


@dataclass(frozen=True, slots=True)
class Inverter:
    """The inverter at one time."""

    spec: InverterSpec
    time_s: float

    @property
    def power_w(self) -> float:
        """AC power."""
        share = MEAN + SWING * math.sin(self.time_s / PERIOD_S)
        return self.spec.peak_kw * 1000.0 * share

    @property
    def energy_wh(self) -> float:
        """AC energy since the start and before it."""
        swing = SWING * PERIOD_S * (1.0 - math.cos(self.time_s / PERIOD_S))
        joule = self.spec.peak_kw * 1000.0 * (MEAN * self.time_s + swing)
        return self.spec.energy_kwh * 1000.0 + joule / 3600.0

    @property
    def current_a(self) -> float:
        """AC current, all phases together."""
        return self.power_w / PHASE_V

    @property
    def frequency_hz(self) -> float:
        """Grid frequency."""
        return 50.0 + 0.02 * math.sin(self.time_s / 13.0)

    @property
    def cabinet_c(self) -> float:
        """Cabinet temperature."""
        return 24.0 + 18.0 * self.power_w / (self.spec.peak_kw * 1000.0)

    def truth(self) -> dict[str, float | str]:
        """Return the values of the items that the example bindings name."""
        return {
            "Plant.Inverter1.Power": self.power_w,
            "Plant.Inverter1.Current": self.current_a,
            "Plant.Inverter1.Energy": self.energy_wh,
            "Plant.Inverter1.Frequency": self.frequency_hz,
            "Plant.Inverter1.CabinetTemperature": self.cabinet_c,
            "Plant.Inverter1.SerialNumber": self.spec.serial,
        }

    def registers(self) -> list[int]:
        """Return all registers from BASE on."""
        data = b"SunS" + self._common() + self._three_phase() + b"\xff\xff\0\0"
        return list(struct.unpack(f">{len(data) // 2}H", data))

    def _common(self) -> bytes:
        """Model 1: maker, model, options, version, serial, device address, pad."""
        texts = (
            ("Sluicegate simulator", 32), ("SIM-PV", 32), ("", 16), ("1.0", 16),
            (self.spec.serial, 32),
        )  # fmt: skip
        body = b"".join(text.encode().ljust(size, b"\0") for text, size in texts)
        body += struct.pack(">HH", self.spec.unit, 0x8000)
        return struct.pack(">HH", 1, len(body) // 2) + body

    def _three_phase(self) -> bytes:
        """Model 103, integers with scale factors, in the order of its definition."""
        power, phase = self.power_w, round(self.current_a / 3.0 * 100)
        line_v, phase_v = round(PHASE_V * math.sqrt(3.0) * 10), round(PHASE_V * 10)
        direct = power / EFFICIENCY
        body = struct.pack(">4Hh", round(self.current_a * 100), phase, phase, phase, -2)
        body += struct.pack(">6Hh", *[line_v] * 3, *[phase_v] * 3, -1)
        body += struct.pack(">hh", round(power / 10.0), 1)
        body += struct.pack(">Hh", round(self.frequency_hz * 100), -2)
        body += struct.pack(">hh", round(power / 10.0), 1)  # VA: no reactive power
        body += struct.pack(">hh", 0, 1) + struct.pack(">hh", 100, 0)  # VAr, PF in %
        body += struct.pack(">Ih", round(self.energy_wh), 0)
        body += struct.pack(">Hh", round(direct / 620.0 * 100), -2)
        body += struct.pack(">Hh", 6200, -1)
        body += struct.pack(">hh", round(direct / 10.0), 1)
        cabinet = round(self.cabinet_c * 10)
        body += struct.pack(">5h", cabinet, *[_NONE_I16] * 3, -1)
        body += struct.pack(">HH", STATE_MPPT, _NONE_U16)
        body += struct.pack(">2I", 0, 0) + struct.pack(">4I", 0, 0, 0, 0)
        return struct.pack(">HH", 103, len(body) // 2) + body
