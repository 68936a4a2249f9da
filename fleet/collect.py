"""`sluicectl collect`: messages from the broker into the ledger, and receipts back.

Messages are gathered (GROUP_MAX of them, or GROUP_S, or until nothing more comes), put
into the ledger in one transaction, and only then acknowledged; receipts follow at once,
at most RECEIPT_S later. If the ledger fails, the service ends: nothing of the group was
acknowledged, so all of it comes again when it has been started anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from fleet.errors import Unavailable
from fleet.link import connect
from protocols.topics import down_topic, up_filters

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiomqtt

    from fleet.collector import Collector, Totals
    from fleet.ledger import Ledger
    from fleet.link import BrokerLink, BrokerOptions

GROUP_MAX: Final = 200
GROUP_S: Final = 0.05
QUIET_S: Final = 0.005  # a broker that waits for our acknowledgements sends no more
RECEIPT_S: Final = 0.5
BACKOFF_S: Final = (0.25, 10.0)  # first and longest pause between two attempts
SHOW_S: Final = 1.0


class Service:
    """One collector at one broker; ``run`` ends when ``stop`` is called."""

    def __init__(
        self,
        fleet: str,
        options: BrokerOptions,
        ledger: Ledger,
        collector: Collector,
    ) -> None:
        """Take what is opened already; the ledger is used by one thread of ours."""
        self._fleet = fleet
        self._options = options
        self._ledger = ledger
        self._collector = collector
        self._inbox: asyncio.Queue[aiomqtt.Message] = asyncio.Queue()
        self._stop = asyncio.Event()
        self._pool = ThreadPoolExecutor(1, "ledger")
        self.online = False
        self.problem = ""
        self.connections = 0

    @property
    def totals(self) -> Totals:
        """Return what came since start."""
        return self._collector.totals

    def stop(self) -> None:
        """End cleanly: what is in hand is stored, acknowledged and receipted."""
        self._stop.set()

    async def run(self) -> None:
        """Connect, serve, and again; Unavailable where the ledger fails."""
        pause_s = BACKOFF_S[0]
        try:
            while not self._stop.is_set():
                try:
                    link = await connect(self._options)
                except Unavailable as error:
                    self.problem = str(error)
                else:
                    self.connections += 1
                    if await self._served(link):
                        pause_s = BACKOFF_S[0]
                # full jitter: a fleet's collectors must not come back at once
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s * random.random()):  # noqa: S311  # jitter, nothing secret
                        await self._stop.wait()
                pause_s = min(2 * pause_s, BACKOFF_S[1])
        finally:
            self._pool.shutdown(wait=True)

    async def _served(self, link: BrokerLink) -> bool:
        """Serve one connection; True where it was subscribed."""
        self._inbox = asyncio.Queue()  # what was not acknowledged comes again
        receive = asyncio.create_task(self._receive(link), name="collect.receive")
        stop = asyncio.create_task(self._stop.wait(), name="collect.stop")
        try:
            await link.subscribe(up_filters(self._fleet))
            self.online, self.problem = True, ""
            await self._work(link, receive, stop)
        except Unavailable as error:
            if error.what == "ledger":
                raise
            self.problem = str(error)
            return self.online
        else:
            return True
        finally:
            self.online = False
            for task in (receive, stop):
                task.cancel()
            await asyncio.gather(receive, stop, return_exceptions=True)
            await link.close()

    async def _receive(self, link: BrokerLink) -> None:
        async for message in link.messages():
            self._inbox.put_nowait(message)

    async def _work(
        self,
        link: BrokerLink,
        receive: asyncio.Task[None],
        stop: asyncio.Task[bool],
    ) -> None:
        """Store groups until we are to stop; what is here by then is stored too."""
        receipted_s = time.monotonic()
        while True:
            group = await self._group(receive, stop)
            if group:
                await self._store(group)
                for message in group:
                    link.acknowledge(message)
            due = time.monotonic() - receipted_s >= RECEIPT_S
            if due or self._inbox.empty():
                receipted_s = time.monotonic()
                await self._receipts(link)
            if receive.done():
                await receive  # says why
                raise Unavailable("mqtt", "the broker went away")
            if stop.done() and self._inbox.empty():
                return

    async def _group(
        self, receive: asyncio.Task[None], stop: asyncio.Task[bool]
    ) -> list[aiomqtt.Message]:
        """Return the next messages; none after RECEIPT_S, or at the end."""
        first = asyncio.create_task(self._inbox.get())
        await asyncio.wait(
            (first, receive, stop),
            timeout=RECEIPT_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not first.done():
            first.cancel()
            return []
        group = [first.result()]
        end_s = time.monotonic() + GROUP_S
        while len(group) < GROUP_MAX:
            with contextlib.suppress(asyncio.QueueEmpty):
                group.append(self._inbox.get_nowait())
                continue
            if time.monotonic() >= end_s:
                break
            await asyncio.sleep(QUIET_S)
            if self._inbox.empty():
                break
        return group

    async def _store(self, group: list[aiomqtt.Message]) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._pool, self._take, group)

    def _take(self, group: list[aiomqtt.Message]) -> None:
        now_ns = time.time_ns()
        try:
            with self._ledger.transaction():
                for message in group:
                    payload = message.payload
                    body = payload if isinstance(payload, bytes) else b""
                    self._collector.take_topic(message.topic.value, body, now_ns)
        except sqlite3.Error as error:
            raise Unavailable("ledger", str(error)) from None

    async def _receipts(self, link: BrokerLink) -> None:
        if not self._collector.is_owing:
            return
        loop = asyncio.get_running_loop()
        made = await loop.run_in_executor(
            self._pool, self._collector.receipts, time.time_ns()
        )
        await asyncio.gather(
            *(
                link.publish(down_topic(self._fleet, device, "receipt"), body)
                for device, body in made
            )
        )
        self.problem = link.refused


async def serve(
    service: Service, show: Callable[[Service], None], seconds: float
) -> None:
    """Run a service until SIGTERM, SIGINT or ``seconds`` (0: for ever).

    ``show`` is called every SHOW_S and at the end.
    """
    loop = asyncio.get_running_loop()
    caught = []
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(RuntimeError, ValueError):  # not in the main thread
            loop.add_signal_handler(number, service.stop)
            caught.append(number)
    if seconds:
        loop.call_later(seconds, service.stop)
    shows = asyncio.create_task(_shows(service, show), name="collect.show")
    try:
        await service.run()
    finally:
        shows.cancel()
        await asyncio.gather(shows, return_exceptions=True)
        for number in caught:
            loop.remove_signal_handler(number)
        show(service)


async def _shows(service: Service, show: Callable[[Service], None]) -> None:
    while True:
        await asyncio.sleep(SHOW_S)
        show(service)
