"""What the reading of a bus shows to the pulse: idle and away are no stalls."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from agent.adapters.reading import Mark, read_bus, sign_of, waits
from agent.adapters.socketcan import SocketCanSource
from agent.errors import Unavailable
from agent.sources.losses import Losses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FRAME = bytes.fromhex("23010000020000000102000000000000")  # 0x123, two bytes


def test_a_socket_that_frames_wait_in_is_due() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    assert not waits(ours.fileno())
    source = SocketCanSource(ours, "can0")
    idle = sign_of("can0", 0, source)
    assert not idle.due
    theirs.send(FRAME)
    assert sign_of("can0", 0, source).due
    assert sign_of("can0", 0, source).count == idle.count
    assert source.read() is not None
    read = sign_of("can0", 0, source)
    assert not read.due
    assert read.count > idle.count
    source.close()
    assert not sign_of("can0", 0, source).due
    theirs.close()


class Bus:
    """Brings one batch, then goes away."""

    name = "bus"

    async def batches(self) -> AsyncIterator[int]:
        yield 1

    def lost(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing to let go."""


class Stopped(Exception):
    """The story is over."""


def test_a_bus_that_is_away_or_cannot_tell_is_not_judged() -> None:
    seen: list[tuple[bool, int, bool]] = []
    mark, opened = Mark("bus"), []

    class Clock:
        def now_ns(self) -> int:
            return 0

        def monotonic_ns(self) -> int:
            return 0

        async def sleep(self, seconds: float) -> None:
            del seconds
            sign = mark.sign()
            seen.append((mark.tried, sign.count, sign.due))
            if len(seen) == 3:
                raise Stopped

    def open_bus() -> Bus:
        opened.append(1)
        if len(opened) == 1:
            raise Unavailable("bus", "not there")
        return Bus()

    async def story() -> None:
        losses, troubles = Losses(), dict[str, str]()
        assert not mark.tried
        await read_bus("bus", open_bus, lambda _: None, losses, troubles, Clock(), mark)

    with contextlib.suppress(Stopped):
        asyncio.run(story())
    assert seen == [(True, 0, False), (True, 1, False), (True, 2, False)]
