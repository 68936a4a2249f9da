"""A server of the operator at one broker: it comes back when the broker does.

``run`` ends at ``stop``, after its time, or with what no other attempt would mend.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

import msgspec

from fleet.ending import ended
from fleet.errors import Unavailable
from fleet.listing import write

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSE_S: Final = 1.0  # between two attempts to connect; doubled up to
PAUSE_S_MAX: Final = 30.0


class Serving(ABC):
    """Connects, serves, and again; what a connection is for is the heir's."""

    def __init__(self, show: Callable[[str, str], None]) -> None:
        """``show`` is told what is done: a word, and whose or why."""
        self._show = show
        self._stopped = asyncio.Event()
        self._away = ""  # said already; the heir clears it once a connection serves

    def stop(self) -> None:
        """End ``run`` soon."""
        self._stopped.set()

    async def run(self, seconds: float = 0) -> None:
        """Serve until ``stop``, or for so many seconds; a broker may go and come."""
        self._stopped = asyncio.Event()
        work = asyncio.create_task(self._forever(), name="serve")
        stopped = asyncio.create_task(self._stopped.wait(), name="serve.stop")
        try:
            await asyncio.wait(
                (work, stopped),
                timeout=seconds or None,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            stopped.cancel()
            await ended(work)
        if not work.cancelled():
            work.result()  # says why

    async def _forever(self) -> None:
        pause_s = PAUSE_S
        while True:
            start_s = time.monotonic()
            try:
                await self._connected()
            except Unavailable as error:
                if error.reason != self._away:  # once, not at every attempt
                    self._show("away", error.reason)
                self._away = error.reason
            if time.monotonic() - start_s > PAUSE_S_MAX:
                pause_s = PAUSE_S
            jitter = random.uniform(0.5, 1.0)  # noqa: S311  # spreads reconnects, no secret
            await asyncio.sleep(pause_s * jitter)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)

    @abstractmethod
    async def _connected(self) -> None:
        """Connect and serve; Unavailable when the broker is gone."""


async def served(server: Serving, seconds: float) -> None:
    """Run a server until SIGTERM, SIGINT or the end of its time."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(RuntimeError, ValueError):  # not in the main thread
            loop.add_signal_handler(number, server.stop)
    await server.run(seconds)


def teller(*, as_json: bool) -> Callable[[str, str], None]:
    """Return what tells, a line each, what a server does: at once, also in a pipe."""

    def show(what: str, detail: str) -> None:
        if as_json:
            told = msgspec.json.encode({"what": what, "detail": detail})
            sys.stdout.write(told.decode() + "\n")
        else:
            write(f"{what}: {detail}")
        sys.stdout.flush()

    return show
