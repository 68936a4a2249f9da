"""`sluicectl policy serve`: a fresh timestamp, and an answer to devices that ask.

It renews the timestamp when half of its life is over, publishes it retained on
``policy/timestamp``, and answers the nonces of devices' retained acks on their
``command`` topic. It may come and go: acks and bundle wait at the broker. A publisher
beside it is seen within CHECK_S, because the repository's folder is looked at.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Final

from fleet.errors import BadInput, FleetError, Refused, Unavailable
from fleet.link import connect
from fleet.serving import Serving
from fleet.trust.freshness import Answerer
from fleet.trust.making import DAY_S
from fleet.trust.publishing import BUNDLE, STAMP
from policies.trust.form import BYTES_MAX
from protocols.bundle import TIMESTAMP
from protocols.errors import WireError
from protocols.topics import PREFIX, down_topic, parse_up, policy_topic, up_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fleet.link import BrokerLink, BrokerOptions
    from fleet.trust.release import Release

CHECK_S: Final = 5.0
STAMP_FILE: Final = f"metadata/{TIMESTAMP}"
ASKED_AT_ONCE: Final = 200
ASK_S: Final = 0.2  # for what is kept of one group to come


class Server(Serving):
    """One fleet's timestamp server at one broker."""

    def __init__(
        self,
        release: Release,
        options: BrokerOptions,
        keys: Mapping[str, bytes],
        show: Callable[[str, str], None],
    ) -> None:
        """Take what signs, the broker, the registry; ``show`` is told what is done.

        BadInput where nothing is published yet, or a key is not at hand.
        """
        super().__init__(show)
        self._release = release
        self._options = options
        self._fleet = release.repository.fleet
        key = release.online().timestamp
        if release.repository.standing().timestamp is None:
            place = str(release.repository.folder)
            raise BadInput(place, "", "nothing is published yet")
        self._keys = keys
        self._answerer = Answerer(self._fleet, keys, key)
        self._stamp: tuple[int, bytes] = (0, b"")

    @property
    def answered(self) -> int:
        """Return how many devices were answered."""
        return self._answerer.answered

    async def _connected(self) -> None:
        link = await connect(self._options, session_s=0)
        try:
            await self._publish(link, whole=True)
            while self._is_behind():  # ours may have come after the newer bundle
                await self._publish(link, whole=True)
            await link.subscribe([f"{PREFIX}/{self._fleet}/+/ack"], retained=False)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._renewing(link), name="serve.renewing")
                tasks.create_task(self._answering(link), name="serve.answering")
                tasks.create_task(self._asking(link), name="serve.asking")
        except* FleetError as group:
            raise Unavailable("serve", str(group.exceptions[0])) from None
        finally:
            await link.close()

    async def _asking(self, link: BrokerLink) -> None:
        """Have the broker send the acks that it keeps, a few devices at a time.

        All at once a mosquitto as shipped drops most of ten thousand.
        """
        waiting = iter(sorted(self._keys))
        while group := list(itertools.islice(waiting, ASKED_AT_ONCE)):
            topics = [up_topic(self._fleet, device, "ack") for device in group]
            await link.subscribe(topics)
            await asyncio.sleep(ASK_S)
            await link.unsubscribe(topics)

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
        self._stamp, self._away = stamp, ""
        self._answerer.use(self._release.online().timestamp)  # it may be another now
        self._show("published", f"timestamp {stamp[0]}")

    def _is_behind(self) -> bool:
        """Tell whether somebody has published since we looked."""
        newest = self._release.repository.view().read(STAMP_FILE, BYTES_MAX[STAMP])
        return newest != self._stamp[1]

    async def _answering(self, link: BrokerLink) -> None:
        async for message in link.messages():
            link.acknowledge(message)
            try:
                _, device, kind = parse_up(message.topic.value)
            except WireError:
                continue
            if kind != "ack" or not isinstance(message.payload, bytes):
                continue
            if self._is_behind():  # a device that is ahead would refuse the answer
                await self._publish(link, whole=False)
            body = self._answerer.answer(
                device, message.payload, self._stamp, time.time_ns()
            )
            if body is not None:
                topic = down_topic(self._fleet, device, "command")
                await link.publish(topic, body)
                self._show("answered", device)
        raise Unavailable("mqtt", "the broker went away")
