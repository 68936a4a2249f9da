"""How often which rule decided what, for evidence and metrics: numbers, no values."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from protocols.modbus.exchanges import Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.modbus.exchanges import ExchangeBatch


class Cell(NamedTuple):
    """What is counted together."""

    link: int  # of the link table, UNLISTED
    rule: str  # "" none
    verdict: Verdict
    reason: Reason


class VerdictCounts:
    """Counts rows by (link, rule, verdict, reason), since the start of the process.

    Rules are counted by name, so that counts go on when a policy changes. Bounded:
    links x rules x reasons of the policies of one process.
    """

    def __init__(self) -> None:
        """Begin at zero."""
        self.cells: Counter[Cell] = Counter()

    def add(self, exchanges: ExchangeBatch, rules: Sequence[str]) -> None:
        """Count judged rows; ``rules``: names by number."""
        judged = exchanges.verdict != Verdict.UNJUDGED
        if not judged.any():
            return
        packed = (
            (exchanges.link[judged].astype(np.int64) << 40)
            | ((exchanges.rule[judged].astype(np.int64) + 1) << 16)
            | (exchanges.verdict[judged].astype(np.int64) << 8)
            | exchanges.reason[judged]
        )
        keys, counts = np.unique(packed, return_counts=True)
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
            number = (key >> 16 & 0xFFFFFF) - 1
            name = rules[number] if 0 <= number < len(rules) else ""
            cell = Cell(key >> 40, name, Verdict(key >> 8 & 0xFF), Reason(key & 0xFF))
            self.cells[cell] += count
