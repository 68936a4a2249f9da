"""Ends a task for certain.

``asyncio.wait_for`` of Python 3.11, with which aiomqtt waits for a broker's answers,
loses a cancellation that meets its result: the task goes on as if nobody had asked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import Any

CANCEL_S: Final = 2.0  # a goodbye to the broker takes less


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancel a task until it has ended; what it raised is the caller's to ask for."""
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=CANCEL_S)
