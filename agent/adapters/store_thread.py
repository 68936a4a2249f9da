"""The store's one worker thread: SQLite waits for the disk, the event loop does not."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from agent.adapters.moves import Moves
from agent.errors import Unavailable
from agent.vitals import Sign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.ports import Clock

RETRY_S: Final = 1.0
# A call may take as long as it likes while it computes or gets its pages (a salvage, a
# deletion of gigabytes). Who got neither for so long waits for what may never come.
PATIENCE_S: Final = 120.0
WORK_NS: Final = 50_000_000  # so much processor time is a step
STEPS_A_CALL: Final = 1 << 32
P = ParamSpec("P")
T = TypeVar("T")


class StoreThread:
    """Runs calls one after the other, in the order in which they were made."""

    def __init__(self) -> None:
        """Make the thread; it starts with the first call."""
        self._pool = ThreadPoolExecutor(1, "store", self._begun)
        self.moves = Moves()
        self._ident = 0
        self._started = 0  # calls; both written in the thread only
        self._finished = 0

    def _begun(self) -> None:
        self._ident = threading.get_ident()

    def sign(self) -> Sign:
        """Return what the thread shows: calls that ended, and work on the one in it."""
        finished, started = self._finished, self._started
        count, due = finished * STEPS_A_CALL, started != finished
        if due:  # in a call, so the thread lives
            clock = time.pthread_getcpuclockid(self._ident)
            count += time.clock_gettime_ns(clock) // WORK_NS
        return Sign("store", count, due, PATIENCE_S)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``call`` returns; its errors pass through."""
        loop = asyncio.get_running_loop()

        def counted() -> T:
            self._started += 1
            try:
                return call(*args, **kwargs)
            finally:
                self._finished += 1

        with self.moves.waits():
            return await loop.run_in_executor(self._pool, counted)

    async def patient(
        self, clock: Clock, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``call`` until the disk takes it; Fatal passes through."""
        while True:
            try:
                return await self.run(call, *args, **kwargs)
            except Unavailable:
                await clock.sleep(RETRY_S)

    @contextlib.contextmanager
    def working(self) -> Iterator[StoreThread]:
        """Finish what was asked for, then end the thread."""
        try:
            yield self
        finally:
            self._pool.shutdown(wait=True)
