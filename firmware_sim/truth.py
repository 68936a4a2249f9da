"""Ground truth beside every output: JSON lines, one header, then states and events.

Line 1: ``{"schema": "sluicegate/truth/1", "kind", "scenario", "seed", "start_ns",
"seconds", ...}``, for a vehicle with ``frames`` (bus -> identifier in hex -> number of
frames), ``vin`` and ``ecu_serial``. Then, ordered by time, ``{"t_ns", "values": {item:
value}}`` each 100 ms and ``{"t_ns", "event", ...}``. ``t_ns`` is since the epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from firmware_sim.diagnostics import READS, request_times
from firmware_sim.inverter import Inverter
from firmware_sim.plant_map import POINTS
from firmware_sim.schema import NS, nanoseconds
from firmware_sim.wiring import ITEMS
from protocols.frames import CAN_EFF_FLAG, CAN_EFF_MASK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from firmware_sim.plant import Plant
    from firmware_sim.traffic import Traffic
    from protocols.frames import FrameBatch

SCHEMA: Final = "sluicegate/truth/1"
STATE_NS: Final = 100_000_000
ROWS: Final = 6000  # states computed at once


class FrameCount:
    """Frames per bus and identifier."""

    def __init__(self, buses: list[str]) -> None:
        """Start at zero."""
        self._buses = buses
        self._counts: dict[tuple[int, int], int] = {}
        self.total = 0

    def add(self, frames: FrameBatch) -> None:
        """Count a batch."""
        key = frames.bus.astype(np.uint64) << np.uint64(32)
        found, counts = np.unique(key | frames.ident, return_counts=True)
        for both, count in zip(found.tolist(), counts.tolist(), strict=True):
            place = (both >> 32, both & 0xFFFFFFFF)
            self._counts[place] = self._counts.get(place, 0) + count
        self.total += len(frames)

    def table(self) -> dict[str, dict[str, int]]:
        """Return bus -> identifier (3 or 8 hex digits) -> frames."""
        result: dict[str, dict[str, int]] = {name: {} for name in self._buses}
        for (bus, ident), count in sorted(self._counts.items()):
            digits = 8 if ident & CAN_EFF_FLAG else 3
            result[self._buses[bus]][f"{ident & CAN_EFF_MASK:0{digits}X}"] = count
        return result


def _line(record: dict[str, object]) -> bytes:
    return msgspec.json.encode(record) + b"\n"


def vehicle_events(traffic: Traffic, t0_ns: int, t1_ns: int) -> list[dict[str, object]]:
    """Return the events in [t0_ns, t1_ns), ns since the start, ordered by time."""
    diagnostics = [b.name for b in traffic.scenario.buses if b.diagnostics]
    found: list[tuple[int, dict[str, object]]] = []
    for event in traffic.scenario.events:
        repeats = event if event.do in READS else None
        at = nanoseconds(event.at)
        times = (
            request_times(repeats, t0_ns, t1_ns)
            if repeats
            else [at] * (t0_ns <= at < t1_ns)
        )
        record: dict[str, object] = {"event": event.do}
        if event.do.endswith("-door"):
            record["door"] = event.door
        if repeats:
            record["buses"] = diagnostics
        found += [(at, record) for at in times]
    return [{"t_ns": at, **record} for at, record in sorted(found, key=lambda f: f[0])]


def vehicle_truth(
    traffic: Traffic,
    t0_ns: int,
    t1_ns: int,
    counts: FrameCount,
    clock: tuple[int, float] | None = None,
) -> Iterator[bytes]:
    """Yield the truth file of the window, line by line (states in blocks).

    ``clock``: epoch ns of the scenario's start and speed, where frames were sent live;
    otherwise the scenario's own start at speed 1.
    """
    scenario = traffic.scenario
    base, speed = clock or (traffic.car.start_ns, 1.0)
    yield _line(
        {
            "schema": SCHEMA, "kind": "vehicle", "scenario": scenario.name,
            "seed": scenario.seed, "start_ns": base + round(t0_ns / speed),
            "seconds": (t1_ns - t0_ns) / NS, "speed": speed, "vin": scenario.vin,
            "ecu_serial": scenario.ecu_serial, "buses": traffic.buses,
            "frames": counts.table(),
        }
    )  # fmt: skip
    events = vehicle_events(traffic, t0_ns, t1_ns)
    for begin in range(t0_ns, t1_ns, STATE_NS * ROWS):
        times = np.arange(begin, min(begin + STATE_NS * ROWS, t1_ns), STATE_NS)
        moment = traffic.car.at(times)
        columns = [ITEMS[name](moment).tolist() for name in ITEMS]
        for row, at in enumerate(times.tolist()):
            while events and int(str(events[0]["t_ns"])) <= at:
                event = events.pop(0)
                when = base + round(int(str(event["t_ns"])) / speed)
                yield _line({**event, "t_ns": when})
            values = {
                name: column[row] for name, column in zip(ITEMS, columns, strict=True)
            }
            yield _line({"t_ns": base + round(at / speed), "values": values})
    for event in events:
        when = base + round(int(str(event["t_ns"])) / speed)
        yield _line({**event, "t_ns": when})


class PlantTruth:
    """The plant's truth file, line by line as the plant goes."""

    def __init__(self, plant: Plant, clock: tuple[int, float] | None = None) -> None:
        """Take epoch ns of the plant's start and speed, where it runs live."""
        self._plant = plant
        self._base, self._speed = clock or (plant.start_ns, 1.0)
        self._next_ns = 0
        self._events = 0

    def header(self) -> bytes:
        """Return the first line."""
        scenario = self._plant.scenario
        return _line(
            {
                "schema": SCHEMA, "kind": "plant", "scenario": scenario.name,
                "seed": scenario.seed, "start_ns": self._base, "speed": self._speed,
                "unit": scenario.unit, "serial": scenario.serial,
            }
        )  # fmt: skip

    def _time(self, at_ns: int) -> int:
        return self._base + round(at_ns / self._speed)

    def lines(self) -> bytes:
        """Return events since the last call, and the state if 100 ms have passed."""
        plant = self._plant
        out = []
        for at, what in plant.events[self._events :]:
            out.append(_line({"t_ns": self._time(at), "event": what}))
        self._events = len(plant.events)
        if plant.time_ns >= self._next_ns:
            self._next_ns = plant.time_ns - plant.time_ns % STATE_NS + STATE_NS
            values = {point.item: point.read(plant) for point in POINTS}
            if plant.scenario.inverter is not None:
                inverter = Inverter(plant.scenario.inverter, plant.time_ns / NS)
                values |= inverter.truth()
            physics = {
                "level_m": plant.level_m,
                "temperature_c": plant.temperature_c,
                "overflow_m3": plant.overflow_m3,
            }
            out.append(
                _line(
                    {
                        "t_ns": self._time(plant.time_ns),
                        "values": values,
                        "physics": physics,
                    }
                )
            )
        return b"".join(out)
