"""D8: what error frames say of a bus, and buses that go away (inspection.md 2.2).

Thresholds are declared, nothing is learned. A bus-off of this gateway's controller may
be an attack on it or its wiring; an interface that goes was pulled or taken down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from agent.inspection.findings import ALL_IDENTS, CanId, Finding, Level
from protocols.can.error_frames import (
    PASSIVE,
    Controller,
    ErrorClass,
    is_error,
    of_class,
    of_controller,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.inspection.findings import View
    from protocols.frames import Bool, FrameBatch

BURST_FRAMES: Final = 100  # error frames of a bus in one second
NS: Final = 1_000_000_000


class BusErrors:
    """D8. Alerts for bus-off, error-passive, bursts and buses that go; else notices."""

    def __init__(self) -> None:
        """Begin with no second under way."""
        # bus -> (second, error frames in it). Written by inspect() only.
        self._seconds: dict[int, tuple[int, int]] = {}

    def inspect(self, view: View) -> list[Finding]:
        """Return one finding per bus and kind of trouble."""
        found = [
            Finding(
                "D8", Level.ALERT, CanId(change.bus, ALL_IDENTS), 1, change.time_ns,
                change.time_ns, change.state, "gone",
            )
            for change in view.changes
        ]  # fmt: skip
        errors = is_error(view.frames)
        if not errors.any():
            return found
        frames = view.frames.take(errors)
        off = of_class(frames, ErrorClass.BUS_OFF)
        passive = of_controller(frames, PASSIVE)
        overrun = of_controller(frames, Controller.RX_OVERFLOW)
        found += _each(frames, off, Level.ALERT, "bus-off")
        found += _each(frames, passive, Level.ALERT, "passive")
        found += _each(frames, overrun, Level.NOTICE, "overrun")
        found += _each(frames, ~(off | passive | overrun), Level.NOTICE, "")
        found += self._bursts(frames)
        return found

    def _bursts(self, frames: FrameBatch) -> Iterator[Finding]:
        """Yield one finding per bus and second that is full of errors."""
        key = frames.time_ns // NS * 256 + frames.bus
        for one, count in zip(*np.unique(key, return_counts=True), strict=True):
            second, bus = divmod(int(one), 256)
            before, seen = self._seconds.get(bus, (second, 0))
            seen = int(count) + (seen if before == second else 0)
            self._seconds[bus] = (second, seen)
            if seen >= BURST_FRAMES:
                rows = key == one
                yield from _each(frames, rows, Level.ALERT, "burst")


def _each(
    frames: FrameBatch, rows: Bool, level: Level, variant: str
) -> Iterator[Finding]:
    """Yield a finding per bus among ``rows``."""
    for bus in np.unique(frames.bus[rows]).tolist():
        times = frames.time_ns[rows & (frames.bus == bus)]
        yield Finding(
            "D8", level, CanId(bus, ALL_IDENTS), len(times), int(times.min()),
            int(times.max()), "", variant,
        )  # fmt: skip
