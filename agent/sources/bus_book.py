"""The books of one CAN bus: its interface, its frames, and what was lost on the way.

Kernel counters belong to a device: they begin anew with each one that takes the name,
and what they said before we looked first is not ours. No clock: time is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.can.error_frames import Controller, is_error, of_controller

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protocols.can.netlink import CanLink
    from protocols.frames import FrameBatch

UNKNOWN: Final = "unknown"  # nobody could be asked yet
CHANGES: Final = ("error_warning", "error_passive", "bus_off", "restarts")
_TRAFFIC: Final = (
    "rx_packets", "rx_over_errors", "rx_fifo_errors", "rx_dropped", "rx_missed_errors",
)  # fmt: skip


class BusBook:
    """What is known of one bus since the agent started."""

    def __init__(self, name: str, channel: str) -> None:
        """``channel``: what the interface is called."""
        self.name = name
        self.channel = channel
        self.frames = 0  # taken, error frames included
        self.error_frames = 0
        self.condition = UNKNOWN  # as ``CanLink.condition``
        self.since_ns = 0  # when it was first seen to be so
        self.link: CanLink | None = None
        self._overruns = 0  # that error frames told
        self._grown = dict.fromkeys((*_TRAFFIC, *CHANGES), 0)
        self._last: dict[str, int] | None = None  # of the device seen last
        self.index = 0  # of the interface that bore the name last
        self._moved = ""  # what the interface that we read is called now

    # --- frames ---------------------------------------------------------------------

    def took(self, frames: FrameBatch) -> None:
        """Count what the bus brought."""
        self.frames += len(frames)
        errors = int(np.count_nonzero(is_error(frames)))
        if errors:
            self.error_frames += errors
            overruns = of_controller(frames, Controller.RX_OVERFLOW)
            self._overruns += int(np.count_nonzero(overruns))

    # --- the interface --------------------------------------------------------------

    def saw(
        self, link: CanLink, now_ns: int, moved: str = "", *, is_new: bool = True
    ) -> bool:
        """Take what the kernel says now; tell whether the condition is another one.

        ``moved``: the present name of the interface that bore ``channel`` before.
        ``is_new``: it came with this name; else its counters are partly another's.
        """
        if link.exists:
            self._count(link, is_new=is_new)
        elif self._last is None:  # what comes later counts from nothing
            self._last = dict.fromkeys(self._grown, 0)
        self.link, self._moved = link, "" if link.exists else moved
        if link.condition == self.condition:
            return False
        self.condition, self.since_ns = link.condition, now_ns
        return True

    def _count(self, link: CanLink, *, is_new: bool) -> None:
        now = {name: getattr(link.traffic, name) for name in _TRAFFIC}
        now |= {name: getattr(link.counters, name) for name in CHANGES}
        if self._last is None:  # it was there before us: what it counted is not ours
            self._last = now
        elif link.index != self.index:  # a new device has counted since it is there
            self._last = dict.fromkeys(now, 0) if is_new else now
        for name, count in now.items():
            # Below the last value: the driver began anew.
            more = count - self._last[name]
            self._grown[name] += more if more >= 0 else count
        self._last, self.index = now, link.index

    @property
    def packets(self) -> int:
        """Return the frames that the interface received, filtered ones included."""
        return self._grown["rx_packets"]

    @property
    def changes(self) -> Mapping[str, int]:
        """Return how often the controller changed to each state of CHANGES."""
        return {name: self._grown[name] for name in CHANGES}

    def controller_lost(self) -> int:
        """Return the least number of frames that were lost before the socket.

        Drivers count an overrun of the controller in rx_over_errors, and a full queue
        or want of memory in rx_dropped, rx_fifo_errors or both: the larger of the two
        counts. Error frames tell of the same overruns; where a driver sends those and
        counts none, they count. A driver counts events, of which each is one frame or
        more.
        """
        grown = self._grown
        over = max(grown["rx_over_errors"], self._overruns)
        queue = max(grown["rx_fifo_errors"], grown["rx_dropped"])
        return over + queue + grown["rx_missed_errors"]

    def trouble(self) -> str:
        """Return what is wrong with the interface, in words; "" for nothing.

        Without figures that move: the same trouble is told once.
        """
        link = self.link
        if link is None:
            return ""
        if not link.exists:
            gone = "no such CAN interface (see `ip -br link`)"
            return f"its interface is called {self._moved} now" if self._moved else gone
        if not link.up:
            return "interface is down (ip link set up)"
        if link.state == "bus-off":
            back = f"`ip link set {link.name} type can restart` brings it back"
            if link.restart_ms:
                back = f"it is restarted after {link.restart_ms} ms"
            return f"bus-off: the controller has left the bus; {back}"
        if link.state == "error-passive":
            return "error-passive: errors on the bus (bit rate, wiring, terminator?)"
        if link.state in {"stopped", "sleeping"}:
            return f"the controller is {link.state}"
        return ""
