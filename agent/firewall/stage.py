"""The firewall's stage in the flow: what passed between others, judged and counted.

What a proxy judged is as it was; what a tap saw is judged here, too late to stop it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from agent.firewall.counts import VerdictCounts
from agent.records import VerdictRow
from protocols.modbus.exchanges import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.modbus.exchanges import ExchangeBatch


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
        self, exchanges: ExchangeBatch | None, *, by_proxy: bool, clock_ok: bool
    ) -> ExchangeBatch | None:
        """Return what the policy says of each exchange.

        ``by_proxy``: a proxy brought them. What it did not judge was never sent (its
        queue was full, its master had gone), and is not judged here either.
        """
        if exchanges is None or self._judge is None:
            return exchanges
        left = exchanges.verdict == Verdict.UNJUDGED
        if not (by_proxy and left.any()):
            return self._judge.judge_batch(exchanges, self.names, clock_ok=clock_ok)
        marked = np.where(left, np.uint8(Verdict.ALLOWED), exchanges.verdict)
        judged = self._judge.judge_batch(
            replace(exchanges, verdict=marked), self.names, clock_ok=clock_ok
        )
        return replace(judged, verdict=exchanges.verdict)

    def counted(self, exchanges: ExchangeBatch | None) -> tuple[VerdictRow, ...]:
        """Return how often which rule decided what, by name."""
        if exchanges is None:
            return ()
        counts, links = VerdictCounts(), self._links
        counts.add(exchanges, self._rules)
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
