"""Reads one bus for ever: when it goes away it is said, and tried again."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from agent.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from agent.ports import Clock, FrameSource
    from agent.sources.losses import Losses
    from protocols.frames import FrameBatch

REOPEN_S: Final = 5.0  # a bus that is away is tried again


async def read_bus(
    name: str,
    open_bus: Callable[[], FrameSource],
    take: Callable[[FrameBatch], None],
    losses: Losses,
    troubles: MutableMapping[str, str],
    clock: Clock,
) -> None:
    """Hand every batch of a bus to ``take``; ends only when it is cancelled.

    ``troubles[name]`` says what is wrong while the bus is away. Losses go on counting
    from one opening of the bus to the next.
    """
    before = 0  # lost by openings that have ended
    while True:
        try:
            source = await asyncio.to_thread(open_bus)
        except Unavailable as error:
            troubles[name] = str(error)
            await clock.sleep(REOPEN_S)
            continue
        losses.watch(f"bus {name}", _counter(source, before))
        troubles.pop(name, None)
        try:
            async with contextlib.aclosing(source.batches()) as batches:  # type: ignore[type-var]  # async generators, declared as iterators
                async for batch in batches:
                    take(batch)
            troubles[name] = "the bus ended"
        except Unavailable as error:
            troubles[name] = str(error)
        finally:
            before += source.lost()
            losses.watch(f"bus {name}", _constant(before))
            source.close()
        await clock.sleep(REOPEN_S)


def _counter(source: FrameSource, before: int) -> Callable[[], int]:
    return lambda: before + source.lost()


def _constant(count: int) -> Callable[[], int]:
    return lambda: count
