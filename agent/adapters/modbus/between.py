"""The proxied links of a running agent: who judges there now, and what passed.

The policy of the moment becomes two judges of the same rules: one for the proxies'
thread, which stops things, one for the flow, which sees what taps saw. Each has a
memory of its own (last values, rates), and both memories outlive policies.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from agent.adapters.modbus.proxy import ModbusProxy
from agent.adapters.modbus.telling import families, link_states, tap_families
from agent.firewall.judge import Judge
from agent.firewall.memory import Memory
from agent.firewall.stage import Firewall
from agent.vitals import Sign
from protocols.modbus.peers import Peers
from protocols.telemetry import TapState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping, Sequence

    from agent.adapters.modbus.proxy_counts import LinkStatistics
    from agent.adapters.modbus.proxy_rules import Judging
    from agent.adapters.modbus.proxy_settings import ProxyLink
    from agent.adapters.modbus.tap import NetworkTap
    from agent.adapters.modbus.tap_line import LineTap
    from agent.config import Modbus
    from agent.ports import Clock
    from agent.records import VerdictRow
    from agent.telemetry.prometheus import Family
    from policies.firewall.tables import CompiledFirewall
    from protocols.modbus.exchanges import PairBatch
    from protocols.telemetry import LinkState

BATCHES_A_PASS_MAX: Final = 8  # of the proxies' log
PATIENCE_S: Final = 60.0
JUDGES_MAX: Final = 16  # whose exchanges may still be under way


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
        self.taps: list[NetworkTap | LineTap] = []  # they share ``peers``
        self._clock = clock
        self._configured = tuple(configured)
        self._links = tuple(links)
        self._proxy = (
            ModbusProxy(links, self.peers, wall=clock.now_ns) if links else None
        )
        self.held = frozenset(link.number for link in links)
        self._is_started = False
        self._memory, self._flow_memory = Memory(), Memory()
        # The names of their rules; None decides nothing by a rule.
        self._judges: dict[Judging | None, tuple[str, ...]] = {}

    # --- the policy -----------------------------------------------------------------

    def adopt(self, firewall: CompiledFirewall | None, *, clock_ok: bool) -> None:
        """Judge by these rules from the next request on; None: nobody decides."""
        if self._proxy is None:
            return
        judge = None if firewall is None else Judge(firewall, self._memory)
        self._proxy.use(judge, clock_ok=clock_ok)
        if judge is not None and firewall is not None:
            while len(self._judges) >= JUDGES_MAX:
                del self._judges[next(iter(self._judges))]
            self._judges[judge] = tuple(rule.name for rule in firewall.rules)

    def stage(
        self, firewall: CompiledFirewall | None, links: Sequence[str]
    ) -> Firewall:
        """Return the flow's stage of these rules; ``links``: names by number."""
        if firewall is None:
            self._flow_memory.compares(frozenset())  # nobody learns meanwhile
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
            self._is_started = True
            loop = asyncio.get_running_loop()
            self._proxy.start(lambda: _woken(loop, wake))

    async def stop(self) -> None:
        """Accept nobody, end what is under way; what passed can still be taken."""
        self._is_started = False
        if self._proxy is not None:
            await asyncio.to_thread(self._proxy.stop)

    # --- what passed ----------------------------------------------------------------

    def take(self) -> list[tuple[PairBatch, tuple[str, ...]]]:
        """Return what passed since, in order, each with the names of its rules.

        A change of policy may come between a request and its reply: a batch is told by
        the rules that judged it. Fatal where the proxies' thread died.
        """
        found: list[tuple[PairBatch, tuple[str, ...]]] = []
        while self._proxy is not None and len(found) < BATCHES_A_PASS_MAX:
            batches = self._proxy.take_by_judge()
            if not batches:
                break
            for judge, batch in batches:
                found.append((batch, self._judges.get(judge, ())))
        return found

    def lost(self) -> int:
        """Return exchanges that passed and that the flow was too slow to take."""
        return 0 if self._proxy is None else self._proxy.statistics().lost

    def sign(self) -> Sign | None:
        """Return what the proxies' thread shows; None where no link is proxied."""
        if self._proxy is None:
            return None
        return Sign("modbus proxy", self._proxy.beats, self._is_started, PATIENCE_S)

    def states(self) -> tuple[LinkState, ...]:
        """Return how every configured link is."""
        return link_states(self._configured, self._statistics())

    def families(self, verdicts: Iterable[VerdictRow]) -> Iterable[Family]:
        """Return what Prometheus is told of links and firewall."""
        yield from families(self._statistics(), verdicts)
        yield from tap_families(self.taps)

    def tap_states(self) -> tuple[TapState, ...]:
        """Return how every tap is."""
        return tuple(
            TapState(name=one.name, open=one.is_open, exchanges=one.exchanges)
            for one in self.taps
        )

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
