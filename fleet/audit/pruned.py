"""What a device says of the entries that it deleted after their retention.

A collector has all of them. A device's own store begins behind them: then the subtrees
that it kept must give the roots that it signed, and the log must say where it begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fleet.audit.entries import Prune

KEEP_DAYS_MIN: Final = 190  # docs/resources.md


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a log begins that is not here from its first entry on."""

    size: int  # entries before it
    edge: Mapping[int, bytes]  # level -> root of the whole subtree, where there is one


class Prunings:
    """The entries ``log.prune`` of one log, in order."""

    def __init__(self, begins: int) -> None:
        """``begins``: position of the first entry that is here."""
        self._begins = begins
        self._end = 0 if begins == 0 else None
        self._root = b""
        self.signed: dict[int, bytes] = {}  # size -> root that holds

    def take(self, index: int, entry: Prune) -> Iterator[str]:
        """Yield what is wrong with the entry at position ``index``."""
        if entry.count != entry.end - entry.first or not entry.count > 0:
            yield "what was pruned is no range"
        if self._end is not None and entry.first != self._end:
            yield f"pruned from entry {entry.first} on, not from {self._end}"
        if entry.end > index:
            yield "pruned more entries than there were"
        if self.signed.get(entry.end, entry.root) != entry.root:
            yield f"pruned up to entry {entry.end} under a root that it never had"
        if entry.keep_days < KEEP_DAYS_MIN:
            yield f"pruned after {entry.keep_days} days, not {KEEP_DAYS_MIN}"
        self._end, self._root = entry.end, entry.root

    def close(self, root: bytes) -> Iterator[str]:
        """Yield what is wrong at the end; ``root``: of what is not here."""
        if not self._begins:
            return
        if self._end != self._begins:
            yield (
                f"the first {self._begins} entries are not here, and the log does not"
                " say that they were pruned"
            )
        elif self._root != root:
            yield "the subtrees of what was pruned are not those that the log names"
