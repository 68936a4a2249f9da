"""Ends a task for certain, or lets it do a step whole first.

``asyncio.wait_for`` of Python 3.11, with which aiomqtt waits for a broker's answers,
loses a cancellation that meets its result: the task goes on as if nobody had asked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

T = TypeVar("T")

CANCEL_S: Final = 2.0  # a goodbye to the broker takes less


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancel a task until it has ended; what it raised is the caller's to ask for."""
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=CANCEL_S)


async def unbroken(step: Coroutine[Any, Any, T]) -> T:
    """Return what a short step returns, also where the caller is cancelled meanwhile.

    The caller is then cancelled at its next await: what another thread has done for
    good can still be noted here.
    """
    task = asyncio.ensure_future(step)
    broken = False
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            broken = True
    if broken and (caller := asyncio.current_task()) is not None:
        caller.cancel()
    return task.result()


def first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first exception of a group that is no group itself."""
    cause: BaseException = group
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return cause
