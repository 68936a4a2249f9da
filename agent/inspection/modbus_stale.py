"""M11: values that always moved stand still (inspection.md 3.3).

By register and reader. While learning: how long a value lasts at most, and whether the
register tells more than one bit. Armed where calibration was silent; frozen is what
lasts twenty times as long. One register may well stand still for once: a notice. Half
of all that a reader sees of a unit's table, at the same time, is an alarm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from agent.inspection.findings import Conversation, Finding, Level
from agent.inspection.modbus_groups import name_of
from agent.inspection.modbus_learning import FIT_SHARE, LEARN_S, QUIET_S, bound_of
from agent.inspection.modbus_registers import REGISTERS_MAX, Watch, reads
from agent.inspection.modbus_seconds import NS
from protocols.modbus.exchanges import UNLISTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.inspection.findings import View
    from agent.inspection.modbus_registers import Reads
    from protocols.frames import F64, I64, U64, Bool, Index

TIMES: Final = 20  # as long as a value ever lasted
AWAY: Final = 3  # unread for so many times as long as a value ever lasted
CHANGES_MIN: Final = 20
ENTROPY_MIN: Final = 1.0  # bits
BINS: Final = 16
TOGETHER_MIN: Final = 2  # registers
SHARE_MIN: Final = 0.5


class Frozen:
    """M11: one finding per reader, unit and table when registers freeze."""

    def __init__(self, times: float = TIMES, learn_s: int = LEARN_S) -> None:
        """Take how much longer than ever, and how long to learn."""
        self._times = times
        self._fit_s = round(learn_s * FIT_SHARE)
        self._calibrate_s = learn_s - self._fit_s
        self.watch = Watch()
        self._value: I64 = np.zeros(REGISTERS_MAX, np.int64)
        self._since: I64 = np.zeros(REGISTERS_MAX, np.int64)  # fitting since
        self._changed: I64 = np.zeros(REGISTERS_MAX, np.int64)  # when it last did
        self._seen: I64 = np.zeros(REGISTERS_MAX, np.int64)  # when it was last read
        self._longest: I64 = np.zeros(REGISTERS_MAX, np.int64)  # seconds
        self._changes: I64 = np.zeros(REGISTERS_MAX, np.int64)
        self._bins: I64 = np.zeros((REGISTERS_MAX, BINS), np.int64)
        self._calibrating: I64 = np.zeros(REGISTERS_MAX, np.int64)  # since; 0: fitting
        self._told: Bool = np.zeros(REGISTERS_MAX, np.bool_)

    def inspect(self, view: View) -> list[Finding]:
        """Return what froze, by the times of this batch."""
        if view.exchanges is None:
            return []
        return [
            finding
            for seen in reads(view.exchanges)
            for finding in self._second(seen, view.names)
        ]

    def _second(self, seen: Reads, names: Sequence[str]) -> list[Finding]:
        slot, watched, is_new = self.watch.find(seen.key)
        key, value, now = seen.key[watched], seen.value[watched], seen.second
        self._begin(slot[is_new], value[is_new], now)
        # What was not looked at for long did not stand still: nobody knows.
        unseen = now - self._seen[slot]
        away = slot[unseen > np.maximum(QUIET_S, AWAY * self._longest[slot])]
        self._changed[away] = now
        self._seen[slot] = now
        moved = value != self._value[slot]
        lasted = now - self._changed[slot]
        self._fit(slot[moved], value[moved], lasted[moved])
        self._value[slot] = value
        self._changed[slot[moved]] = now
        self._told[slot[moved]] = False
        self._advance(slot, now)
        calibrating = self._calibrating[slot]
        long = (calibrating > 0) & ~moved & (lasted > self._times * self._longest[slot])
        armed = (calibrating > 0) & (now - calibrating >= self._calibrate_s)
        early = slot[long & ~armed]
        # Not silent: it may last as long as it just did, and is calibrated anew.
        self._longest[early] = now - self._changed[early]
        self._calibrating[early] = now
        return self._say(seen, names, (key, slot, armed, long & armed))

    def _begin(self, slot: Index, value: I64, now: int) -> None:
        self._value[slot] = value
        self._since[slot] = self._changed[slot] = self._seen[slot] = now

    def _fit(self, slot: Index, value: I64, lasted: I64) -> None:
        """Learn from values that moved, of registers that are not armed yet."""
        fitting = self._calibrating[slot] == 0
        slot, value, lasted = slot[fitting], value[fitting], lasted[fitting]
        self._longest[slot] = np.maximum(self._longest[slot], lasted)
        self._changes[slot] += 1
        self._bins[slot, (value * 40503 >> 4) % BINS] += 1

    def _advance(self, slot: Index, now: int) -> None:
        """Begin the calibration of what was fitted; fit the others once more."""
        over = slot[
            (self._calibrating[slot] == 0) & (now - self._since[slot] >= self._fit_s)
        ]
        if not len(over):
            return
        good = self._changes[over] >= CHANGES_MIN
        good &= entropy(self._bins[over]) > ENTROPY_MIN
        ready, again = over[good], over[~good]
        self._calibrating[ready] = now
        self._longest[ready] = np.maximum(self._longest[ready], 1)
        self._since[again] = now
        self._changes[again] = self._longest[again] = 0
        self._bins[again] = 0

    def _say(
        self,
        seen: Reads,
        names: Sequence[str],
        state: tuple[U64, Index, Bool, Bool],
    ) -> list[Finding]:
        key, slot, armed, frozen = state
        fresh = frozen & ~self._told[slot]
        if not fresh.any():
            return []
        self._told[slot[fresh]] = True
        table = key >> np.uint64(16)
        said = []
        for one in np.unique(table[fresh]).tolist():
            mine = table == np.uint64(one)
            still, of = mine & frozen, int((mine & armed).sum())
            count = int(still.sum())
            together = count >= TOGETHER_MIN and count >= SHARE_MIN * of
            since = int(self._changed[slot[still]].max())
            address = key[still] & np.uint64(0xFFFF)
            silent = since - int(self._calibrating[slot[still]].max())
            server = one >> 11 & 0xFFFF
            said.append(
                Finding(
                    "M11", Level.ALERT if together else Level.NOTICE,
                    Conversation(
                        name_of(one >> 27, names), name_of(server, names),
                        seen.links.get(server, UNLISTED), one >> 3 & 0xFF,
                    ),
                    count, since * NS, (seen.second + 1) * NS - 1,
                    f"{count} of {of} registers of table {one & 7} stand still, "
                    f"{address.min()} to {address.max()}",
                    bound=bound_of(silent) if together else None,
                )
            )  # fmt: skip
        return said


def entropy(bins: I64) -> F64:
    """Return the bits of each row of counts."""
    share = bins / np.maximum(bins.sum(axis=1, keepdims=True), 1)
    bits: F64 = -(share * np.log2(np.where(share > 0, share, 1.0))).sum(axis=1)
    return bits
