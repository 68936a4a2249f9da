"""Do the counters add up? Over one log, era by era: an era is one policy's time.

At every snapshot, cumulative: at each destination every sample that was read has ended
in one outcome, or is held inside a transform. So with R samples read, P(d) outcomes at
destination d and H held in all: sum over d of (R - P(d)) = H. What was held when the
process died is in no outcome; the loss record with the cause "held at crash" says how
much that was. And what the counters call sent or kept is what the entries of the
envelopes say that is in them, rule by rule.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fleet.audit.entries import Key, Out, Snap

HELD_AT_CRASH: Final = "held at crash"
_LEVELS: Final = frozenset({"read", "held"})


class Books:
    """The sums of one log."""

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self.unknowable = ""  # why the sums of this era cannot be checked
        self.sent_total = 0
        self._policy: bytes | None = None
        self._is_clean = True
        self._reset()

    def _reset(self) -> None:
        self.unknowable = ""
        self._mixed = False
        self._read = 0
        self._at_crash = 0
        self._parts: dict[str, int] = defaultdict(int)
        self._counted: dict[tuple[str, str, str], int] = defaultdict(int)
        self._written: dict[tuple[str, str, str], int] = defaultdict(int)

    def boot(self, *, clean: bool) -> None:
        """A process began; ``clean``: the one before it ended with ``stop``."""
        self._is_clean = clean

    def policy(self, digest: bytes) -> None:
        """A policy decides from here on."""
        if digest == self._policy:
            return
        if self._is_clean:
            self._reset()
        elif self._policy is not None:
            # What the last process had not told yet comes with the next snapshot.
            self._mixed = True
        self._policy, self._is_clean = digest, True

    def lost(self, cause: str, count: int) -> None:
        """A loss was recorded."""
        if cause == HELD_AT_CRASH:
            self._at_crash += count

    def out(self, entry: Key | Out) -> None:
        """An envelope was made."""
        kept = entry.kind == "keep"
        # What is kept is sealed to the custodian, and counted at each destination.
        place = "" if kept else entry.dest
        for rule, rows, is_statistic in entry.rules:
            if not is_statistic:
                self._written["kept" if kept else "sent", place, rule] += rows

    def snap(self, entry: Snap) -> list[str]:
        """Take a snapshot; return what does not add up."""
        self.add((row[0], row[2], row[4], row[5]) for row in entry.rows)
        return self.check(entry.held)

    def add(self, rows: Iterable[tuple[str, str, str, int]]) -> None:
        """Add (destination, rule, outcome, samples)."""
        for place, rule, outcome, samples in rows:
            if outcome == "read":
                self._read += samples
            elif outcome not in _LEVELS:
                self._parts[place] += samples
            if outcome == "sent":
                self._counted["sent", place, rule] += samples
                self.sent_total += samples
            elif outcome == "kept":
                self._counted["kept", "", rule] += samples

    def check(self, held: int) -> list[str]:
        """Return what does not add up now."""
        if self.unknowable:
            return []
        return [*self._balance(held), *self._envelopes()]

    def _balance(self, held: int) -> Iterator[str]:
        read = self._read
        open_ = 0
        for place, parts in sorted(self._parts.items()):
            open_ += read - parts
            if parts > read:
                yield f"{place}: {read} samples read and {parts} accounted for"
        if self._mixed:
            return
        missing = held + self._at_crash - open_
        # A destination of which all is held so far is in no row: it holds all of R.
        if missing and not (read and missing > 0 and missing % read == 0):
            yield (
                f"{read} samples read, {open_} of them without an outcome at their"
                f" destinations, but {held} held and {self._at_crash} lost while held"
            )

    def _envelopes(self) -> Iterator[str]:
        for key in sorted(self._counted.keys() | self._written.keys()):
            counted, written = self._counted[key], self._written[key]
            if counted != written:
                outcome, place, rule = key
                yield (
                    f"{place or 'custodian'}, rule {rule}: counters say {counted}"
                    f" samples {outcome}, the envelopes' entries say {written}"
                )
