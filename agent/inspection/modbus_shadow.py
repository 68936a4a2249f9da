"""M11/other: two readers of the same register see different values.

Whoever alters answers to one client leaves those to another, or to the agent's own
polls. Compared are answers of the same second; how far they may lie apart is learned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from agent.inspection.findings import Conversation, Finding, Level
from agent.inspection.modbus_groups import name_of
from agent.inspection.modbus_learning import FIT_SHARE, LEARN_S, bound_of
from agent.inspection.modbus_registers import (
    PLACE,
    PLACE_BITS,
    REGISTERS_MAX,
    Spread,
    Watch,
    reads,
)
from agent.inspection.modbus_seconds import NS
from protocols.modbus.exchanges import UNLISTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.inspection.findings import View
    from agent.inspection.modbus_registers import Reads
    from protocols.frames import I64, U64, Index

TIMES: Final = 3  # the widest difference that was learned
MOVING: Final = 2  # of what the busiest reader sees in 10 to 20 s
SLACK: Final = 2  # counts, for registers that never differed
COMPARED_MIN: Final = 10
RUN: Final = 3  # comparisons in a row
HALF: Final = 1 << 15


class Differing:
    """M11/other: one finding per device, unit and table when readers disagree."""

    def __init__(self, learn_s: int = LEARN_S) -> None:
        """Take how long to learn."""
        self._fit_s = round(learn_s * FIT_SHARE)
        self._calibrate_s = learn_s - self._fit_s
        self.watch = Watch()
        self._spread = Spread()
        self._since: I64 = np.zeros(REGISTERS_MAX, np.int64)
        self._widest: I64 = np.zeros(REGISTERS_MAX, np.int64)
        self._compared: I64 = np.zeros(REGISTERS_MAX, np.int64)
        self._calibrating: I64 = np.zeros(REGISTERS_MAX, np.int64)
        self._run: I64 = np.zeros(REGISTERS_MAX, np.int64)
        self._began: I64 = np.zeros(REGISTERS_MAX, np.int64)

    def inspect(self, view: View) -> list[Finding]:
        """Return where readers disagree, by the times of this batch."""
        if view.exchanges is None:
            return []
        return [
            finding
            for seen in reads(view.exchanges)
            for finding in self._second(seen, view.names)
        ]

    def _second(self, seen: Reads, names: Sequence[str]) -> list[Finding]:
        place, apart, readers, spread = compared(seen, *self._spread.look(seen))
        if not len(place):
            return []
        slot, watched, is_new = self.watch.find(place)
        place, readers = place[watched], readers[watched]
        # What one reader sees change by itself in the meantime is no difference.
        apart = np.maximum(apart[watched] - MOVING * spread[watched], 0)
        now = seen.second
        self._since[slot[is_new]] = now
        wide = apart > TIMES * self._widest[slot] + SLACK
        calibrating = self._calibrating[slot]
        fitting = calibrating == 0
        armed = ~fitting & (now - calibrating >= self._calibrate_s)
        # While learning, what differs is ordinary; what is new begins once more.
        learn = slot[~armed]
        self._widest[learn] = np.maximum(self._widest[learn], apart[~armed])
        self._calibrating[slot[~armed & ~fitting & wide]] = now
        self._compared[slot] += 1
        ready = fitting & (now - self._since[slot] >= self._fit_s)
        ready &= self._compared[slot] >= COMPARED_MIN
        self._calibrating[slot[ready]] = now
        odd = armed & wide
        begins = odd & (self._run[slot] == 0)
        self._began[slot[begins]] = now
        self._run[slot] = np.where(odd, self._run[slot] + 1, 0)
        alarm: Index = np.flatnonzero(self._run[slot] >= RUN)
        return self._say(seen, names, (place[alarm], slot[alarm], readers[alarm]))

    def _say(
        self, seen: Reads, names: Sequence[str], odd: tuple[U64, Index, I64]
    ) -> list[Finding]:
        place, slot, readers = odd
        table = place >> np.uint64(16)
        said = []
        for one in np.unique(table).tolist():
            mine = table == np.uint64(one)
            pair = int(readers[mine][0])
            address = place[mine] & np.uint64(0xFFFF)
            began = int(self._began[slot[mine]].min())
            silent = began - int(self._calibrating[slot[mine]].max())
            server = one >> 11 & 0xFFFF
            said.append(
                Finding(
                    "M11", Level.ALERT,
                    Conversation(
                        name_of(pair >> 16, names), name_of(server, names),
                        seen.links.get(server, UNLISTED), one >> 3 & 0xFF,
                    ),
                    int(mine.sum()), began * NS, (seen.second + 1) * NS - 1,
                    f"{name_of(pair & 0xFFFF, names)} reads other values in table "
                    f"{one & 7}, {address.min()} to {address.max()}",
                    "other", bound=bound_of(silent),
                )
            )  # fmt: skip
        return said


def compared(seen: Reads, spread: I64, number: I64) -> tuple[U64, I64, I64, I64]:
    """Return registers with several readers: place, how far apart, who, spread.

    Apart on a circle of 65,536: a counter that wraps, or a sign, is no difference.
    ``spread`` and ``number``: of every read; the spread of the busiest reader counts.
    """
    place = seen.key & PLACE
    order = np.lexsort((number, place))  # the busiest reader last
    place, value, spread = place[order], seen.value[order], spread[order]
    client = (seen.key[order] >> PLACE_BITS).astype(np.int64)
    first: Index = np.flatnonzero(place[1:] == place[:-1])
    second = first + 1
    apart = np.abs(value[second] - value[first])
    apart = np.minimum(apart, 2 * HALF - apart)
    unique, group = np.unique(place[first], return_inverse=True)
    widest = np.zeros(len(unique), np.int64)
    np.maximum.at(widest, group, apart)
    who, moving = np.zeros_like(widest), np.zeros_like(widest)
    who[group] = client[second] << 16 | client[first]
    moving[group] = spread[second]
    return unique, widest, who, moving
