"""`sluicegate run` in another world: a clock that is wrong, buses that never rest.

    python -m tests.support.worlds run -c gw.toml

``clock`` in the working folder holds seconds by which the wall clock is wrong; it is
looked at on every call, so that a test can step it. ``flood`` holds frames per second
that each configured bus gets, instead of being opened; it may change meanwhile.
``flood.ident`` names the one identifier that they have. What was offered stands in
``offered.BUS`` when the bus is closed.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agent.adapters.clock import SystemClock
from agent.adapters.opening import open_bus
from agent.commands import run as daemon
from agent.commands.parts import World
from firmware_sim.scenario import VehicleScenario, load_scenario
from firmware_sim.traffic import Traffic
from protocols.frames import concat_frames

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.config import Can
    from agent.ports import FrameSource
    from protocols.frames import FrameBatch

_LOADING = threading.Lock()

BATCH = 4096


class WrongClock(SystemClock):
    """A wall clock that is wrong by what the file ``clock`` says."""

    def now_ns(self) -> int:
        return super().now_ns() + _number("clock") * 1_000_000_000

    def is_synchronised(self) -> bool:
        return False


def frames_of(scenario: str = "city-drive", seconds: int = 20) -> FrameBatch:
    """Return a simulated vehicle's frames, to be sent again and again."""
    # msgspec builds what it knows of a type at its first use, and not for two threads.
    with _LOADING:
        found = load_scenario(scenario)
    assert isinstance(found, VehicleScenario)
    return Traffic(found).frames(0, seconds * 1_000_000_000)


def at(
    frames: FrameBatch, start: int, count: int, now_ns: int, span_ns: int
) -> FrameBatch:
    """Return ``count`` frames from ``start`` on, round and round, timed up to now."""
    taken = frames.take(np.arange(start, start + count) % len(frames))
    taken.time_ns[:] = (
        now_ns - span_ns + np.linspace(0, span_ns, count).astype(np.int64)
    )
    return taken


class Flood:
    """A bus that brings as many frames as it is told, in full batches."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._frames = frames_of()
        if ident := _number("flood.ident"):
            only = np.flatnonzero(self._frames.ident == ident)
            self._frames = self._frames.take(only)
        while len(self._frames) < 2 * BATCH:
            self._frames = concat_frames([self._frames, self._frames])
        self._share = np.arange(1, BATCH + 1)
        self._offered = 0
        self._open = True

    async def batches(self) -> AsyncIterator[FrameBatch]:
        clock = SystemClock()
        due_ns = clock.monotonic_ns()
        while self._open:
            span_ns = BATCH * 1_000_000_000 // max(_number("flood"), 1)
            await asyncio.sleep(max(0, due_ns - clock.monotonic_ns()) / 1e9)
            due_ns = max(due_ns, clock.monotonic_ns() - 10 * span_ns) + span_ns
            self._offered += BATCH
            yield self._timed(clock.now_ns(), span_ns)

    def _timed(self, now_ns: int, span_ns: int) -> FrameBatch:
        """Return the next frames up to now; cheap: the flow is to be busy, not we."""
        first = self._offered % (len(self._frames) - BATCH)
        taken = self._frames.take(slice(first, first + BATCH))
        time_ns = now_ns - span_ns + self._share * span_ns // BATCH
        return replace(taken, time_ns=time_ns)

    def lost(self) -> int:
        return 0

    def close(self) -> None:
        self._open = False
        Path(f"offered.{self.name}").write_text(str(self._offered), encoding="ascii")


def _number(name: str) -> int:
    file = Path(name)
    return int(file.read_text(encoding="ascii") or "0") if file.exists() else 0


def _open(can: Can, number: int) -> FrameSource:
    return Flood(can.name) if _number("flood") else open_bus(can, number)


if __name__ == "__main__":
    world = World(WrongClock(), _open, daemon.on_signals)
    sys.exit(daemon.main(sys.argv[2:], world))
