"""The proxied links of a running agent: who judges there now, and what passed.

The policy of the moment becomes two judges of the same rules: one for the proxies'
thread, which stops things, one for the flow, which sees what taps saw. Each has a
memory of its own (last values, rates), and both memories outlive policies.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from agent.adapters.modbus.proxy import ModbusProxy
from agent.adapters.modbus.telling import families, link_states
from agent.firewall.judge import Judge
from agent.firewall.memory import Memory
from agent.firewall.stage import Firewall
from protocols.modbus.peers import Peers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping, Sequence

    from agent.adapters.modbus.proxy_counts import LinkStatistics
    from agent.adapters.modbus.proxy_settings import ProxyLink
    from agent.config import Modbus
    from agent.ports import Clock
    from agent.records import VerdictRow
    from agent.telemetry.prometheus import Family
    from policies.firewall.tables import CompiledFirewall
    from protocols.frames import I16
    from protocols.modbus.exchanges import PairBatch
    from protocols.telemetry import LinkState

BATCHES_A_PASS_MAX: Final = 8  # of the proxies' log
NO_RULE: Final = -1
SETTLED_NS: Final = 15_000_000_000  # no request is under way for so long


class Between:
    """Owns the proxy, if any link is proxied, and both memories."""

    def __init__(
        self,
        links: Sequence[ProxyLink],
        clock: Clock,
        configured: Sequence[Modbus] = (),
    ) -> None:
        """BadInput where a TLS file cannot be used; nothing is opened yet.

        ``configured``: all Modbus links, for who asks how they are.
        """
        self.peers = Peers()
        self._clock = clock
        self._configured = tuple(configured)
        self._links = tuple(links)
        self._proxy = (
            ModbusProxy(links, self.peers, wall=clock.now_ns) if links else None
        )
        self.held = frozenset(link.number for link in links)
        self._memory, self._flow_memory = Memory(), Memory()
        self._firewall: CompiledFirewall | None = None
        self._kept: list[PairBatch] = []  # taken when the policy changed
        self._changed_ns = (0, 0)  # when it did: wall, and monotonic

    # --- the policy -----------------------------------------------------------------

    def adopt(self, firewall: CompiledFirewall | None, *, clock_ok: bool) -> None:
        """Judge by these rules from the next request on; None: nobody decides.

        What passed until now keeps its verdicts; rules are renumbered by their names.
        """
        before, self._firewall = self._firewall, firewall
        if self._proxy is None:
            return
        judge = None if firewall is None else Judge(firewall, self._memory)
        self._proxy.use(judge, clock_ok=clock_ok)
        places = _renumbered(before, firewall)
        self._kept += [replace(b, rule=places[b.rule]) for b in self._waiting()]
        self._changed_ns = self._clock.now_ns(), self._clock.monotonic_ns()

    def stage(
        self, firewall: CompiledFirewall | None, links: Sequence[str]
    ) -> Firewall:
        """Return the flow's stage of these rules; ``links``: names by number."""
        if firewall is None:
            return Firewall(None, self.peers.names, links)
        judge, rules = Judge(firewall, self._flow_memory), firewall.rules
        return Firewall(judge, self.peers.names, links, [rule.name for rule in rules])

    def believe_clock(self, ok: bool) -> None:
        """Say whether the wall clock is believed: rules with hours ask."""
        if self._proxy is not None:
            self._proxy.believe_clock(ok)

    # --- life -----------------------------------------------------------------------

    def start(self, wake: Callable[[], None]) -> None:
        """Open the listeners; ``wake`` is called, in this loop, when something passed.

        Fail closed: until ``adopt``, every link follows its ``without_policy``.
        """
        if self._proxy is not None:
            loop = asyncio.get_running_loop()
            self._proxy.start(lambda: _woken(loop, wake))

    async def stop(self) -> None:
        """Accept nobody, end what is under way; what passed can still be taken."""
        if self._proxy is not None:
            await asyncio.to_thread(self._proxy.stop)

    # --- what passed ----------------------------------------------------------------

    def take(self) -> list[PairBatch]:
        """Return what passed since, in order; Fatal where the proxies' thread died."""
        kept, self._kept = self._kept, []
        wall_ns, mono_ns = self._changed_ns
        found = self._waiting()
        if wall_ns and self._clock.monotonic_ns() - mono_ns < SETTLED_NS:
            # Judged by rules that are no more, perhaps: which, these do not tell.
            found = [
                replace(b, rule=np.where(b.time_ns < wall_ns, NO_RULE, b.rule))
                for b in found
            ]
        return kept + found

    def _waiting(self) -> list[PairBatch]:
        found: list[PairBatch] = []
        while (
            self._proxy is not None
            and len(found) < BATCHES_A_PASS_MAX
            and (batch := self._proxy.take()) is not None
        ):
            found.append(batch)
        return found

    def lost(self) -> int:
        """Return exchanges that passed and that the flow was too slow to take."""
        return 0 if self._proxy is None else self._proxy.statistics().lost

    def states(self) -> tuple[LinkState, ...]:
        """Return how every configured link is."""
        return link_states(self._configured, self._statistics())

    def families(self, verdicts: Iterable[VerdictRow]) -> Iterable[Family]:
        """Return what Prometheus is told of links and firewall."""
        return families(self._statistics(), verdicts)

    def look(self, troubles: MutableMapping[str, str]) -> None:
        """Say which proxied links do not listen, or do not reach their device."""
        for link in self._statistics():
            if link.problem:
                troubles[link.name] = link.problem
            else:
                troubles.pop(link.name, None)

    def _statistics(self) -> tuple[LinkStatistics, ...]:
        return () if self._proxy is None else self._proxy.statistics().links


def _woken(loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(wake)


def _renumbered(before: CompiledFirewall | None, after: CompiledFirewall | None) -> I16:
    """Return by old number the new one of the rule of that name; NO_RULE at the end."""
    names = {} if after is None else {r.name: n for n, r in enumerate(after.rules)}
    rules = () if before is None else before.rules
    places = [names.get(rule.name, NO_RULE) for rule in rules]
    return np.array([*places, NO_RULE], np.int16)  # -1 indexes the last
