"""Findings become text samples of the item ``Sluicegate.Event``.

So events pass the same policy as data (docs/adr/0005).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agent.inspection.ocsf import event
from protocols.samples import TextBatch, empty_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.inspection.eve import EveLines
    from agent.inspection.findings import Finding, View
    from agent.inspection.ocsf import Context


class Events:
    """Writes events in OCSF; ``lost`` tells how many frames the sources lost so far."""

    def __init__(
        self,
        item: int,
        context: Context,
        lost: Callable[[], int],
        eve: EveLines | None = None,
    ) -> None:
        """Take the item's row in the table; -1 where the policy's tables lack it.

        ``eve``: takes the same findings, and exchanges, for the owner's own log.
        """
        self.item = item
        self._eve = eve
        self._context = context
        self._lost = lost

    def seen(self, view: View) -> None:
        """Let the owner's own log take the exchanges of a batch."""
        if self._eve is not None:
            self._eve.seen(view)

    def texts(self, findings: Sequence[Finding], now_ns: int) -> TextBatch:
        """Return one text per finding, stamped with the time of the pass."""
        if self._eve is not None:
            self._eve.alerts(findings, self._context)
        if not findings or self.item < 0:
            return empty_texts()
        lost = self._lost()
        bodies = tuple(event(finding, self._context, lost) for finding in findings)
        return TextBatch(
            np.full(len(bodies), now_ns, np.int64),
            np.full(len(bodies), self.item, np.uint32),
            bodies,
        )
