"""`sluicectl enrol serve`: devices that ask get their next certificate. Until SIGTERM.

It may come and go: requests wait at the broker (a session of a week), and devices ask
again. The certificate is on the disk before it is sent.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

from fleet.errors import BadInput, Refused, Unavailable
from fleet.link import connect
from fleet.serving import Serving
from protocols.enrolment import encode_answer
from protocols.errors import WireError
from protocols.topics import PREFIX, down_topic, parse_up

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiomqtt

    from fleet.enrol.desk import Desk
    from fleet.link import BrokerLink, BrokerOptions


class Server(Serving):
    """One fleet's renewals at one broker."""

    def __init__(
        self,
        fleet: str,
        desk: Desk,
        options: BrokerOptions,
        show: Callable[[str, str], None],
    ) -> None:
        """``show`` is told what was done: a word, and whose or why."""
        super().__init__(show)
        self._fleet = fleet
        self._desk = desk
        self._options = options
        self.renewed = 0
        self.refused = 0

    async def _connected(self) -> None:
        link = await connect(self._options)
        self._away = ""
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
