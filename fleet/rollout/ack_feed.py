"""The fleet's acks from the broker into a book: what is kept there and what is new.

It subscribes to what is new, and asks for what the broker keeps device by device, in
small groups: a mosquitto with its settings as shipped drops 8,600 of 10,000 retained
messages that one subscription asks for. Asking again finds whatever else was dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from fleet.errors import Unavailable
from fleet.link import connect
from protocols.errors import WireError
from protocols.topics import PREFIX, check_name, parse_up, up_topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from fleet.link import BrokerLink, BrokerOptions
    from fleet.rollout.totals import AckBook

ASKED_AT_ONCE: Final = 200  # half of what the link takes unacknowledged
QUIET_S: Final = (0.1, 0.5)  # nothing more comes: at first, and when asked again
ASK_WAIT_S: Final = 5.0  # for one group, whatever else comes
QUEUE_MAX: Final = 100_000  # acks that wait for us, 16 kB each at most


class AckFeed:
    """One connection that fills a book while it is open."""

    def __init__(self, link: BrokerLink, fleet: str, book: AckBook) -> None:
        """Take a connected link and read; `opened` makes one."""
        self._link = link
        self._fleet = fleet
        self._book = book
        self._asked: set[str] = set()
        self._came = asyncio.Event()
        self.heard_s = time.monotonic()
        self._task = asyncio.create_task(self._read(), name="rollout.acks")

    async def sleep(self, seconds: float) -> None:
        """Let acks come for a while; Unavailable when the connection is lost."""
        await asyncio.wait((self._task,), timeout=seconds)
        if self._task.done():
            await self._task  # says why

    async def close(self) -> None:
        """End reading; the link stays the caller's to close."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        async for message in self._link.messages():
            self._link.acknowledge(message)  # kept at the broker: nothing can be lost
            try:
                _, device, kind = parse_up(message.topic.value)
            except WireError:
                continue
            if kind != "ack" or not isinstance(message.payload, bytes):
                continue
            self._book.take(device, message.payload)
            self.heard_s = time.monotonic()
            if device in self._asked:  # others' news are no sign that more of it comes
                self._asked.discard(device)
                self._came.set()
        raise Unavailable("mqtt", "the broker went away")

    async def ask(self, devices: Iterable[str]) -> None:
        """Fetch the acks that the broker keeps of ``devices``.

        Those of whom nothing is known then are asked for once more, with more patience:
        200 silent devices cost 0.6 s.
        """
        wanted = sorted(devices)
        for quiet_s in QUIET_S:
            for first in range(0, len(wanted), ASKED_AT_ONCE):
                await self._ask(wanted[first : first + ASKED_AT_ONCE], quiet_s)
            wanted = [one for one in wanted if one not in self._book.acks]

    async def _ask(self, group: list[str], quiet_s: float) -> None:
        topics = [up_topic(self._fleet, device, "ack") for device in group]
        self._asked = set(group)
        await self._link.subscribe(topics)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ASK_WAIT_S):
                await self._settled(quiet_s)
        await self._link.unsubscribe(topics)

    async def _settled(self, quiet_s: float) -> None:
        """Return when all that was asked for came, or nothing for ``quiet_s``."""
        while self._asked:
            self._came.clear()
            try:
                async with asyncio.timeout(quiet_s):
                    await self._came.wait()
            except TimeoutError:
                return


@contextlib.asynccontextmanager
async def opened(
    options: BrokerOptions, fleet: str, book: AckBook
) -> AsyncIterator[AckFeed]:
    """Yield a feed that reads while the block runs; Unavailable for the broker."""
    topic = f"{PREFIX}/{check_name('fleet', fleet)}/+/ack"
    link = await connect(options, session_s=0, queue_max=QUEUE_MAX)
    feed = AckFeed(link, fleet, book)
    try:
        await link.subscribe([topic], retained=False)
        yield feed
    finally:
        await feed.close()
        await link.close()
