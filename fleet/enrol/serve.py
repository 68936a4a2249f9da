"""`sluicectl enrol serve`: devices that ask get their next certificate. Until SIGTERM.

It may come and go: requests wait at the broker (a session of a week), and devices ask
again. The certificate is on the disk before it is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
import signal
from typing import TYPE_CHECKING, Final

from fleet.ending import ended
from fleet.errors import BadInput, Refused, Unavailable
from fleet.link import connect
from protocols.enrolment import encode_answer
from protocols.errors import WireError
from protocols.topics import PREFIX, down_topic, parse_up

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiomqtt

    from fleet.enrol.desk import Desk
    from fleet.link import BrokerLink, BrokerOptions

PAUSE_S: Final = (1.0, 30.0)  # between two attempts to connect


class Server:
    """One fleet's renewals at one broker."""

    def __init__(
        self,
        fleet: str,
        desk: Desk,
        options: BrokerOptions,
        show: Callable[[str, str], None],
    ) -> None:
        """``show`` is told what was done: a word, and whose or why."""
        self._fleet = fleet
        self._desk = desk
        self._options = options
        self._show = show
        self._stopped = asyncio.Event()
        self.renewed = 0
        self.refused = 0

    def stop(self) -> None:
        """End ``run`` soon."""
        self._stopped.set()

    async def run(self, seconds: float = 0) -> None:
        """Serve until ``stop``, or for so many seconds; a broker may go and come."""
        self._stopped = asyncio.Event()
        work = asyncio.create_task(self._forever(), name="enrol")
        stopped = asyncio.create_task(self._stopped.wait(), name="enrol.stop")
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
        pause_s, away = PAUSE_S[0], ""
        while True:
            try:
                link = await connect(self._options)
                pause_s, away = PAUSE_S[0], ""
                await self._serve(link)
            except Unavailable as error:
                if error.reason != away:  # once, not at every attempt
                    self._show("away", error.reason)
                away = error.reason
            jitter = random.uniform(0.5, 1.0)  # noqa: S311  # spreads reconnects, no secret
            await asyncio.sleep(pause_s * jitter)
            pause_s = min(2 * pause_s, PAUSE_S[1])

    async def _serve(self, link: BrokerLink) -> None:
        try:
            await link.subscribe([f"{PREFIX}/{self._fleet}/+/enrol"])
            self._show("serving", f"{self._options.host}:{self._options.port}")
            async for message in link.messages():
                await self._answer(link, message)
                link.acknowledge(message)
        finally:
            await link.close()
        raise Unavailable("mqtt", "the broker went away")

    async def _answer(self, link: BrokerLink, message: aiomqtt.Message) -> None:
        try:
            _, device, _ = parse_up(message.topic.value)
            body = message.payload if isinstance(message.payload, bytes) else b""
            now = dt.datetime.now(dt.UTC)
            answer = await asyncio.to_thread(self._desk.renewed, device, body, now)
        except WireError:
            self.refused += 1
            return
        except (Refused, BadInput) as error:  # a damaged file is one device's trouble
            self.refused += 1
            self._show("refused", f"{message.topic.value}: {error}")
            return
        topic = down_topic(self._fleet, device, "enrolled")
        await link.publish(topic, encode_answer(answer))
        self.renewed += 1
        self._show("renewed", device)


async def served(server: Server, seconds: float) -> None:
    """Run a server until SIGTERM, SIGINT or the end of its time."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(RuntimeError, ValueError):  # not in the main thread
            loop.add_signal_handler(number, server.stop)
    await server.run(seconds)
