"""All sources of a running agent: buses, taps, polled links, proxied links.

Each bus, tap and polled link is a task of the runtime's group, so that a dead device
delays nobody; proxied links have a thread of their own. What they bring waits in the
gathering until the flow asks for it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from agent.adapters.reading import Mark, read_bus
from agent.adapters.watch import LinkWatch
from agent.sources.frame_ranks import FrameRanks
from agent.sources.gathering import Gathering

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Sequence

    from agent.adapters.modbus.poll import ModbusPoller
    from agent.adapters.modbus.tap import NetworkTap
    from agent.adapters.modbus.tap_line import LineTap
    from agent.adapters.steering import Desk
    from agent.config import Config
    from agent.control import Accepted
    from agent.records import Arrival, BusChange
    from agent.vitals import Sign
    from protocols.frames import FrameBatch
    from protocols.modbus.exchanges import PairBatch
    from protocols.modbus.values import Point

# A device whose driver takes its time (slcan: 2 s) does not hold up the others.
TRIED_S: Final = 1.0
TRIES: Final = 50


class Listening:
    """Begins, ends and gathers sources."""

    def __init__(
        self,
        config: Config,
        desk: Desk,
        open_links: Callable[[Accepted], list[ModbusPoller]],
        wake: Callable[[], None],
    ) -> None:
        """Open nothing yet; ``wake`` tells the flow that something has arrived."""
        self._config = config
        self._desk = desk
        self._open_links = open_links
        self._wake = wake
        self._gathering = Gathering(desk.losses)
        self._watch = LinkWatch()
        self._tasks: list[asyncio.Task[None]] = []
        self._pollers: list[ModbusPoller] = []
        self._links: list[asyncio.Task[None]] = []
        self._revision = 0
        self._marks: list[Mark] = []
        desk.losses.watch("modbus proxy", desk.between.lost)

    # --- life -----------------------------------------------------------------------

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Listen to everything; proxied links accept masters from here on."""
        between = self._desk.between
        self._tasks += self._desk.buses.begin(tasks, self._take, self._changed)
        for tap in between.taps:
            name = f"source.{tap.name}"
            self._tasks.append(tasks.create_task(self._tap(tap), name=name))
        self.poll(tasks)
        between.start(self._wake)

    def poll(self, tasks: asyncio.TaskGroup) -> None:
        """Poll what the policy's bindings name, and no longer what an old one's did.

        Frames are shed, where they must be, by what they are under it.
        """
        self._gathering.rank_by(FrameRanks(self._desk.now.accepted.compiled))
        for task in self._links:
            task.cancel()
        self._pollers = self._open_links(self._desk.now.accepted)
        self._revision = sum(poller.revision for poller in self._pollers)
        self._links = [
            tasks.create_task(self._link(poller), name=f"source.{poller.name}")
            for poller in self._pollers
        ]

    async def end(self) -> None:
        """Listen no more; what proxies passed to the last can still be asked for."""
        for task in (*self._tasks, *self._links):
            task.cancel()
        await self._desk.between.stop()

    # --- one source each ------------------------------------------------------------

    def _take(self, batch: FrameBatch) -> None:
        self._gathering.add_frames(batch, self._desk.clock.monotonic_ns())
        self._wake()

    def _changed(self, changes: Sequence[BusChange]) -> None:
        for change in changes:
            self._gathering.add_change(change)
        self._wake()

    async def _tap(self, tap: NetworkTap | LineTap) -> None:
        desk, troubles = self._desk, self._desk.now.troubles
        tap.watch(desk.losses)
        mark = Mark(tap.name)
        self._marks.append(mark)

        def take(batch: PairBatch) -> None:
            self._gathering.add_exchanges(batch)
            self._wake()

        await read_bus(
            tap.name, tap.open, take, desk.losses, troubles, desk.clock, mark
        )

    async def _link(self, poller: ModbusPoller) -> None:
        async with contextlib.aclosing(poller.batches()) as batches:  # type: ignore[type-var]  # an async generator, declared as an iterator
            async for batch in batches:
                self._gathering.add_transactions(batch)
                self._wake()

    async def tried(self) -> None:
        """Wait until all that can be opened at once is open; not for long."""
        taps, buses = len(self._desk.between.taps), self._desk.buses
        for _ in range(TRIES):
            tried = sum(mark.tried for mark in self._marks)
            if tried == taps and buses.tried:
                return
            await self._desk.clock.sleep(TRIED_S / TRIES)

    def signs(self) -> Iterator[Sign]:
        """Return what every source shows to the pulse."""
        yield from self._desk.buses.signs()
        yield from (mark.sign() for mark in self._marks)
        yield from (poller.sign() for poller in self._pollers)
        if (proxy := self._desk.between.sign()) is not None:
            yield proxy

    # --- what they brought ----------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Tell whether a whole batch of frames can still be waited for."""
        return self._gathering.has_room

    @property
    def has_frames(self) -> bool:
        """Tell whether frames wait for the flow."""
        return self._gathering.has_frames

    def shed(self) -> None:
        """Count all frames that wait as lost."""
        self._gathering.shed()

    def arrivals(self, *, last: bool) -> list[Arrival]:
        """Return what has arrived; one empty arrival where nothing has.

        Fatal where the proxies' thread died.
        """
        clock = self._desk.clock
        for batch, rules in self._desk.between.take():
            self._gathering.add_exchanges(batch, rules)
        now_ns, mono_ns = clock.now_ns(), clock.monotonic_ns()
        found = self._gathering.arrivals(now_ns, mono_ns, last=last)
        if self._gathering.has_frames:
            self._wake()
        return found

    def rediscovered(self) -> list[Point] | None:
        """Return all points, where SunSpec discovery has found other ones; else None.

        Polled links have points of their pollers; the others those of the bindings.
        """
        revision = sum(poller.revision for poller in self._pollers)
        if revision == self._revision:
            return None
        self._revision = revision
        links = self._config.modbus
        polled = {n for n, link in enumerate(links) if link.mode == "poll"}
        bound = self._desk.now.accepted.compiled.modbus
        return [
            *(point for one in self._pollers for point in one.points),
            *(point for point in bound if point.link not in polled),
        ]

    def look(self) -> None:
        """Say which links do not answer, and tell proxies whether the clock is good."""
        desk = self._desk
        desk.between.believe_clock(desk.watch.ok)
        desk.between.look(desk.now.troubles)
        self._watch.look(self._pollers, desk.now)
