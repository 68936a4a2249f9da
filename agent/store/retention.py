"""How old which part of the evidence log is, and what of it may go. Pure.

Age is what this device itself saw pass, never what a time stamp says: about once a day
of a believed clock a mark says how long the log was then. While a process runs, its
monotonic clock says when the next mark is due: a wall clock that goes to and fro makes
nothing old. From one process to the next the wall clock does. Between two marks at most
two days count, however far it went: one that jumps ten years ahead makes nothing old.
A device that is switched off for months keeps its log that much longer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import msgpack

DAY_NS: Final = 86_400 * 1_000_000_000
COUNTED_NS_MAX: Final = 2 * DAY_NS  # of what passes between two marks
LOG_ID_BYTES: Final = 8
HASH_BYTES: Final = 32
SIZE_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Mark:
    """The log had ``size`` entries when so much time had been seen to pass."""

    size: int
    seen_ns: int


@dataclass(frozen=True, slots=True)
class Ages:
    """The marks of one log, oldest first."""

    log_id: bytes
    wall_ns: int = 0  # at the newest mark
    seen_ns: int = 0  # time that was seen to pass in all
    marks: tuple[Mark, ...] = ()

    def looked(self, now_ns: int, size: int, lived_ns: int | None = None) -> Ages:
        """Return these at a believed time; the same where no new mark is due.

        ``lived_ns``: since the newest mark, by the monotonic clock; None where this
        process has not looked yet.
        """
        passed = now_ns - self.wall_ns if lived_ns is None else lived_ns
        if self.marks and 0 <= passed < DAY_NS:
            return replace(self, wall_ns=now_ns) if now_ns < self.wall_ns else self
        counted = min(max(passed, 0), COUNTED_NS_MAX) if self.marks else 0
        seen_ns = self.seen_ns + counted
        if self.marks and not counted:  # the clock went back: time goes on from here
            return replace(self, wall_ns=now_ns)
        marks = (*self.marks, Mark(size, seen_ns))
        return replace(self, wall_ns=now_ns, seen_ns=seen_ns, marks=marks)

    def older_than(self, keep_ns: int) -> int:
        """Return how many entries are known to be older than ``keep_ns``."""
        limit = self.seen_ns - keep_ns
        return max((one.size for one in self.marks if one.seen_ns <= limit), default=0)

    def without_older(self, keep_ns: int) -> Ages:
        """Return these without marks that say nothing beside a later one."""
        limit = self.seen_ns - keep_ns
        old = [one for one in self.marks if one.seen_ns <= limit]
        return replace(self, marks=(*old[-1:], *self.marks[len(old) :]))


@dataclass(frozen=True, slots=True)
class Pruning:
    """Entries [first, end) went: ``size`` bytes; ``root`` of the first ``end``."""

    first: int
    end: int
    root: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first ``size`` entries of a log are pruned; they had this root."""

    log_id: bytes
    size: int
    root: bytes


def encode_ages(ages: Ages) -> bytes:
    """Return the document's body."""
    marks = [[one.size, one.seen_ns] for one in ages.marks]
    packed = msgpack.packb([1, ages.log_id, ages.wall_ns, ages.seen_ns, marks])
    assert isinstance(packed, bytes)
    return packed


def decode_ages(body: bytes) -> Ages:
    """Return what was encoded; ValueError where it is nothing of ours."""
    match msgpack.unpackb(body):
        case [1, bytes(log_id), int(wall_ns), int(seen_ns), [*marks]]:
            return Ages(log_id, wall_ns, seen_ns, tuple(map(_mark, marks)))
    raise ValueError("no ages of a log")


def _mark(told: object) -> Mark:
    match told:
        case [int(size), int(seen_ns)]:
            return Mark(size, seen_ns)
    raise ValueError("no mark")


def encode_beginning(told: Beginning) -> bytes:
    """Return log id, size (8 bytes, big-endian) and root."""
    return told.log_id + told.size.to_bytes(SIZE_BYTES, "big") + told.root


def decode_beginning(body: bytes) -> Beginning:
    """Return what was encoded; ValueError where it is nothing of ours."""
    if len(body) != LOG_ID_BYTES + SIZE_BYTES + HASH_BYTES:
        raise ValueError("no beginning of a log")
    middle = LOG_ID_BYTES + SIZE_BYTES
    size = int.from_bytes(body[LOG_ID_BYTES:middle], "big")
    return Beginning(body[:LOG_ID_BYTES], size, body[middle:])
