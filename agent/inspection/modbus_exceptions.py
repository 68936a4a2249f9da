"""M5: exceptions in a burst: somebody tries what is not there (inspection.md 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from agent.inspection.findings import Finding, Level
from agent.inspection.modbus_groups import conversation_key, subject_of_key
from agent.inspection.modbus_seconds import NS, Ring, SecondClock, Slots

if TYPE_CHECKING:
    from agent.inspection.findings import View
    from protocols.frames import Index
    from protocols.modbus.exchanges import ExchangeBatch

WINDOW_S: Final = 10
EXCEPTIONS_MIN: Final = 5
SHARE_MIN: Final = 0.2
REPLIES: Final = 0
EXCEPTIONS: Final = 1


class ExceptionBurst:
    """At least ``count`` exceptions, and ``share`` of all replies, in ten seconds.

    Only what devices themselves answer counts: what a proxy refuses in their name is
    the policy's.
    """

    def __init__(self, count: int = EXCEPTIONS_MIN, share: float = SHARE_MIN) -> None:
        """Take the thresholds."""
        self._count, self._share = count, share
        self._clock = SecondClock()
        self._slots = Slots()
        self._rings = (Ring(WINDOW_S), Ring(WINDOW_S))

    def inspect(self, view: View) -> list[Finding]:
        """Return one finding per conversation and second of a burst."""
        exchanges = view.exchanges
        if exchanges is None:
            return []
        rows: Index = np.flatnonzero(exchanges.reply_ns > 0)
        said: list[Finding] = []
        since = self._clock.now
        for second, first, behind in self._clock.parts(exchanges.reply_ns[rows]):
            if since is not None and second > since:
                said += self._close(view, since)
                for ring in self._rings:
                    ring.open(since, second)
            since = second
            self._add(exchanges, rows[first:behind], second)
        return said

    def _add(self, exchanges: ExchangeBatch, rows: Index, second: int) -> None:
        keys, group = np.unique(conversation_key(exchanges, rows), return_inverse=True)
        found, fresh = self._slots.find(keys)
        slots = np.array(found, np.int64)
        strange = exchanges.exception[rows] > 0
        counts = (
            np.bincount(group, minlength=len(keys)),
            np.bincount(group[strange], minlength=len(keys)),
        )
        for ring, count in zip(self._rings, counts, strict=True):
            ring.clear(fresh)
            ring.add(second, slots, count)

    def _close(self, view: View, second: int) -> list[Finding]:
        """Return what the window that ends with ``second`` shows."""
        used = len(self._slots)
        replies, strange = (ring.total(used) for ring in self._rings)
        now = self._rings[EXCEPTIONS].counts[:used, second % WINDOW_S]
        burst = (strange >= self._count) & (strange >= self._share * replies)
        return [
            Finding(
                "M5", Level.ALERT,
                subject_of_key(int(self._slots.key[slot]), view.names),
                int(now[slot]), second * NS, (second + 1) * NS - 1,
                f"{strange[slot]} exceptions in {replies[slot]} replies of "
                f"{WINDOW_S} s",
            )
            for slot in np.flatnonzero(burst & (now > 0)).tolist()
        ]  # fmt: skip
