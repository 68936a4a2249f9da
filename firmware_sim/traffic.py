"""A vehicle's buses as columns: every message's schedule, encoded over all its times.

Which frame comes when depends on the seed and the frame's number alone, so any window
equals the same part of a longer one, and a capture of hours needs no state.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from firmware_sim.diagnostics import diagnostic_frames
from firmware_sim.encoder import load_messages
from firmware_sim.errors import ScenarioError
from firmware_sim.noise import mixed
from firmware_sim.scenario import FOLDER
from firmware_sim.schema import NS, nanoseconds
from firmware_sim.vehicle import Car
from firmware_sim.wiring import ON_EVENT, WIRING
from protocols.frames import (
    CLASSIC_BYTES_MAX,
    FD_BYTES_MAX,
    FrameBatch,
    concat_frames,
    empty_frames,
)

if TYPE_CHECKING:
    from firmware_sim.encoder import MessageCode
    from firmware_sim.scenario import VehicleScenario
    from protocols.frames import F64, I64, U64

US: Final = 1000  # frames come at whole microseconds, as capture formats keep them
REPEAT_NS: Final = 10_000_000  # between the repeats of an event message
SLICE_NS: Final = 20 * NS  # what is encoded at once; bounds memory


class Sender:
    """One message on one bus."""

    def __init__(self, code: MessageCode, bus: int, car: Car) -> None:
        """Draw the phase from the seed and collect the event times."""
        scenario = car.scenario
        self.code = code
        self.bus = bus
        self._car = car
        self._key = (scenario.seed ^ (bus << 48) ^ (code.ident << 12)) & (2**63 - 1)
        self._jitter_ns = min(nanoseconds(scenario.jitter), max(code.cycle_ns // 2, 0))
        self._phase_ns = (
            int(self._random(np.zeros(1, np.int64))[0]) % code.cycle_ns // US * US
            if code.cycle_ns
            else 0
        )
        names, repeats = ON_EVENT.get(code.name, ((), 0))
        at = np.rint(car.switch_times(names) * NS).astype(np.int64)
        again = np.arange(repeats, dtype=np.int64) * REPEAT_NS
        self._events: I64 = np.sort((at[:, None] + again).ravel())

    def _random(self, number: I64) -> U64:
        return mixed(number.view(np.uint64) + mixed(np.array([self._key], np.uint64)))

    def _jitter(self, number: I64) -> I64:
        """Return how late each cyclic frame is, ns: whole us below the jitter."""
        if self._jitter_ns < US:
            return np.zeros_like(number)
        late = self._random(number + 1) % np.uint64(self._jitter_ns // US)
        return late.astype(np.int64) * US

    def schedule(self, t0_ns: int, t1_ns: int) -> tuple[I64, I64]:
        """Return time and running number of the frames in [t0_ns, t1_ns), by time."""
        times, numbers = np.empty(0, np.int64), np.empty(0, np.int64)
        cycle = self.code.cycle_ns
        if cycle:
            first = max(0, (t0_ns - self._phase_ns - self._jitter_ns) // cycle)
            last = max(first, (t1_ns - self._phase_ns) // cycle + 1)
            numbers = np.arange(first, last, dtype=np.int64)
            times = numbers * cycle + self._phase_ns + self._jitter(numbers)
        numbers = numbers + np.searchsorted(self._events, times, "right")
        if len(self._events):
            before = np.arange(len(self._events), dtype=np.int64)
            if cycle:
                before = before + self._cyclic_before(self._events)
            times = np.concatenate([times, self._events])
            numbers = np.concatenate([numbers, before])
            order = np.argsort(times, kind="stable")
            times, numbers = times[order], numbers[order]
        keep = (times >= t0_ns) & (times < t1_ns)
        return times[keep], numbers[keep]

    def _cyclic_before(self, at: I64) -> I64:
        """Return how many cyclic frames came before each of these times."""
        cycle = self.code.cycle_ns
        # Jitter is below half a cycle: only the frame nearest before can be late.
        number = np.maximum((at - self._phase_ns) // cycle, -1)
        late = number * cycle + self._phase_ns + self._jitter(number) >= at
        before: I64 = number + 1 - (late & (number >= 0))
        return before

    def frames(self, t0_ns: int, t1_ns: int, width: int) -> FrameBatch:
        """Return this message's frames in [t0_ns, t1_ns), ns since the start."""
        times, numbers = self.schedule(t0_ns, t1_ns)
        rows = len(times)
        if not rows:
            return empty_frames(width)
        code = self.code
        moment = self._car.at(times)
        values: dict[str, F64] = {}
        for signal in code.signals:
            quantity = WIRING.get(f"{code.name}.{signal.name}")
            if signal.is_multiplexer:
                choice = np.array(code.mux_values, np.float64)
                values[signal.name] = choice[numbers % len(choice)]
            elif signal.name == "COUNTER":
                values[signal.name] = (numbers % 2**signal.length).astype(np.float64)
            elif quantity is not None:
                values[signal.name] = quantity(moment)
        return FrameBatch(
            times,
            np.full(rows, self.bus, np.uint8),
            np.full(rows, code.ident, np.uint32),
            np.full(rows, code.size, np.uint8),
            np.full(rows, code.flags, np.uint8),
            code.encode(values, rows, width),
        )


class Traffic:
    """All buses of one vehicle; ``buses`` names what ``FrameBatch.bus`` indexes."""

    def __init__(self, scenario: VehicleScenario) -> None:
        """Load the databases; ScenarioError where one (or the route) is refused."""
        self.scenario = scenario
        try:
            self.car = Car(scenario)
        except ValueError as error:
            raise ScenarioError(scenario.name, "", str(error)) from None
        self.buses = [bus.name for bus in scenario.buses]
        self.senders: list[Sender] = []
        for number, bus in enumerate(scenario.buses):
            for code in load_messages(FOLDER / bus.database):
                if code.size > CLASSIC_BYTES_MAX and not bus.fd:
                    reason = f"{code.name} needs CAN FD and {bus.name} has it not"
                    raise ScenarioError(scenario.name, "", reason)
                self.senders.append(Sender(code, number, self.car))
        wide = any(sender.code.size > CLASSIC_BYTES_MAX for sender in self.senders)
        self._width = FD_BYTES_MAX if wide else CLASSIC_BYTES_MAX

    def frames(self, t0_ns: int, t1_ns: int) -> FrameBatch:
        """Return all frames in [t0_ns, t1_ns), ns since the start, ordered by time.

        ``time_ns`` of the result is since the epoch: the scenario's start is added.
        """
        parts = [s.frames(t0_ns, t1_ns, self._width) for s in self.senders]
        parts += [
            diagnostic_frames(self.scenario, number, t0_ns, t1_ns)
            for number, bus in enumerate(self.scenario.buses)
            if bus.diagnostics
        ]
        frames = concat_frames(parts)
        frames = frames.take(np.argsort(frames.time_ns, kind="stable"))
        return FrameBatch(
            frames.time_ns + self.car.start_ns, frames.bus, frames.ident, frames.size,
            frames.flags, frames.payload,
        )  # fmt: skip

    def slices(self, t0_ns: int, t1_ns: int) -> list[tuple[int, int]]:
        """Return the windows that [t0_ns, t1_ns) is made in, so memory is bounded."""
        return [
            (begin, min(begin + SLICE_NS, t1_ns))
            for begin in range(t0_ns, t1_ns, SLICE_NS)
        ]


@lru_cache(maxsize=8)
def _traffic(scenario: VehicleScenario) -> Traffic:
    return Traffic(scenario)


def generate(scenario: VehicleScenario, t0_ns: int, t1_ns: int) -> FrameBatch:
    """Return the frames of [t0_ns, t1_ns), ns since the scenario's start, by time.

    Deterministic by the scenario (seed included): windows put together equal one long
    window. ``bus`` indexes ``scenario.buses``; width 64 where a bus has frames over 8
    bytes. Raises ScenarioError.
    """
    return _traffic(scenario).frames(t0_ns, t1_ns)
