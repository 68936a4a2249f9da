"""The store's one worker thread: SQLite waits for the disk, the event loop does not."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from agent.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.ports import Clock

RETRY_S: Final = 1.0
P = ParamSpec("P")
T = TypeVar("T")


class StoreThread:
    """Runs calls one after the other, in the order in which they were made."""

    def __init__(self) -> None:
        """Make the thread; it starts with the first call."""
        self._pool = ThreadPoolExecutor(1, "store")

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``call`` returns; its errors pass through."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: call(*args, **kwargs))

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
