"""The polite poller: one connection a device, few requests, pauses between them.

One poller serves one link and is one task of the runtime, so that a dead device never
delays another link; on a shared line or gateway a breaker per unit does the same.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from agent.adapters.modbus.link import Link, LinkConfig, Malformed, Reply, Silent
from agent.adapters.modbus.schedule import Breaker, Schedule
from agent.adapters.modbus.sunspec import find_models, find_points, load_model
from agent.errors import Unavailable
from agent.vitals import Sign
from protocols.errors import WireError
from protocols.modbus.plan import FUNCTION, NeverRange, Read, coalesce
from protocols.samples import TransactionBatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from agent.ports import Clock
    from protocols.modbus.sunspec import SunSpecBinding
    from protocols.modbus.values import Point

WINDOW_S: Final = 0.05  # DESIGN section 4: 50-100 ms of arrivals make a batch
IDLE_NS: Final = 1_000_000_000  # nothing to read: look again after this
# SunSpec models move only with new firmware; a flapping link must not be searched
# anew at each connection.
SEARCH_AGAIN_NS: Final = 600_000_000_000
SEARCH_RETRY_NS: Final = 60_000_000_000
NS: Final = 1_000_000_000
PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class PollStatistics:
    """Counts since the start; every request ends as one of the four behind it."""

    requests: int
    replies: int
    exceptions: int
    timeouts: int  # no answer in time, or the connection broke
    malformed: int
    missed: int  # deadlines that passed unserved
    connects: int
    connects_failed: int
    units_left_alone: int  # breakers open now
    sunspec_absent: int  # bindings that the devices have no point for
    searches_failed: int  # SunSpec chains or models that contradict themselves


@dataclass(slots=True)
class _Counts:
    replies: int = 0
    exceptions: int = 0
    timeouts: int = 0
    malformed: int = 0
    connects: int = 0
    connects_failed: int = 0
    searches_failed: int = 0


@dataclass(slots=True)
class _Search:
    """SunSpec of one unit: what to find, what was found, when to look (again)."""

    bindings: tuple[SunSpecBinding, ...]
    points: tuple[Point, ...] = ()
    absent: int = 0
    due_ns: int = 0
    connection: int = -1  # the one on which everything was found


@dataclass(frozen=True, slots=True)
class _Row:
    time_ns: int
    read: Read
    reply: Reply


class ModbusPoller:
    """A source of transactions: polls what one link's points name, batch by batch.

    ``points`` rises with SunSpec discovery; ``revision`` then rises too, before the
    first batch that holds such registers: compile the decoder's plan anew.
    """

    def __init__(
        self,
        link: int,
        config: LinkConfig,
        points: Sequence[Point],
        *,
        clock: Clock,
        chance: Callable[[], float],
        never: Sequence[NeverRange] = (),
        sunspec: Sequence[SunSpecBinding] = (),
        window_s: float = WINDOW_S,
    ) -> None:
        """Take the points and bindings of link number ``link``.

        ValueError as ``coalesce``; BadInput for a SunSpec model nobody published.
        ``chance`` gives random numbers in [0, 1) for the jitter of backoffs.
        """
        self.name = config.name
        self.revision = 0
        self._number = link
        self._config = config
        self._clock = clock
        self._never = tuple(never)
        self._window_s = window_s
        self._patience_s = PATIENCE_S + 2 * config.timeout_s  # to connect, to ask
        self._link = Link(config)
        self._link_breaker = Breaker(chance, silences_max=1)
        self._schedule = Schedule(chance)
        self._fixed = tuple(point for point in points if point.link == link)
        mine = [binding for binding in sunspec if binding.link == link]
        for binding in mine:
            load_model(binding.model)  # refused now, not when the device has it
        self._searches = {
            unit: _Search(tuple(b for b in mine if b.unit == unit))
            for unit in sorted({binding.unit for binding in mine})
        }
        self._counts = _Counts()
        self._rows: list[_Row] = []
        self._quiet_until_ns = 0
        self._turns = 0  # steps and requests
        self._asleep_until_ns = 0
        self._unused = False  # a connection on which nothing was asked yet
        self._plan()

    @property
    def points(self) -> tuple[Point, ...]:
        """Return all points known now: the bound ones, then those discovered."""
        found = (p for search in self._searches.values() for p in search.points)
        return (*self._fixed, *found)

    def statistics(self) -> PollStatistics:
        """Return how the link is. Costs no I/O."""
        counts = self._counts
        return PollStatistics(
            requests=counts.replies
            + counts.exceptions
            + counts.timeouts
            + counts.malformed,
            replies=counts.replies,
            exceptions=counts.exceptions,
            timeouts=counts.timeouts,
            malformed=counts.malformed,
            missed=self._schedule.missed,
            connects=counts.connects,
            connects_failed=counts.connects_failed,
            units_left_alone=self._schedule.breakers_open(),
            sunspec_absent=sum(s.absent for s in self._searches.values()),
            searches_failed=counts.searches_failed,
        )

    async def batches(self) -> AsyncIterator[TransactionBatch]:
        """Yield non-empty batches in order of arrival; never ends by itself.

        What has arrived is handed over within ``window_s``, also while a request
        waits for its answer. Nothing is asked while the consumer is busy.
        """
        loop = asyncio.get_running_loop()
        step: asyncio.Task[None] | None = None
        flush_at: float | None = None
        try:
            while True:
                step = step or asyncio.create_task(self._step(), name=self.name)
                wait_s = None if flush_at is None else max(flush_at - loop.time(), 0)
                await asyncio.wait({step}, timeout=wait_s)
                if step.done():
                    step.result()
                    step = None
                if self._rows and flush_at is None:
                    flush_at = loop.time() + self._window_s
                if flush_at is not None and loop.time() >= flush_at:
                    flush_at = None
                    rows, self._rows = self._rows, []
                    yield _batch(rows)
        finally:
            if step is not None:
                step.cancel()
                await asyncio.wait({step})
            self._link.close()

    def sign(self) -> Sign:
        """Return what it shows: its turns, and whether it has slept its time."""
        is_awake = self._clock.monotonic_ns() >= self._asleep_until_ns
        return Sign(f"source {self.name}", self._turns, is_awake, self._patience_s)

    async def _step(self) -> None:
        """Do the next thing: wait, connect, search, or read once."""
        self._turns += 1
        now_ns = self._clock.monotonic_ns()
        unit = self._to_search(now_ns)
        if unit is None and not self._schedule.is_ready(now_ns):
            times = [now_ns + IDLE_NS, *self._search_times().values()]
            due_ns = self._schedule.next_ns()
            if due_ns is not None:
                times.append(due_ns)
            await self._sleep_until(min(times))
        elif self._link_breaker.until_ns > now_ns:
            await self._sleep_until(self._link_breaker.until_ns)
        elif not self._link.is_connected:
            await self._connect()
        elif unit is not None:
            await self._search(unit)
        elif (read := self._schedule.take(now_ns)) is not None:
            await self._poll(read)

    async def _sleep_until(self, time_ns: int) -> None:
        left_ns = time_ns - self._clock.monotonic_ns()
        if left_ns > 0:
            self._asleep_until_ns = time_ns
            await self._clock.sleep(left_ns / NS)

    async def _connect(self) -> None:
        """Connect, now that there is something to ask."""
        if self._unused:
            # Taken and dropped at once: a device that is busy with somebody else.
            self._unused = False
            self._link_breaker.was_silent(self._clock.monotonic_ns())
            return
        try:
            await self._link.connect()
        except Unavailable:
            self._counts.connects_failed += 1
            self._link_breaker.was_silent(self._clock.monotonic_ns())
        else:
            self._counts.connects += 1
            self._unused = True

    async def _ask(self, read: Read) -> Reply:
        """Send one request, after the pause, and count how it ended."""
        assert read.function == FUNCTION[read.table]  # 1 to 4: those that only read
        self._turns += 1
        await self._sleep_until(self._quiet_until_ns)
        breaker = self._schedule.breaker(read.unit)
        self._unused = False
        try:
            reply = await self._link.read(read)
        except Silent:
            self._counts.timeouts += 1
            breaker.was_silent(self._clock.monotonic_ns())
            raise
        except Malformed:
            self._counts.malformed += 1
            breaker.was_silent(self._clock.monotonic_ns())
            raise
        finally:
            pause_ns = int(self._config.pause_s * NS)
            self._quiet_until_ns = self._clock.monotonic_ns() + pause_ns
        breaker.answered()
        self._link_breaker.answered()
        if reply.exception:
            self._counts.exceptions += 1
        else:
            self._counts.replies += 1
        return reply

    async def _poll(self, read: Read) -> None:
        try:
            reply = await self._ask(read)
        except Unavailable:
            return  # counted; the breaker decides when to ask again
        self._rows.append(_Row(self._clock.now_ns(), read, reply))

    # --- SunSpec ---------------------------------------------------------------------

    def _search_times(self) -> dict[int, int]:
        """Return when to look for the models of which unit."""
        return {
            unit: max(search.due_ns, self._schedule.breaker(unit).until_ns)
            for unit, search in self._searches.items()
            if search.connection != self._counts.connects
        }

    def _to_search(self, now_ns: int) -> int | None:
        """Return a unit whose models are to be looked for now."""
        times = self._search_times().items()
        return next((unit for unit, due_ns in times if due_ns <= now_ns), None)

    async def _search(self, unit: int) -> None:
        search = self._searches[unit]

        async def ask(read: Read) -> Sequence[int] | None:
            reply = await self._ask(read)
            return None if reply.exception else reply.values

        wait_ns = SEARCH_RETRY_NS
        try:
            places = await find_models(ask, self._number, unit)
            points, absent = await find_points(ask, places, search.bindings)
        except Unavailable:
            wait_ns = 0  # the breaker says when
        except WireError:
            self._counts.searches_failed += 1
        else:
            search.absent = len(absent)
            if not absent:
                search.connection = self._counts.connects
                wait_ns = SEARCH_AGAIN_NS
            if points != search.points:
                self._replace(search, points)
        search.due_ns = self._clock.monotonic_ns() + wait_ns

    def _replace(self, search: _Search, points: tuple[Point, ...]) -> None:
        before = search.points
        search.points = points
        try:
            self._plan()
        except ValueError:  # points that overlap, or lie where nothing may be read
            self._counts.searches_failed += 1
            search.points = before
            search.absent = len(search.bindings)
        else:
            self.revision += 1

    def _plan(self) -> None:
        reads = coalesce(self.points, self._never, period_ns=self._config.period_ns)
        self._schedule.set_reads(reads, self._clock.monotonic_ns())


def _batch(rows: Sequence[_Row]) -> TransactionBatch:
    lengths = [len(row.reply.values) for row in rows]
    return TransactionBatch(
        time_ns=np.array([row.time_ns for row in rows], np.int64),
        link=np.array([row.read.link for row in rows], np.uint8),
        unit=np.array([row.read.unit for row in rows], np.uint8),
        function=np.array([row.read.function for row in rows], np.uint8),
        table=np.array([row.read.table for row in rows], np.uint8),
        address=np.array([row.read.address for row in rows], np.uint16),
        count=np.array([row.read.count for row in rows], np.uint16),
        is_write=np.zeros(len(rows), np.bool_),
        exception=np.array([row.reply.exception for row in rows], np.uint8),
        offset=np.cumsum([0, *lengths], dtype=np.int64),
        values=np.array([v for row in rows for v in row.reply.values], np.uint16),
    )
