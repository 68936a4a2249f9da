"""What the broker brings about policies, until it is dealt with: the newest waits.

Step (1) of the policy path: sizes, topic by topic, before anything is parsed. A message
is acknowledged once its result is durable; one that a newer one replaced, at once. So a
flood costs the work of one message at a time, and the memory of one of each kind.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.errors import Refused, Unavailable
from protocols.bundle import BUNDLE_BYTES_MAX
from protocols.freshness import ANSWER_BYTES_MAX
from protocols.topics import down_topic, policy_topic

if TYPE_CHECKING:
    from agent.ports import Link
    from agent.records import Incoming

BUNDLE: Final = "bundle"
TIMESTAMP: Final = "timestamp"
COMMAND: Final = "command"
BYTES_MAX: Final = {
    BUNDLE: BUNDLE_BYTES_MAX,
    TIMESTAMP: 64 * 1024,
    COMMAND: ANSWER_BYTES_MAX,
}
# What the link takes at most: more than any topic may hold, so that what is too large
# is refused by name here, and not dropped unseen by the broker.
MESSAGE_BYTES_MAX: Final = BUNDLE_BYTES_MAX + 128 * 1024
COMMANDS_WAITING_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Letter:
    """One message, and where its acknowledgement goes."""

    link: Link
    message: Incoming
    bytes_max: int

    @property
    def body(self) -> bytes:
        """Return what it says."""
        return self.message.body

    def check_size(self) -> None:
        """Step (1): return where its topic may hold so much, else Refused."""
        if len(self.body) > self.bytes_max:
            reason = f"{self.message.topic}: larger than {self.bytes_max} bytes"
            raise Refused("size", reason)

    async def dealt_with(self) -> None:
        """Let the broker forget it; where the link is gone, it comes again."""
        with contextlib.suppress(Unavailable):
            await self.link.acknowledge(self.message)


class PolicyInbox:
    """Implements ``adapters.mails.Mail`` for one fleet and device."""

    def __init__(self, fleet: str, device: str) -> None:
        """Nothing has come."""
        self._kinds = {
            policy_topic(fleet, BUNDLE): BUNDLE,
            policy_topic(fleet, TIMESTAMP): TIMESTAMP,
            down_topic(fleet, device, COMMAND): COMMAND,
        }
        self.topics = tuple(self._kinds)
        self.superseded = 0
        self._newest: dict[str, Letter] = {}
        self._commands: deque[Letter] = deque()
        self._came = asyncio.Event()

    async def take(self, link: Link, message: Incoming) -> None:
        """Let the newest message of its kind wait; never waits itself."""
        kind = self._kinds[message.topic]
        letter = Letter(link, message, BYTES_MAX[kind])
        old: Letter | None = None
        if kind == COMMAND:
            self._commands.append(letter)
            if len(self._commands) > COMMANDS_WAITING_MAX:
                old = self._commands.popleft()
        else:
            old = self._newest.get(kind)
            self._newest[kind] = letter
        if old is not None:
            self.superseded += 1
            await old.dealt_with()
        self._came.set()

    def wake(self) -> None:
        """Let who waits look, though nothing came."""
        self._came.set()

    async def wait(self, seconds: float) -> bool:
        """Wait until something has come, or for so long; tell which."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._came.wait()
        self._came.clear()
        return bool(self._newest or self._commands)

    def newest(self, kind: str) -> Letter | None:
        """Take out the newest message of a kind; None where none has come."""
        return self._newest.pop(kind, None)

    def commands(self) -> list[Letter]:
        """Take out all commands, oldest first."""
        found = [*self._commands]
        self._commands.clear()
        return found
