"""The firewall's stage in the flow: what passed between others, judged and counted.

What a proxy judged is as it was; what a tap saw is judged here, too late to stop it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from agent.firewall.counts import VerdictCounts
from agent.records import VerdictRow
from protocols.modbus.exchanges import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.frames import I16
    from protocols.modbus.exchanges import ExchangeBatch

NO_RULE: Final = -1


class JudgingBatches(Protocol):
    """What the stage needs of ``agent.firewall.judge.Judge``."""

    def judge_batch(
        self, exchanges: ExchangeBatch, names: Sequence[str], *, clock_ok: bool
    ) -> ExchangeBatch:
        """Return the exchanges with verdict, rule, reason and alert filled in."""


class Firewall:
    """Judges exchanges under one policy; without a firewall, they stay as they are."""

    def __init__(
        self,
        judge: JudgingBatches | None = None,
        names: Sequence[str] = (),
        links: Sequence[str] = (),
        rules: Sequence[str] = (),
    ) -> None:
        """``names``: of ``protocols.modbus.peers.Peers``, which may still grow.

        ``links`` and ``rules``: names by number.
        """
        self.names = names
        self._judge = judge
        self._links = tuple(links)
        self._rules = tuple(rules)

    def judged(
        self,
        exchanges: ExchangeBatch | None,
        proxied: Sequence[str] | None,
        *,
        clock_ok: bool,
    ) -> tuple[ExchangeBatch | None, tuple[VerdictRow, ...]]:
        """Return the exchanges, judged, and how often which rule decided what.

        ``rule`` of what is returned numbers our rules.

        ``proxied``: names of the rules by which a proxy judged them, perhaps of a
        policy before ours; None: a tap saw them. What a proxy did not judge was never
        sent (its queue was full, its master had gone), and is not judged here either.
        """
        if exchanges is None:
            return None, ()
        if proxied is None:
            seen = self._judged(exchanges, clock_ok=clock_ok)
            return seen, self._counted(seen, self._rules)
        left = exchanges.verdict == Verdict.UNJUDGED
        marked = np.where(left, np.uint8(Verdict.ALLOWED), exchanges.verdict)
        told = self._judged(
            replace(
                exchanges, verdict=marked, rule=self._renumbered(exchanges, proxied)
            ),
            clock_ok=clock_ok,
        )
        counted = self._counted(exchanges, proxied)
        return replace(told, verdict=exchanges.verdict), counted

    def _judged(self, exchanges: ExchangeBatch, *, clock_ok: bool) -> ExchangeBatch:
        if self._judge is None:
            return exchanges
        return self._judge.judge_batch(exchanges, self.names, clock_ok=clock_ok)

    def _renumbered(self, exchanges: ExchangeBatch, rules: Sequence[str]) -> I16:
        """Return ``rule`` by the names of our rules."""
        if tuple(rules) == self._rules:
            return exchanges.rule
        places = {name: number for number, name in enumerate(self._rules)}
        table = [*(places.get(name, NO_RULE) for name in rules), NO_RULE]
        known = np.minimum(exchanges.rule, len(rules))
        return np.array(table, np.int16)[known]  # -1 is the last

    def _counted(
        self, exchanges: ExchangeBatch, rules: Sequence[str]
    ) -> tuple[VerdictRow, ...]:
        counts, links = VerdictCounts(), self._links
        counts.add(exchanges, rules)
        return tuple(
            VerdictRow(
                links[cell.link] if cell.link < len(links) else "",
                cell.rule,
                cell.verdict.name.lower(),
                cell.reason.name.lower(),
                count,
            )
            for cell, count in sorted(counts.cells.items())
        )
