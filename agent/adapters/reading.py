"""Reads one bus for ever: when it goes away it is said, and tried again."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from agent.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, MutableMapping

    from agent.ports import Clock
    from agent.sources.losses import Losses

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

REOPEN_S: Final = 5.0  # a bus that is away is tried again


class Source(Protocol[T_co]):
    """A bus or a tap; see ``agent.ports.FrameSource``."""

    def batches(self) -> AsyncIterator[T_co]:
        """Yield non-empty batches in order of arrival."""

    def lost(self) -> int:
        """Return what was lost so far between kernel and us."""

    def close(self) -> None:
        """Let it go."""


async def read_bus(
    name: str,
    open_bus: Callable[[], Source[T]],
    take: Callable[[T], None],
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


def _counter(source: Source[T], before: int) -> Callable[[], int]:
    return lambda: before + source.lost()


def _constant(count: int) -> Callable[[], int]:
    return lambda: count
