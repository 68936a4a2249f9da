"""Live output: frames onto python-can buses and a plant behind a port, by the clock."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import can

from firmware_sim.captures import messages
from firmware_sim.errors import OutputError
from firmware_sim.plc import BEHIND_NS_MAX, Plc
from firmware_sim.schema import NS, nanoseconds
from firmware_sim.truth import FrameCount, PlantTruth

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from firmware_sim.plant import Plant
    from firmware_sim.traffic import Traffic

WINDOW_NS: Final = 100_000_000  # generated and sent at once, in the frames' own order
SOON_S: Final = 0.001  # frames due within this are sent without a sleep


@dataclass(frozen=True, slots=True)
class BusPlace:
    """Where one simulated bus goes: python-can interface, channel and options."""

    interface: str
    channel: str
    port: int | None = None
    fd: bool = False

    def open(self) -> can.BusABC:
        """Open the bus; OutputError with one line where that fails."""
        options: dict[str, object] = {}
        if self.port is not None:
            options["port"] = self.port
            # Time to live 0: the frames of a simulated vehicle stay on this machine.
            options["hop_limit"] = 0
        if self.fd or self.interface == "udp_multicast":
            options["fd"] = self.fd
        open_bus: Callable[..., can.BusABC] = can.Bus
        try:
            return open_bus(interface=self.interface, channel=self.channel, **options)
        except (can.CanError, OSError, ValueError, ImportError) as error:
            where = f"{self.interface} {self.channel}"
            raise OutputError(f"{where}: {str(error).splitlines()[0]}") from None


def places(
    traffic: Traffic, interface: str, channels: Sequence[str], port: int
) -> list[BusPlace]:
    """Return a place for every bus of the scenario; OutputError where they lack.

    ``udp_multicast`` takes one group for all buses and counts the port up by bus;
    other interfaces take one channel for each bus.
    """
    specs = traffic.scenario.buses
    if interface == "udp_multicast":
        group = channels[0] if channels else "239.74.163.2"
        return [
            BusPlace(interface, group, port + number, spec.fd)
            for number, spec in enumerate(specs)
        ]
    named = list(channels) or [spec.name for spec in specs]
    if len(named) != len(specs):
        wanted = ", ".join(spec.name for spec in specs)
        raise OutputError(f"{len(specs)} channels are needed, for {wanted}")
    return [
        BusPlace(interface, channel, fd=spec.fd)
        for channel, spec in zip(named, specs, strict=True)
    ]


class VehicleSender:
    """Sends a vehicle's frames when they are due, until told to stop."""

    def __init__(
        self, traffic: Traffic, buses: Sequence[can.BusABC], speed: float
    ) -> None:
        """Take open buses in the order of the scenario's."""
        self._traffic = traffic
        self._buses = buses
        self._speed = speed
        self.counts = FrameCount(traffic.buses)
        self.failed = 0  # refused by the interface (buffer full); counted, not retried
        self.base_ns = 0  # epoch ns of the scenario's start
        self.done_ns = 0  # scenario time sent

    def run(
        self,
        duration_ns: int | None,
        stop: threading.Event,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Send for ``duration_ns`` of scenario time, or until ``stop`` is set."""
        self.base_ns = time.time_ns()
        begin = time.monotonic()
        while not stop.is_set():
            end = self.done_ns + WINDOW_NS
            if duration_ns is not None:
                end = min(end, duration_ns)
            if end <= self.done_ns:
                return
            self._window(self.done_ns, end, begin, stop)
            self.done_ns = end  # stopped within a window: its last states are early
            progress(end)

    def _window(
        self, t0_ns: int, t1_ns: int, begin: float, stop: threading.Event
    ) -> None:
        frames = self._traffic.frames(t0_ns, t1_ns)
        due = (frames.time_ns - self._traffic.car.start_ns) / (NS * self._speed)
        sent = 0
        columns = zip(due.tolist(), frames.bus.tolist(), messages(frames), strict=True)
        for at, number, message in columns:
            wait = begin + at - time.monotonic()
            if wait > SOON_S and stop.wait(wait):
                break
            sent += 1
            message.channel = None  # the receiver's interface names its own
            bus = self._buses[number]
            try:
                bus.send(message, timeout=0.1)
            except can.CanError:
                self.failed += 1
        self.counts.add(frames.take(slice(0, sent)))
        rest = begin + t1_ns / (NS * self._speed) - time.monotonic()
        if rest > SOON_S:
            stop.wait(rest)


async def serve_plant(
    plant: Plant,
    place: tuple[str, int],
    opened: Callable[[int], None],
    truth: BinaryIO | None,
    pace: tuple[float, int | None],
) -> Plc:
    """Serve the plant by the clock; returns when its time is over or cancelled.

    ``pace``: speed and scenario time in ns (None: for ever). Raises OutputError.
    """
    speed, duration_ns = pace
    plc = Plc(plant)
    opened(await plc.start(*place))
    record = PlantTruth(plant, (time.time_ns(), speed))
    if truth is not None:
        truth.write(record.header())
    step_s = nanoseconds(plant.scenario.step) / NS / speed
    loop = asyncio.get_running_loop()
    begin, skipped = loop.time(), 0.0
    try:
        while duration_ns is None or plant.time_ns < duration_ns:
            wanted = (loop.time() - begin - skipped) * speed * NS
            behind = wanted - plant.time_ns
            if behind > BEHIND_NS_MAX * speed:
                skipped += behind / NS / speed
                continue
            plc.advance(int(wanted))
            if truth is not None:
                truth.write(record.lines())
                truth.flush()  # a demo that kills this process still wants its truth
            await asyncio.sleep(step_s)
    finally:
        with contextlib.suppress(OSError):
            await plc.close()
    return plc
