"""M8: far more requests than a master makes, or than a device answers.

By client and device: requests a second above three times what was learned (and above a
floor, below which nobody is hurt); requests without a reply in ten seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from agent.inspection.findings import Conversation, Finding, Level
from agent.inspection.modbus_groups import name_of
from agent.inspection.modbus_learning import LEARN_S, Learning, Phase
from agent.inspection.modbus_seconds import KEYS_MAX, NS, Ring, SecondClock, Slots
from protocols.modbus.exchanges import Problem, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.inspection.findings import View
    from protocols.frames import I64, Index
    from protocols.modbus.exchanges import ExchangeBatch

WINDOW_S: Final = 10
UNSOLICITED: Final = np.uint32(Problem.UNSOLICITED)
UNANSWERED: Final = np.uint32(Problem.UNANSWERED)


@dataclass(frozen=True, slots=True)
class FloodLimits:
    """``times`` what was learned, at least ``per_second``; ``unanswered`` in 10 s."""

    per_second: int = 100
    times: float = 3.0
    unanswered: int = 500  # Suricata calls so many a flood


class Flood:
    """M8: one finding per client, device and second; graver where most are writes."""

    def __init__(
        self, limits: FloodLimits | None = None, learn_s: int = LEARN_S
    ) -> None:
        """Take the limits, and how long to learn."""
        self._limits = limits or FloodLimits()
        self._learning = Learning(learn_s)
        self._clock = SecondClock()
        self._slots = Slots()
        self._link = np.zeros(KEYS_MAX, np.int64)
        # In the open second: requests, writes among them, refused among them.
        self._now: I64 = np.zeros((3, KEYS_MAX), np.int64)
        self._most: I64 = np.zeros(KEYS_MAX, np.int64)  # in a second, learned
        self._unanswered = Ring(WINDOW_S)

    def inspect(self, view: View) -> list[Finding]:
        """Return the floods of the seconds that closed."""
        exchanges = view.exchanges
        if exchanges is None:
            return []
        rows: Index = np.flatnonzero((exchanges.problems & UNSOLICITED) == 0)
        said: list[Finding] = []
        since = self._clock.now
        for second, first, behind in self._clock.parts(exchanges.time_ns[rows]):
            if since is not None and second > since:
                said += self._close(since, view.names)
                self._unanswered.open(since, second)
            since = second
            self._add(exchanges, rows[first:behind], second)
        return said

    def _add(self, exchanges: ExchangeBatch, rows: Index, second: int) -> None:
        key = exchanges.client[rows].astype(np.uint64) << np.uint64(16)
        key |= exchanges.server[rows]
        keys, first, group = np.unique(key, return_index=True, return_inverse=True)
        found, fresh = self._slots.find(keys)
        self._unanswered.clear(fresh)
        self._now[:, fresh] = 0
        self._most[fresh] = 0
        slots = np.array(found, np.int64)
        self._link[slots] = exchanges.link[rows[first]]
        refused = exchanges.verdict[rows] == int(Verdict.REFUSED)
        silent = (exchanges.problems[rows] & UNANSWERED) != 0
        for place, which in enumerate((None, exchanges.is_write[rows], refused)):
            part = group if which is None else group[which]
            self._now[place, slots] += np.bincount(part, minlength=len(keys))
        # Broadcasts to unit 0 of a serial line are never answered.
        silent &= (exchanges.unit[rows] != 0) & ~refused
        self._unanswered.add(
            second, slots, np.bincount(group[silent], minlength=len(keys))
        )

    def _close(self, second: int, names: Sequence[str]) -> list[Finding]:
        used = len(self._slots)
        asked, written, refused = self._now[:, :used]
        phase = self._learning.phase(second)
        limits, most = self._limits, self._most[:used]
        line = np.maximum(limits.per_second, limits.times * most)
        silent = self._unanswered.total(used)
        # What the firewall refuses is never learned, and alarms at once.
        refusing = refused * 2 > asked
        fast = asked > line
        slow = (silent >= limits.unanswered) & (asked > 0)
        said = []
        for slot in np.flatnonzero(fast | slow).tolist():
            ordinary = phase is not Phase.ARMED and not (refusing[slot] or slow[slot])
            if ordinary and phase is Phase.CALIBRATE:
                self._learning.not_silent()
            detail = f"{asked[slot]} requests in 1 s, ordinary are {line[slot]:.0f}"
            if slow[slot]:
                detail = f"{silent[slot]} requests without a reply in {WINDOW_S} s"
            key = int(self._slots.key[slot])
            said.append(
                Finding(
                    "M8", Level.NOTICE if ordinary else Level.ALERT,
                    Conversation(
                        name_of(key >> 16, names), name_of(key & 0xFFFF, names),
                        int(self._link[slot]),
                    ),
                    int(asked[slot]), second * NS, (second + 1) * NS - 1, detail,
                    "write" if written[slot] * 2 > asked[slot] else "",
                    bound=self._learning.bound()
                    if phase is Phase.ARMED and not slow[slot] else None,
                    refused=bool(refused[slot] == asked[slot]),
                )
            )  # fmt: skip
        if phase is not Phase.ARMED:
            np.maximum(most, np.where(refusing, most, asked), out=most)
        self._now[:, :used] = 0
        return said
