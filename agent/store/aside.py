"""Which damaged databases that were set aside may go. Pure.

One of which everything was saved is worth little: the newest two stay, for whoever
wants to know what happened. One that held more than could be saved is the only copy of
that: it stays, unless the disk is so full that new evidence would find no room.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.limits import ASIDE_KEPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.store.salvage import Break


@dataclass(frozen=True, slots=True)
class Aside:
    """A database that was set aside: number, bytes with its log, what was saved."""

    number: int  # the newest has the highest
    size: int
    is_whole: bool  # all that it held was saved


def is_whole(found: Break) -> bool:
    """Tell whether all that the damaged database held was saved."""
    lost = (found.entries_lost, found.spool_lost, found.retained_lost)
    return found.continued and lost == (0, 0, 0)


def to_go(asides: Sequence[Aside], short: int) -> list[Aside]:
    """Return what may be deleted, oldest first; ``short``: bytes the disk lacks."""
    old = sorted(asides, key=lambda one: one.number)[:-ASIDE_KEPT]
    gone = [one for one in old if one.is_whole]
    short -= sum(one.size for one in gone)
    for one in old:
        if short > 0 and not one.is_whole:
            gone.append(one)
            short -= one.size
    return sorted(gone, key=lambda one: one.number)
