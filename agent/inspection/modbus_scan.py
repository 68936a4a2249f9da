"""M4: one client asks for one thing after the other (inspection.md 3.3).

Counted over ten seconds: units of a device, addresses and functions of a unit, devices.
What an ordinary master asks for while learning raises its own line; what the firewall
refuses is never learned, and alarms at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from agent.inspection.findings import ALL_UNITS, NO_HOST, Conversation, Finding, Level
from agent.inspection.modbus_groups import name_of
from agent.inspection.modbus_learning import LEARN_S, Learning, Phase
from agent.inspection.modbus_seconds import KEYS_MAX, NS, SecondClock
from protocols.modbus.exchanges import UNLISTED, Problem, Verdict
from protocols.modbus.functions import NO_TABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.inspection.findings import View
    from protocols.frames import I64, U64, Bool, Index
    from protocols.modbus.exchanges import ExchangeBatch

WINDOW_S: Final = 10
MARGIN: Final = 10  # above what was learned
ENTRIES_MAX: Final = 65_536  # things remembered; those asked for longest ago go
UNSOLICITED: Final = np.uint32(Problem.UNSOLICITED)

# client 16 | server 16 | unit 8 | kind 2 | value 19; what is above the value: a group.
VALUE_BITS: Final = np.uint64(19)
UNITS: Final = 0
ADDRESSES: Final = 1
FUNCTIONS: Final = 2
DEVICES: Final = 3
WORDS: Final = ("units", "addresses", "functions", "devices")


@dataclass(frozen=True, slots=True)
class ScanLimits:
    """More distinct ones than this in ten seconds are a scan."""

    units: int = 16
    addresses: int = 32
    functions: int = 8
    devices: int = 16

    def column(self) -> I64:
        """Return the limits by kind."""
        return np.array(
            [self.units, self.addresses, self.functions, self.devices], np.int64
        )


class Scan:
    """M4: one finding per client, what it scans, and second."""

    def __init__(
        self, limits: ScanLimits | None = None, learn_s: int = LEARN_S
    ) -> None:
        """Take the limits that hold where nothing higher was learned."""
        self._limits = (limits or ScanLimits()).column()
        self._learning = Learning(learn_s)
        self._learned: dict[int, int] = {}  # group -> the most that was ordinary
        self._clock = SecondClock()
        self._entry: U64 = np.empty(0, np.uint64)  # sorted
        self._last: I64 = np.empty(0, np.int64)  # the second when it was asked for
        self._links: dict[int, int] = {}  # server -> link
        self._refused: U64 = np.empty(0, np.uint64)  # groups, in the open second

    def inspect(self, view: View) -> list[Finding]:
        """Return the scans that go on in the seconds that closed."""
        exchanges = view.exchanges
        if exchanges is None:
            return []
        rows: Index = np.flatnonzero((exchanges.problems & UNSOLICITED) == 0)
        said: list[Finding] = []
        since = self._clock.now
        for second, first, behind in self._clock.parts(exchanges.time_ns[rows]):
            if since is not None and second > since:
                said += self._close(since, view.names)
            since = second
            self._add(exchanges, rows[first:behind], second)
        return said

    def _add(self, exchanges: ExchangeBatch, rows: Index, second: int) -> None:
        entries = entries_of(exchanges, rows)
        refused = exchanges.verdict[rows] == int(Verdict.REFUSED)
        groups = [np.unique(one[refused[at]] >> VALUE_BITS) for one, at in entries]
        self._refused = np.unique(np.concatenate([self._refused, *groups]))
        for server, link in np.unique(
            np.stack([exchanges.server[rows], exchanges.link[rows]]), axis=1
        ).T.tolist():
            if len(self._links) < KEYS_MAX:
                self._links[server] = link
        new = np.unique(np.concatenate([one for one, _ in entries]))
        # Entries of now go behind those of before: the later of two wins.
        entry = np.concatenate([self._entry, new])
        last = np.concatenate([self._last, np.full(len(new), second, np.int64)])
        order = np.lexsort((last, entry))
        entry, last = entry[order], last[order]
        keep = np.ones(len(entry), np.bool_)
        keep[:-1] = entry[1:] != entry[:-1]
        keep &= last > second - WINDOW_S
        entry, last = entry[keep], last[keep]
        if len(entry) > ENTRIES_MAX:
            late = np.sort(np.argsort(last, kind="stable")[-ENTRIES_MAX:])
            entry, last = entry[late], last[late]
        self._entry, self._last = entry, last

    def _close(self, second: int, names: Sequence[str]) -> list[Finding]:
        group, index, count = np.unique(
            self._entry >> VALUE_BITS, return_inverse=True, return_counts=True
        )
        now = np.bincount(index[self._last == second], minlength=len(group))
        limit = self._limits[(group & np.uint64(3)).astype(np.int64)]
        refused = np.isin(group, self._refused, assume_unique=True)
        self._refused = np.empty(0, np.uint64)
        phase = self._learning.phase(second)
        odd: Bool = (count > limit - MARGIN) & (now > 0)
        said = []
        for i in np.flatnonzero(odd).tolist():
            one, seen = int(group[i]), int(count[i])
            line = max(int(limit[i]), self._learned.get(one, -MARGIN) + MARGIN)
            ordinary = phase is not Phase.ARMED and not refused[i]
            if ordinary and len(self._learned) < KEYS_MAX:
                self._learned[one] = max(seen, self._learned.get(one, 0))
            if seen <= line:
                continue
            if ordinary and phase is Phase.CALIBRATE:
                self._learning.not_silent()
            bound = self._learning.bound() if phase is Phase.ARMED else None
            said.append(
                Finding(
                    "M4", Level.NOTICE if ordinary else Level.ALERT,
                    self._subject(one, names), int(now[i]), second * NS,
                    (second + 1) * NS - 1,
                    f"{seen} {WORDS[one & 3]} in {WINDOW_S} s, ordinary are {line}",
                    WORDS[one & 3], bound=bound,
                )
            )  # fmt: skip
        return said

    def _subject(self, group: int, names: Sequence[str]) -> Conversation:
        client, server, unit = group >> 26, group >> 10 & 0xFFFF, group >> 2 & 0xFF
        if group & 3 == DEVICES:
            return Conversation(name_of(client, names), NO_HOST, UNLISTED)
        return Conversation(
            name_of(client, names), name_of(server, names),
            self._links.get(server, UNLISTED),
            ALL_UNITS if group & 3 == UNITS else unit,
        )  # fmt: skip


def entries_of(exchanges: ExchangeBatch, rows: Index) -> list[tuple[U64, Index]]:
    """Return per kind what each row asks for, and which of ``rows`` it tells of."""
    every: Index = np.arange(len(rows))
    placed: Index = np.flatnonzero(exchanges.table[rows] != NO_TABLE)
    client = exchanges.client[rows].astype(np.uint64) << np.uint64(45)
    device = client | (exchanges.server[rows].astype(np.uint64) << np.uint64(29))
    unit = exchanges.unit[rows].astype(np.uint64)
    here = device | (unit << np.uint64(21))
    address = exchanges.address[rows].astype(np.uint64)
    address |= exchanges.table[rows].astype(np.uint64) << np.uint64(16)
    function = exchanges.function[rows].astype(np.uint64)

    def entry(group: U64, kind: int, value: U64) -> U64:
        return group | (np.uint64(kind) << VALUE_BITS) | value

    return [
        (entry(device, UNITS, unit), every),
        (entry(here, ADDRESSES, address)[placed], placed),
        (entry(here, FUNCTIONS, function), every),
        (entry(client, DEVICES, exchanges.server[rows].astype(np.uint64)), every),
    ]
