"""Mail of one connection for several who wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from agent.ports import Link
    from agent.records import Incoming


class Mail(Protocol):
    """Takes what comes on its topics, and acknowledges it when it is dealt with."""

    topics: tuple[str, ...]

    async def take(self, link: Link, message: Incoming) -> None:
        """Take a message; never waits for more than the event loop."""


class Mails:
    """Implements ``Mail``: each topic is one's own."""

    def __init__(self, *mails: Mail) -> None:
        """Take who waits; their topics differ."""
        self._by_topic = {topic: one for one in mails for topic in one.topics}
        self.topics = tuple(self._by_topic)

    async def take(self, link: Link, message: Incoming) -> None:
        """Hand a message over to whose topic it came on."""
        await self._by_topic[message.topic].take(link, message)
