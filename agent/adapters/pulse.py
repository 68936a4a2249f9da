"""Feeds systemd's watchdog while every part of the daemon makes progress.

What is progress is decided in ``agent/vitals.py``. Where a part stalls, one line in the
log names it, and nothing is fed until it moves again: after WATCHDOG_USEC systemd ends
the process (SIGABRT) and starts another, which recovers from the store.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from agent.vitals import Vitals, alarm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.adapters.systemd import Notifier
    from agent.ports import Clock
    from agent.vitals import Sign, Stalled

LOOK_S: Final = 5.0
log = logging.getLogger("sluicegate.pulse")


class Pulse:
    """Looks every few seconds, at least twice within the watchdog's time."""

    def __init__(
        self,
        notifier: Notifier,
        clock: Clock,
        signs: Callable[[], Iterable[Sign]],
        status: Callable[[], str],
    ) -> None:
        """``signs``: what all parts show now; ``status``: the line that is told."""
        self._notifier = notifier
        self._clock = clock
        self._signs = signs
        self._status = status
        self.every_s = min(LOOK_S, notifier.watchdog_s / 2 or LOOK_S)
        self._vitals = Vitals(2 * self.every_s)
        self.stalled: tuple[Stalled, ...] = ()

    async def run(self) -> None:
        """Look and feed, until cancelled."""
        while True:
            self.beat()
            await self._clock.sleep(self.every_s)

    def beat(self) -> None:
        """Look once: feed, or say who is stalled."""
        before = {one.part for one in self.stalled}
        self.stalled = self._vitals.look(self._clock.monotonic_ns(), self._signs())
        if not self.stalled:
            if before:
                log.warning("progress again: the watchdog is fed")
            self._notifier.alive(self._status())
            return
        line = alarm(self.stalled)
        if not before:
            log.error("%s; the watchdog is not fed", line)
        self._notifier.status(line)
