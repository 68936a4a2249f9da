"""The Modbus proxies: we stand between masters and devices, and judge every request.

All links share one thread with an event loop of its own, so that a batch in the flow
does not delay a PLC's round trip. The threads meet in four places: ``use`` replaces the
judge, ``take`` hands over what passed, ``statistics`` reads numbers, ``stop`` ends it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from agent.adapters.modbus.proxy_counts import ProxyStatistics
from agent.adapters.modbus.proxy_line import Line
from agent.adapters.modbus.proxy_log import ProxyLog
from agent.adapters.modbus.proxy_loop import ProxyLoop
from agent.adapters.modbus.proxy_rules import Judging, Rules
from agent.errors import Fatal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.adapters.modbus.proxy_settings import ProxyLink
    from protocols.modbus.exchanges import PairBatch
    from protocols.modbus.peers import Peers

log = logging.getLogger("sluicegate.proxy")

# How long a thread may keep the interpreter while another wants it. Python's 5 ms would
# be added to a round trip up to six times while the flow works on a batch: with the
# main thread busy in Python, p99 is 22 ms with 5 ms and 4 ms with this.
SWITCH_S: Final = 0.0002
START_S: Final = 10.0
BEAT_S: Final = 1.0
STOP_S: Final = 15.0  # beyond a device's timeout; then the thread is left to the exit


class ModbusProxy:
    """All proxied links. Make it, ``start`` it, ``stop`` it; once."""

    def __init__(
        self,
        links: Sequence[ProxyLink],
        peers: Peers,
        *,
        wall: Callable[[], int] = time.time_ns,
        mono: Callable[[], int] = time.monotonic_ns,
        log_rows_max: int | None = None,
    ) -> None:
        """BadInput where a TLS file cannot be used; nothing is opened yet."""
        self._rules = Rules()
        self._log = ProxyLog() if log_rows_max is None else ProxyLog(log_rows_max)
        clocks = (wall, mono)
        self._lines = [
            Line(link, self._rules, self._log, peers, clocks) for link in links
        ]
        self._thread = threading.Thread(
            target=self._main, name="modbus proxy", daemon=True
        )
        self._started = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: ProxyLoop | None = None
        self._failure = ""
        self.beats = 0  # seconds in which the thread's loop came round
        self._switch_s = 0.0

    # --- for the runtime -------------------------------------------------------------

    def start(self, wake: Callable[[], None] | None = None) -> None:
        """Open the listeners and go.

        ``wake`` is called, in the proxies' thread, when there is something to take. A
        listener that cannot be opened now is tried again; ``statistics`` says so.
        """
        self._log.wake = wake
        self._switch_s = sys.getswitchinterval()
        sys.setswitchinterval(min(SWITCH_S, self._switch_s))
        self._thread.start()
        self._started.wait(START_S)

    def stop(self) -> None:
        """Accept nobody, end what is under way, close; waits for the thread."""
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None and self._thread.is_alive():
            loop.call_soon_threadsafe(stop.set)
            self._thread.join(STOP_S)
        sys.setswitchinterval(self._switch_s or sys.getswitchinterval())

    def use(self, judge: Judging | None, *, clock_ok: bool | None = None) -> None:
        """Judge by this from the next ADU on; None: no policy decides."""
        self._rules.judge = judge
        if clock_ok is not None:
            self._rules.clock_ok = clock_ok

    def believe_clock(self, ok: bool) -> None:
        """Say whether the wall clock is believed: rules with time windows ask."""
        self._rules.clock_ok = ok

    def take(self) -> PairBatch | None:
        """Return what passed, or was refused, since; Fatal where the thread died."""
        if self._failure:
            raise Fatal(f"the Modbus proxies' thread died: {self._failure}")
        return self._log.take()

    def take_by_judge(self) -> list[tuple[Judging | None, PairBatch]]:
        """Return the same, by whose rules ``rule`` numbers; Fatal likewise."""
        if self._failure:
            raise Fatal(f"the Modbus proxies' thread died: {self._failure}")
        return self._log.take_by_judge()

    def port(self, name: str) -> int:
        """Return the port on which a link listens; 0 where it does not yet."""
        return next(line.port for line in self._lines if line.link.name == name)

    def statistics(self) -> ProxyStatistics:
        """Return counters of all links."""
        return ProxyStatistics(
            tuple(line.statistics() for line in self._lines),
            len(self._log),
            self._log.lost,
        )

    # --- the thread ------------------------------------------------------------------

    def _main(self) -> None:
        finished = False
        try:
            loop = ProxyLoop()
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(self._serve(loop))
            finished = True
        finally:
            if not finished:  # a bug: the sockets are closed, the runtime is told
                self._failure = type(sys.exception()).__name__
                if self._log.wake is not None:
                    self._log.wake()
            self._started.set()

    async def _serve(self, loop: ProxyLoop) -> None:
        self._loop = loop
        loop.set_exception_handler(_odd)
        self._stop = asyncio.Event()
        for line in self._lines:
            line.listen()
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(line.run(loop), name=f"proxy.{line.link.name}")
                for line in self._lines
            ]
            running.append(tasks.create_task(self._beat(), name="proxy.beat"))
            self._started.set()
            await self._stop.wait()
            await asyncio.gather(*(line.drain() for line in self._lines))
            for task in running:
                task.cancel()

    async def _beat(self) -> None:
        while True:
            self.beats += 1
            await asyncio.sleep(BEAT_S)


def _odd(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """One line for what asyncio could not give to anybody; never its bytes.

    An exception in a protocol's callback closes that connection: nothing is forwarded.
    """
    del loop
    error = context.get("exception")
    log.error("modbus proxy: %s", type(error).__name__ if error else "asyncio")
