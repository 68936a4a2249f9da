"""`sluicectl policy serve`: a fresh timestamp, and an answer to devices that ask.

It renews the timestamp when half of its life is over, publishes it retained on
``policy/timestamp``, and answers the nonces of devices' retained acks on their
``command`` topic. It may come and go: acks and bundle wait at the broker. A publisher
beside it is seen within CHECK_S, because the repository's folder is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import TYPE_CHECKING, Final

from fleet.errors import BadInput, FleetError, Refused, Unavailable
from fleet.freshness import Answerer
from fleet.link import connect
from fleet.making import DAY_S
from fleet.publishing import BUNDLE, STAMP
from protocols.errors import WireError
from protocols.topics import PREFIX, down_topic, parse_up, policy_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fleet.link import BrokerLink, BrokerOptions
    from fleet.release import Release

CHECK_S: Final = 5.0
PAUSE_S_MAX: Final = 30.0


class Server:
    """One fleet's timestamp server at one broker."""

    def __init__(
        self,
        release: Release,
        options: BrokerOptions,
        keys: Mapping[str, bytes],
        show: Callable[[str, str], None],
    ) -> None:
        """Take what signs, the broker, the registry; ``show`` is told what is done."""
        self._release = release
        self._options = options
        self._show = show
        self._fleet = release.repository.fleet
        key = release.online().timestamp
        self._answerer = Answerer(self._fleet, keys, key)
        self._stamp: tuple[int, bytes] = (0, b"")

    @property
    def answered(self) -> int:
        """Return how many devices were answered."""
        return self._answerer.answered

    async def run(self, seconds: float = 0) -> None:
        """Serve until cancelled, or for so many seconds; a broker may go and come."""
        pause_s = 1.0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds or None):
                while True:
                    try:
                        await self._connected()
                        pause_s = 1.0
                    except Unavailable as error:
                        self._show("away", error.reason)
                    jitter = random.uniform(0.5, 1.0)  # noqa: S311  # spreads reconnects, no secret
                    await asyncio.sleep(pause_s * jitter)
                    pause_s = min(2 * pause_s, PAUSE_S_MAX)

    async def _connected(self) -> None:
        link = await connect(self._options, session_s=0)
        try:
            await self._publish(link, whole=True)
            await link.subscribe([f"{PREFIX}/{self._fleet}/+/ack"])
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._renewing(link), name="serve.renewing")
                tasks.create_task(self._answering(link), name="serve.answering")
        except* FleetError as group:
            raise Unavailable("serve", str(group.exceptions[0])) from None
        finally:
            await link.close()

    async def _renewing(self, link: BrokerLink) -> None:
        while True:
            await self._publish(link, whole=False)
            await asyncio.sleep(CHECK_S)

    async def _publish(self, link: BrokerLink, *, whole: bool) -> None:
        """Renew where it is due; publish what the broker has not had from us."""
        now = self._release.repository.standing()
        if now.timestamp is None:
            place = str(self._release.repository.folder)
            raise BadInput(place, "", "nothing is published yet")
        left_s = int(now.timestamp.expires.timestamp()) - time.time()
        if left_s < self._release.repository.days.timestamp * DAY_S / 2:
            try:
                self._release.renew()
            except (BadInput, Refused) as error:  # another changes it, or a key is old
                self._show("not renewed", str(error))
            now = self._release.repository.standing()
        assert now.timestamp is not None  # it was there
        stamp = (now.timestamp.version, now.raw["timestamp"])
        if stamp == self._stamp and not whole:
            return
        parts = {STAMP: self._release.renewal()}
        if whole:
            parts = {BUNDLE: self._release.bundle(), **parts}
        for part, message in parts.items():
            await link.publish(policy_topic(self._fleet, part), message, retain=True)
            if link.refused:
                raise Unavailable("mqtt", link.refused)
        self._stamp = stamp
        self._answerer.use(self._release.online().timestamp)  # it may be another now
        self._show("published", f"timestamp {stamp[0]}")

    async def _answering(self, link: BrokerLink) -> None:
        async for message in link.messages():
            link.acknowledge(message)
            try:
                _, device, kind = parse_up(message.topic.value)
            except WireError:
                continue
            if kind != "ack" or not isinstance(message.payload, bytes):
                continue
            body = self._answerer.answer(
                device, message.payload, self._stamp, time.time_ns()
            )
            if body is not None:
                topic = down_topic(self._fleet, device, "command")
                await link.publish(topic, body)
                self._show("answered", device)
        raise Unavailable("mqtt", "the broker went away")
