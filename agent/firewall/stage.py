"""The firewall's stage in the flow: what passed between others, judged.

What a proxy judged is as it was; what a tap saw is judged here, too late to stop it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

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
        self, judge: JudgingBatches | None = None, names: Sequence[str] = ()
    ) -> None:
        """``names``: of ``protocols.modbus.peers.Peers``, which may still grow."""
        self.names = names
        self._judge = judge

    def judged(
        self, exchanges: ExchangeBatch | None, *, clock_ok: bool
    ) -> ExchangeBatch | None:
        """Return what the policy says of each exchange."""
        if exchanges is None or self._judge is None:
            return exchanges
        return self._judge.judge_batch(exchanges, self.names, clock_ok=clock_ok)
