"""In which order frames are shed when more come than the flow can take. Pure.

A frame has the highest rank of the items that it carries. One that carries none, or
only such as no catalogue knows, can be in nothing that leaves: it goes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from agent.ranks import rank_of
from agent.records import Rank
from agent.sources.bus_filter import DIAGNOSTIC
from protocols.can.decode import message_rows

if TYPE_CHECKING:
    from policies.compile import Compiled
    from protocols.frames import U8, Bool, FrameBatch

WORDS: Final = ("unbound", "general", "personal", "important")  # by rank


class FrameRanks:
    """Ranks of frames under one compiled policy."""

    def __init__(self, compiled: Compiled) -> None:
        """Look up every bound item once."""
        items, self._plan = compiled.policy.items, compiled.plan
        self._of_item = np.array(
            [
                rank_of(int(label)) if known else Rank.TELEMETRY
                for label, known in zip(items.label, items.classified, strict=True)
            ],
            np.uint8,
        )
        row = np.repeat(np.arange(len(self._plan.count)), self._plan.count)
        self._of_row = np.zeros(len(self._plan.count), np.uint8)
        np.maximum.at(self._of_row, row, self._of_item[self._plan.item])
        self._asked: dict[int, int] = {}  # bus -> rank of what diagnostics tell
        for one in compiled.diagnostics:
            rank = int(self._of_item[one.item])
            self._asked[one.bus] = max(self._asked.get(one.bus, 0), rank)

    def __call__(self, frames: FrameBatch) -> U8:
        """Return uint8 [N]: a Rank below CONTROL for every frame."""
        ranks = self._of_row[message_rows(self._plan, frames)]
        for bus, rank in self._asked.items():
            told = (frames.bus == bus) & _diagnostic(frames)
            ranks[told] = np.maximum(ranks[told], rank)
        return ranks


def _diagnostic(frames: FrameBatch) -> Bool:
    found = np.zeros(len(frames), np.bool_)
    for ident, mask in DIAGNOSTIC:
        found |= (frames.ident & np.uint32(mask)) == np.uint32(ident & mask)
    return found
