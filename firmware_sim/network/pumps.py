"""A sump that fills, and two pumps that empty it: stepped, deterministic by seed.

Map (0-based). Coils: 0, 1 run command of pump 1, 2 (automatic: the program's own).
Discrete inputs: 0, 1 running, 2 high level, 3 low level. Input registers: 0 level (mm),
1 inflow (0.01 m3/h), 2, 3 flow of pump 1, 2, 4, 5 current (0.01 A), 6-7 volume pumped
(0.001 m3, 32 bits), 8, 9 hours of pump 1, 2 (0.01 h). Holding registers: 100, 101 speed
setpoint of pump 1, 2 (0.1 Hz), 102 start level, 103 stop level (mm).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from firmware_sim.noise import mixed

STEP_NS: Final = 100_000_000
AREA_M2: Final = 9.0
FULL_M3H: Final = 70.0  # of one pump at 50 Hz
HEIGHT_MM: Final = 4000.0
SPEED_AT: Final = 100
START_AT: Final = 102
STOP_AT: Final = 103
LIMITS: Final = {100: (0, 600), 101: (0, 600), 102: (500, 3800), 103: (200, 3500)}
NOISES: Final = 65536


class Pumps:
    """State of the station; only ``advance`` and ``store`` change it."""

    def __init__(self, inflow_m3h: float, seed: int) -> None:
        """Begin half full, everything automatic."""
        self.steps = 0
        self.inflow_m3h = inflow_m3h
        self.level_mm = 1500.0
        self.volume_m3 = 0.0
        self.hours = [100.0, 90.0]
        self.running = [True, False]
        self.stopped = [False, False]  # by a coil
        self.holding = {100: 400, 101: 380, 102: 1800, 103: 1200}
        keys = np.arange(NOISES, dtype=np.uint64) + np.uint64(seed * NOISES)
        # Seconds of the same noise repeat after 1.8 h: a table is faster than a draw.
        self._noise = (mixed(keys) / 2.0**63 - 1.0).tolist()

    def flow_m3h(self, pump: int) -> float:
        """Return what a pump moves now."""
        if not self.running[pump]:
            return 0.0
        return FULL_M3H * self.holding[SPEED_AT + pump] / 500.0

    def inflow(self) -> float:
        """Return the inflow now: slow waves."""
        return self.inflow_m3h * (1.0 + 0.3 * math.sin(self.steps / 1700.0))

    def advance(self, now_ns: int) -> None:
        """Step to ``now_ns`` since the start."""
        while (self.steps + 1) * STEP_NS <= now_ns:
            self.steps += 1
            self._step()

    def _step(self) -> None:
        hours = STEP_NS / 3.6e12
        level = self.level_mm
        start, stop = self.holding[START_AT], self.holding[STOP_AT]
        # Pump 1 between the levels, pump 2 where the sump rises above the start level.
        wants = [
            level > stop,
            level > start + 400 or (self.running[1] and level > start),
        ]
        went = 0.0
        for pump in (0, 1):
            self.running[pump] = wants[pump] and not self.stopped[pump]
            if self.running[pump]:
                self.hours[pump] += hours
                went += self.flow_m3h(pump) * hours
        went = min(went, level / 1000.0 * AREA_M2)
        self.volume_m3 += went
        level += (self.inflow() * hours - went) / AREA_M2 * 1000.0
        self.level_mm = min(max(level, 0.0), HEIGHT_MM)

    def cells(self, table: int) -> dict[int, int]:
        """Return address -> cell of a table."""
        if table == 0:
            return {pump: int(self.running[pump]) for pump in (0, 1)}
        if table == 1:
            high, low = self.level_mm > 3500, self.level_mm < 300
            return dict(enumerate([*map(int, self.running), int(high), int(low)]))
        if table == 4:
            return dict(self.holding)
        noise = self._noise[self.steps % NOISES]
        flows = [self.flow_m3h(0), self.flow_m3h(1)]
        amps = [flow * (0.31 + 0.002 * noise) for flow in flows]
        words = [max(round(self.level_mm + 2.0 * noise), 0), round(100 * self.inflow())]
        words += [round(100 * flow) for flow in flows]
        words += [round(100 * ampere) for ampere in amps]
        volume = round(1000 * self.volume_m3)
        words += [volume >> 16 & 0xFFFF, volume & 0xFFFF]
        words += [round(100 * one) & 0xFFFF for one in self.hours]
        return dict(enumerate(words))

    def store(self, table: int, address: int, values: list[int]) -> bool:
        """Carry out a write; False where there is nothing to be written."""
        places = range(address, address + len(values))
        if table == 0 and set(places) <= {0, 1}:
            for pump, value in zip(places, values, strict=True):
                self.stopped[pump] = not value
            return True
        if table != 4 or not set(places) <= LIMITS.keys():
            return False
        for place, value in zip(places, values, strict=True):
            low, high = LIMITS[place]
            if not low <= value <= high:
                return False
        self.holding.update(zip(places, values, strict=True))
        return True
