"""Counts per item and destination: what `sluicegate scan` shows. Off in the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from policies.tables import NO_RULE

if TYPE_CHECKING:
    from agent.protection.bundles import Bundle
    from agent.records import Treatment
    from policies.tables import CompiledPolicy
    from protocols.frames import I64
    from protocols.samples import SampleBatch, TextBatch


class ItemTally:
    """Samples per item: read, decided by which rule, and rows that left.

    ``decisions[d]``: int64 [items, rules + 1], last column NO_RULE. ``left[d]``:
    int64 [items, rules] rows in envelopes (statistics count as rows).
    """

    def __init__(self, policy: CompiledPolicy) -> None:
        """Start at nothing."""
        items, self._rules = len(policy.items), len(policy.rules)
        places = len(policy.destinations)
        self.read: I64 = np.zeros(items, np.int64)
        self.decisions: list[I64] = [
            np.zeros((items, self._rules + 1), np.int64) for _ in range(places)
        ]
        self.left: list[I64] = [
            np.zeros((items, self._rules), np.int64) for _ in range(places)
        ]

    def seen(self, samples: SampleBatch, texts: TextBatch) -> None:
        """Count what was read."""
        self.read += np.bincount(samples.item, minlength=len(self.read))
        self.read += np.bincount(texts.item, minlength=len(self.read))

    def decided(
        self,
        destination: int,
        samples: SampleBatch,
        rules: Treatment,
        texts: TextBatch,
        text_rules: Treatment,
    ) -> None:
        """Count decisions at one destination."""
        table = self.decisions[destination]
        for item, rule in (
            (samples.item, rules.rule),
            (texts.item, text_rules.rule),
        ):
            column = np.where(rule == NO_RULE, self._rules, rule).astype(np.int64)
            cell = item.astype(np.int64) * (self._rules + 1) + column
            table += np.bincount(cell, minlength=table.size).reshape(table.shape)

    def sent(self, destination: int, bundle: Bundle) -> None:
        """Count rows that went into envelopes."""
        for part in bundle.parts:
            for item in (part.released.samples.item, part.released.texts.item):
                column = self.left[destination][:, part.released.rule]
                column += np.bincount(item, minlength=len(self.read))
