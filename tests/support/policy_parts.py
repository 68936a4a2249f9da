"""The parts of a policy bench that stand for the world: time, a link, a broker."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING

from agent.adapters.clock import SystemClock
from agent.adapters.publisher import Publisher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.records import Incoming


class Timeline(SystemClock):
    """Wall and monotonic time that stand still until they are moved."""

    def __init__(self, now_ns: int) -> None:
        self.wall_ns, self.mono_ns, self.used_ns = now_ns, 10**12, 0
        self.synchronised = True

    def now_ns(self) -> int:
        return self.wall_ns

    def monotonic_ns(self) -> int:
        return self.mono_ns

    def cpu_ns(self) -> int:
        return self.used_ns

    def is_synchronised(self) -> bool:
        return self.synchronised

    async def sleep(self, seconds: float) -> None:
        self.pass_time(seconds)
        await asyncio.sleep(0)

    def pass_time(self, seconds: float) -> None:
        self.wall_ns += int(seconds * 1e9)
        self.mono_ns += int(seconds * 1e9)


class Wire:
    """A link that only counts what was acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: list[Incoming] = []

    async def acknowledge(self, message: Incoming) -> None:
        self.acknowledged.append(message)


class NoUplink:
    """What the policy path asks of an uplink."""

    def __init__(self) -> None:
        self.online = True
        self.counts: Counter[str] = Counter()
        self.paused_times = 0

    @contextlib.asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        self.paused_times += 1
        yield


class Told(Publisher):
    """A publisher whose acks are read here."""

    acks: list[bytes]

    def acknowledge(self, ack: bytes) -> None:
        self.acks.append(ack)
        super().acknowledge(ack)
