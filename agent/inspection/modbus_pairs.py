"""M1: a client that no rule names speaks to a device (inspection.md 3.3).

With a firewall in the policy its rules declare who belongs here, for the devices that
the configuration names. For others, and without a firewall, pairs are learned: who has
spoken while learning belongs here, and a pair is new for an hour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from agent.inspection.findings import Conversation, Finding, Level
from agent.inspection.modbus_clients import belongs
from agent.inspection.modbus_groups import all_refused, asked, name_of, split
from agent.inspection.modbus_learning import LEARN_S, Learning, Phase
from agent.inspection.modbus_seconds import KEYS_MAX, NS
from policies.firewall.tables import Do
from protocols.modbus.exchanges import UNLISTED, Problem

if TYPE_CHECKING:
    from agent.inspection.findings import View
    from policies.firewall.tables import CompiledFirewall
    from protocols.frames import Index
    from protocols.modbus.exchanges import ExchangeBatch

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
        key = exchanges.client[rows].astype(np.uint64) << np.uint64(32)
        key |= exchanges.server[rows].astype(np.uint64) << np.uint64(16)
        key |= exchanges.link[rows].astype(np.uint64) << np.uint64(8)
        key |= exchanges.is_write[rows].astype(np.uint64)
        said = []
        for one, mine in sorted(split(key, rows), key=lambda group: group[1][0]):
            pair = Conversation(
                name_of(one >> 32, view.names), name_of(one >> 16 & 0xFFFF, view.names),
                one >> 8 & 0xFF,
            )  # fmt: skip
            found = self._judge(exchanges, mine, pair, "write" if one & 1 else "")
            if found is not None:
                said.append(found)
        return said

    def _judge(
        self,
        exchanges: ExchangeBatch,
        mine: Index,
        pair: Conversation,
        variant: str,
    ) -> Finding | None:
        if self._pairs is not None and pair.link != UNLISTED:
            if self._is_declared(pair):
                return None
            level, bound = Level.ALERT, None
        else:
            second = int(exchanges.time_ns[mine[0]]) // NS
            phase = self._learn(pair, second)
            if phase is None:
                return None
            level = Level.ALERT if phase is Phase.ARMED else Level.NOTICE
            bound = self._learning.bound(second) if phase is Phase.ARMED else None
        return Finding(
            "M1", level, pair, len(mine), int(exchanges.time_ns[mine[0]]),
            int(exchanges.time_ns[mine[-1]]), asked(exchanges, mine),
            variant, bound=bound, refused=all_refused(exchanges, mine),
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
            self._learning.not_silent(second)
        return None if phase is Phase.FIT else phase
