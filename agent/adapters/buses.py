"""All CAN buses: opened, read for ever, watched, counted.

A bus is what its owner calls it: an interface that is renamed is another bus from then
on, and one that takes the name is read at once. A socket survives that its interface
goes down, or that the controller leaves the bus.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from agent.adapters.can_watch import CanWatch
from agent.adapters.reading import REOPEN_S, sign_of
from agent.adapters.socketcan import PASSES_ALL, SocketCanSource
from agent.errors import Unavailable
from agent.records import BusChange
from agent.sources.bus_book import UNKNOWN, BusBook
from agent.sources.bus_filter import needed
from agent.telemetry.buses import bus_families, bus_states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping, Sequence

    from agent.config import Can
    from agent.ports import Clock, FrameSource
    from agent.sources.bus_filter import Pairs
    from agent.sources.losses import Losses
    from agent.telemetry.prometheus import Family
    from agent.vitals import Sign
    from policies.compile import Compiled
    from protocols.frames import FrameBatch
    from protocols.telemetry import BusState

WATCH: Final = "can watch"  # in troubles
AWAY: Final = ("absent", "down")


class BusReader:
    """One configured bus."""

    def __init__(
        self,
        can: Can,
        open_bus: Callable[[], FrameSource],
        losses: Losses,
        troubles: MutableMapping[str, str],
    ) -> None:
        """Open nothing yet."""
        self.book = BusBook(can.name, can.channel or can.name)
        self.is_kernels = can.interface == "socketcan"
        self._only_bound = can.frames == "bound"
        self._pairs: Pairs = ()  # until a policy decides, nothing is bound
        self._open_bus = open_bus
        self._losses = losses
        self._troubles = troubles
        self._source: FrameSource | None = None
        self._error = ""  # why it is not open
        self.tried = False  # to open it, once at least
        self._told = False  # netlink knows of the interface that the source reads
        self._before: dict[str, int] = {}  # lost by openings that have ended, by cause
        self._changed = asyncio.Event()
        losses.watch(f"bus {can.name}", lambda: self.lost().get("", 0))
        losses.watch(f"bus {can.name} controller", self.book.controller_lost)

    @property
    def buffer_bytes(self) -> int:
        """Return what the kernel keeps for us; 0 where it is not open, or not known."""
        source = self._source
        return source.buffer_bytes if isinstance(source, SocketCanSource) else 0

    @property
    def passes(self) -> int:
        """Return how many pairs of identifier and mask the kernel lets through."""
        source = self._source
        return source.passes if isinstance(source, SocketCanSource) else PASSES_ALL

    def let_pass(self, pairs: Pairs) -> None:
        """Filter in the kernel, where the owner wants only bound frames."""
        if not self._only_bound:
            return
        self._pairs = pairs
        if isinstance(self._source, SocketCanSource):
            with contextlib.suppress(Unavailable):  # it ends, and is opened anew
                self._source.let_pass(pairs)

    @property
    def condition(self) -> str:
        """Return the interface's condition; of others than the kernel's: up or down."""
        if self.is_kernels and self.book.link is not None:
            return self.book.condition
        return "down" if self._source is None else "up"

    def lost(self) -> dict[str, int]:
        """Return what was lost between kernel and us, or was no frame, by cause."""
        lost = dict(self._before)
        for cause, count in _lost_by(self._source).items():
            lost[cause] = lost.get(cause, 0) + count
        return lost

    def sign(self) -> Sign:
        """Return what it shows to the pulse."""
        return sign_of(self.book.name, self.book.frames, self._source)

    async def run(self, take: Callable[[FrameBatch], None]) -> None:
        """Hand every batch to ``take``; ends only when it is cancelled."""
        while True:
            self._changed.clear()
            try:
                source = await asyncio.to_thread(self._open_bus)
            except Unavailable as error:
                self.tried = True
                self._ended(self._words(error))
            else:
                self.tried = True
                await self._read(source, take)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REOPEN_S):
                    await self._changed.wait()

    async def _read(
        self, source: FrameSource, take: Callable[[FrameBatch], None]
    ) -> None:
        self._source, self._error, self._told = source, "", False
        self.let_pass(self._pairs)
        reason = "the bus ended"
        self.tell()
        try:
            async with contextlib.aclosing(source.batches()) as batches:  # type: ignore[type-var]  # async generators, declared as iterators
                async for batch in batches:
                    self.book.took(batch)
                    take(batch)
                    self._watch_skipped(source)
        except Unavailable as error:
            reason = self._words(error)
        finally:
            source.close()
            self._before, self._source = self.lost(), None
        self._ended(reason)

    def _ended(self, reason: str) -> None:
        self._error = reason
        self.tell()

    def _words(self, error: Unavailable) -> str:
        named = error.what in {self.book.name, self.book.channel}
        return error.reason if named else str(error)

    def _watch_skipped(self, source: FrameSource) -> None:
        """Have what is no frame watched by its cause, from the first one on."""
        if not isinstance(source, SocketCanSource):
            return
        for cause in source.skipped.keys() - self._before.keys():
            self._before[cause] = 0
            self._losses.watch(f"bus {self.book.name} {cause}", self._counter(cause))

    def _counter(self, cause: str) -> Callable[[], int]:
        return lambda: self.lost().get(cause, 0)

    # --- the interface --------------------------------------------------------------

    def look(self, watch: CanWatch, now_ns: int) -> bool:
        """Take what is known of the interface; tell whether its condition changed."""
        if self.book.channel not in watch.known:
            return False
        table, source, before = watch.table, self._source, self.book.link
        link = table.named(self.book.channel)
        old = table.numbered(self.book.index)
        moved = old.name if old is not None else ""
        is_new = not table.is_renamed(link.index)
        changed = self.book.saw(link, now_ns, moved, is_new=is_new)
        is_other = before is None or before.index != link.index
        if (is_other or changed) and link.exists:
            self._changed.set()
        if isinstance(source, SocketCanSource):
            source.is_down &= not link.up
            # The socket may know of an interface before netlink has told of it.
            self._told = self._told or table.numbered(source.index) is not None
            if self._told and link.index != source.index:
                source.leave(self.book.trouble() or "another interface has its name")
        self.tell()
        return changed

    def tell(self) -> None:
        """Say what is wrong, or that nothing is."""
        trouble = self.book.trouble() if self.is_kernels else ""
        source = self._source
        if not trouble and isinstance(source, SocketCanSource) and source.is_down:
            trouble = "interface is down (ip link set up)"
        if trouble or self._error:
            self._troubles[self.book.name] = trouble or self._error
        else:
            self._troubles.pop(self.book.name, None)


def _lost_by(source: FrameSource | None) -> dict[str, int]:
    if source is None:
        return {}
    skipped = source.skipped if isinstance(source, SocketCanSource) else {}
    return {"": source.lost(), **skipped}


class Buses:
    """Every bus of the configuration, and who watches their interfaces."""

    def __init__(
        self,
        configured: Sequence[Can],
        open_bus: Callable[[int], FrameSource],
        losses: Losses,
        troubles: MutableMapping[str, str],
        clock: Clock,
    ) -> None:
        """Open nothing yet."""
        self._troubles = troubles
        self._clock = clock
        self._changed: Callable[[Sequence[BusChange]], None] = _nobody
        self._readers = [
            BusReader(can, _opener(open_bus, number), losses, troubles)
            for number, can in enumerate(configured)
        ]
        kernels = [one.book.channel for one in self._readers if one.is_kernels]
        self._watch = CanWatch(kernels, self._look) if kernels else None

    def begin(
        self,
        tasks: asyncio.TaskGroup,
        take: Callable[[FrameBatch], None],
        changed: Callable[[Sequence[BusChange]], None],
    ) -> list[asyncio.Task[None]]:
        """Read every bus in a task of its own.

        ``changed``: the state of a bus is another one; is given those that went away.
        """
        self._changed = changed
        running = [
            tasks.create_task(one.run(take), name=f"source.{one.book.name}")
            for one in self._readers
        ]
        if self._watch is not None:
            running.append(tasks.create_task(self._follow(self._watch), name=WATCH))
        return running

    def adopt(self, compiled: Compiled) -> None:
        """Let through what this policy's bindings need, where only that is wanted."""
        for number, reader in enumerate(self._readers):
            reader.let_pass(needed(compiled, number))

    async def _follow(self, watch: CanWatch) -> None:
        while True:
            try:
                watch.open()
                self._troubles.pop(WATCH, None)
                await watch.follow()
            except Unavailable as error:
                self._troubles[WATCH] = f"cannot follow interfaces: {error}"
            finally:
                watch.close()
            await self._clock.sleep(REOPEN_S)

    def _look(self) -> None:
        assert self._watch is not None
        now_ns, gone, changed = self._clock.now_ns(), [], False
        for number, one in enumerate(self._readers):
            before = one.book.condition
            if one.is_kernels and one.look(self._watch, now_ns):
                changed = True
                if one.book.condition in AWAY and before not in {*AWAY, UNKNOWN}:
                    gone.append(BusChange(number, now_ns, one.book.condition))
        if changed:
            self._changed(gone)

    @property
    def tried(self) -> bool:
        """Tell whether every bus was opened, or found away, once."""
        return all(one.tried for one in self._readers)

    def signs(self) -> Iterator[Sign]:
        """Return what every bus shows to the pulse."""
        return (one.sign() for one in self._readers)

    # --- what is told ---------------------------------------------------------------

    def states(self) -> tuple[BusState, ...]:
        """Return how every bus is, in the order of the configuration."""
        return bus_states(self._readers)

    def families(self) -> Iterator[Family]:
        """Return what Prometheus is told of buses."""
        return bus_families(self._readers)


def _opener(
    open_bus: Callable[[int], FrameSource], number: int
) -> Callable[[], FrameSource]:
    return lambda: open_bus(number)


def _nobody(changes: Sequence[BusChange]) -> None:
    """Tell nobody: nothing runs yet."""
