"""Reads one bus for ever: when it goes away it is said, and tried again.

An idle bus is no stall, and neither is one that is away: it is one where something
waits to be read and nobody reads it. A bus that cannot tell (``is_due``) is not judged.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, runtime_checkable

from agent.errors import Unavailable
from agent.vitals import Sign

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, MutableMapping

    from agent.ports import Clock
    from agent.sources.losses import Losses

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

REOPEN_S: Final = 5.0  # a bus that is away is tried again
PATIENCE_S: Final = 60.0


@runtime_checkable
class Telling(Protocol):
    """A source that tells whether something waits to be read.

    ``turns`` rises whenever it has read, also where what it read makes no batch.
    """

    turns: int

    def is_due(self) -> bool:
        """Tell, without reading."""


@dataclass(eq=False, slots=True)
class Mark:
    """What the reading of one bus leaves behind for the pulse."""

    name: str
    steps: int = 0
    tried: bool = False  # to open it, once at least
    open: object = None  # the source, while it is open

    def sign(self) -> Sign:
        """Return what it shows now."""
        return sign_of(self.name, self.steps, self.open)


def sign_of(name: str, steps: int, source: object) -> Sign:
    """Return what a source shows now; ``source``: None while it is away."""
    turns, due = 0, False
    if isinstance(source, Telling):
        turns, due = source.turns, source.is_due()
    return Sign(f"source {name}", steps + turns, due, PATIENCE_S)


def waits(descriptor: int) -> bool:
    """Tell whether a descriptor can be read, without waiting; False once closed."""
    if descriptor < 0:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return any(events & select.POLLIN for _, events in poll.poll(0))


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
    mark: Mark | None = None,
) -> None:
    """Hand every batch of a bus to ``take``; ends only when it is cancelled.

    ``troubles[name]`` says what is wrong while the bus is away. Losses go on counting
    from one opening of the bus to the next.
    """
    mark = mark or Mark(name)
    before = 0  # lost by openings that have ended
    while True:
        try:
            source = await asyncio.to_thread(open_bus)
        except Unavailable as error:
            troubles[name] = str(error)
            mark.tried = True
            await clock.sleep(REOPEN_S)
            continue
        mark.tried, mark.open = True, source
        losses.watch(f"bus {name}", _counter(source, before))
        troubles.pop(name, None)
        try:
            async with contextlib.aclosing(source.batches()) as batches:  # type: ignore[type-var]  # async generators, declared as iterators
                async for batch in batches:
                    mark.steps += 1
                    take(batch)
            troubles[name] = "the bus ended"
        except Unavailable as error:
            troubles[name] = str(error)
        finally:
            mark.open = None
            before += source.lost()
            losses.watch(f"bus {name}", _constant(before))
            source.close()
        await clock.sleep(REOPEN_S)


def _counter(source: Source[T], before: int) -> Callable[[], int]:
    return lambda: before + source.lost()


def _constant(count: int) -> Callable[[], int]:
    return lambda: count
