"""M1: a client that no rule names speaks to a device (inspection.md 3.3).

With a firewall in the policy its rules declare who belongs here, for the devices that
the configuration names. For others, and without a firewall, pairs are learned: who has
spoken while learning belongs here, and a pair is new for an hour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from agent.inspection.findings import NO_HOST, Conversation, Finding, Level
from agent.inspection.modbus_clients import belongs
from agent.inspection.modbus_groups import (
    BITS,
    GROUPS_MAX,
    OTHERS,
    UNTOLD,
    all_refused,
    asked,
    bounded,
    name_of,
    split,
)
from agent.inspection.modbus_learning import LEARN_S, Learning, Phase
from agent.inspection.modbus_seconds import KEYS_MAX, NS
from policies.firewall.tables import Do
from protocols.modbus.exchanges import UNLISTED, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.inspection.findings import View
    from policies.firewall.tables import CompiledFirewall
    from protocols.frames import Index
    from protocols.modbus.exchanges import ExchangeBatch

# What a pair is; the low bits of a group's key.
BELONGS: Final = 0
UNDECLARED: Final = 1
NEW: Final = 2
EARLY: Final = 3  # new while calibrating
NEW_S: Final = 3600  # for so long a learned pair is new
UNSOLICITED: Final = np.uint32(Problem.UNSOLICITED)


class Pairs:
    """Which clients the rules of a firewall name for which devices."""

    def __init__(self, firewall: CompiledFirewall) -> None:
        """Take the rules that let something pass."""
        self._rules = [rule for rule in firewall.rules if rule.do is Do.ALLOW]
        self._clients = firewall.clients

    def named(self, client: str, link: int) -> bool:
        """Tell whether a rule names this pair. Roles are the proxy's to check."""
        return any(
            (rule.links is None or link in rule.links)
            and (
                rule.clients is None
                or any(belongs(client, self._clients[one]) for one in rule.clients)
            )
            for rule in self._rules
        )


class NewPair:
    """M1: one finding per pair and batch; with a write in it another, graver one."""

    def __init__(
        self, firewall: CompiledFirewall | None = None, learn_s: int = LEARN_S
    ) -> None:
        """Take the rules, None without a firewall."""
        self._pairs = None if firewall is None else Pairs(firewall)
        self._declared: dict[tuple[str, int], bool] = {}
        self._learned: dict[tuple[str, str], int | None] = {}  # None: belongs here
        self._learning = Learning(learn_s)

    def inspect(self, view: View) -> list[Finding]:
        """Return what pairs that do not belong here ask for."""
        exchanges = view.exchanges
        if exchanges is None:
            return []
        # A reply to nothing is M10's: its "client" has asked nothing.
        rows: Index = np.flatnonzero((exchanges.problems & UNSOLICITED) == 0)
        if not len(rows):
            return []
        pair = exchanges.client[rows].astype(np.uint64) << np.uint64(32)
        pair |= exchanges.server[rows].astype(np.uint64) << np.uint64(16)
        pair |= exchanges.link[rows].astype(np.uint64) << np.uint64(8)
        unique, first, group = np.unique(pair, return_index=True, return_inverse=True)
        seconds = exchanges.time_ns[rows[first]] // NS
        level = np.zeros(len(unique), np.uint8)
        for i in np.argsort(first).tolist():
            told = pair_of(int(unique[i]), view.names)
            level[i] = self._judge(told, int(seconds[i]))
        odd: Index = np.flatnonzero(level[group] != BELONGS)
        key = pair[odd] | exchanges.is_write[rows[odd]].astype(np.uint64)
        key = bounded((key << BITS) | level[group[odd]], GROUPS_MAX)
        return [
            self._say(exchanges, mine, one, view.names)
            for one, mine in split(key, rows[odd])
        ]

    def _judge(self, pair: Conversation, second: int) -> int:
        """Return BELONGS, or how a pair is told of."""
        if self._pairs is not None and pair.link != UNLISTED:
            return BELONGS if self._is_declared(pair) else UNDECLARED
        phase = self._learn(pair, second)
        if phase is None:
            return BELONGS
        return NEW if phase is Phase.ARMED else EARLY

    def _say(
        self, exchanges: ExchangeBatch, mine: Index, key: int, names: Sequence[str]
    ) -> Finding:
        level = key & 0xFFFF
        first, last = (int(exchanges.time_ns[mine[i]]) for i in (0, -1))
        return Finding(
            "M1", Level.NOTICE if level == EARLY else Level.ALERT,
            pair_of(key >> 16, names), len(mine), first, last, asked(exchanges, mine),
            "write" if exchanges.is_write[mine].any() else "",
            refused=all_refused(exchanges, mine),
            bound=self._learning.bound() if level == NEW else None,
        )  # fmt: skip

    def _is_declared(self, pair: Conversation) -> bool:
        assert self._pairs is not None
        key = (pair.client, pair.link)
        known = self._declared.get(key)
        if known is None:
            if len(self._declared) >= KEYS_MAX:
                self._declared.clear()
            known = self._declared[key] = self._pairs.named(*key)
        return known

    def _learn(self, pair: Conversation, second: int) -> Phase | None:
        """Return the phase in which a new pair is told; None: it belongs here."""
        phase = self._learning.phase(second)
        key = (pair.client, pair.server)
        if key in self._learned:
            since = self._learned[key]
            if since is None or second - since > NEW_S:
                return None
            return Phase.ARMED
        if len(self._learned) >= KEYS_MAX:
            return Phase.ARMED if phase is Phase.ARMED else Phase.CALIBRATE
        self._learned[key] = second if phase is Phase.ARMED else None
        if phase is Phase.CALIBRATE:
            self._learning.not_silent()
        return None if phase is Phase.FIT else phase


def pair_of(key: int, names: Sequence[str]) -> Conversation:
    """Return who asks whom, whatever the unit; many of them under one name."""
    if key == int(UNTOLD) >> 16:
        return Conversation(OTHERS, NO_HOST, UNLISTED)
    return Conversation(
        name_of(key >> 32, names), name_of(key >> 16 & 0xFFFF, names), key >> 8 & 0xFF
    )
