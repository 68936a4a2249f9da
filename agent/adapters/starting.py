"""The long steps of a start: systemd waits for them as long as they get on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.adapters.store_thread import StoreThread
    from agent.adapters.systemd import Notifier

P = ParamSpec("P")
T = TypeVar("T")

LOOK_S: Final = 5.0
MORE_S: Final = 30.0  # from each look that saw it work


class Hangups:
    """Remembers that a reload was asked for before anybody could do it."""

    def __init__(self) -> None:
        """Nobody asked yet."""
        self.asked = False

    def note(self, number: int, frame: object) -> None:
        """Take the signal, as ``signal.signal`` hands it over."""
        del number, frame
        self.asked = True


class Start:
    """Runs steps in the store's thread, and asks systemd for more time meanwhile.

    A step that neither computes nor gets its pages asks for none: systemd ends it.
    """

    def __init__(
        self, notifier: Notifier, thread: StoreThread, look_s: float = LOOK_S
    ) -> None:
        """``look_s``: how often it is looked at."""
        self._notifier = notifier
        self._thread = thread
        self._look_s = look_s

    async def step(
        self, what: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what ``call`` returns; ``what`` is told while it lasts."""
        task = asyncio.ensure_future(self._thread.run(call, *args, **kwargs))
        before = self._thread.sign().count
        while True:
            done, _ = await asyncio.wait((task,), timeout=self._look_s)
            if done:
                return task.result()
            count = self._thread.sign().count
            if count != before:
                self._notifier.extend(MORE_S, f"starting: {what}")
            before = count
