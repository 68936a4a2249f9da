"""Many small arrivals from many buses become few batches. No clock: time is given.

A batch closes when it holds ``frames_max`` frames, or when its oldest frame has waited
``window_ns`` (DESIGN section 4: 64 to 4,096 frames, or 50 to 100 ms).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from agent.limits import BATCHES_WAITING_MAX
from agent.records import Rank
from protocols.frames import concat_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocols.frames import I64, U8, FrameBatch

RANKS: Final = int(Rank.CONTROL)  # of frames: those below
SWEEP: Final = 16  # a sixteenth of the queue is the most that goes at once


@dataclass(slots=True)
class _Waiting:
    """Frames that arrived together; ``rank`` is asked for when the queue is full."""

    arrived_ns: int
    frames: FrameBatch
    rank: U8 | None = None


class Batcher:
    """A bounded queue of frames, in order of arrival, that gives whole batches.

    When the queue is full, frames are shed by rank, the lowest first, and counted in
    `shed`. Of one rank what arrives goes before what waits, as in the kernel, and of
    what waits the youngest: what was taken stays without a gap as long as it can.
    """

    def __init__(
        self,
        frames_max: int,
        window_ns: int,
        waiting_max: int | None = None,
    ) -> None:
        """Hold at most ``waiting_max`` frames (64 full batches where not given)."""
        if waiting_max is None:
            waiting_max = BATCHES_WAITING_MAX * frames_max
        assert 1 <= frames_max <= waiting_max
        assert window_ns >= 0
        self.shed = [0] * RANKS  # frames, ever, by rank
        self.waiting = 0  # frames in the queue
        self.rank: Callable[[FrameBatch], U8] = _all_alike  # under the policy of now
        self._frames_max = frames_max
        self._window_ns = window_ns
        self._waiting_max = waiting_max
        self._queue: deque[_Waiting] = deque()
        self._ranked = False  # every waiting frame, since the queue was full last
        self._at = np.zeros(RANKS, np.int64)  # waiting frames by rank, where ranked

    @property
    def lost(self) -> int:
        """Return how many frames were shed, ever."""
        return sum(self.shed)

    def add(self, batch: FrameBatch, now_ns: int) -> None:
        """Take what a source delivered at ``now_ns`` (monotonic), as far as it fits."""
        taken = _Waiting(now_ns, batch)
        excess = self.waiting + len(batch) - self._waiting_max
        if excess > 0:
            self._make_room(taken, excess)
        if len(taken.frames):
            self._queue.append(taken)
            self.waiting += len(taken.frames)
            if self._ranked:
                self._at += _counted(self._ranks(taken))

    def due_ns(self) -> int | None:
        """Return when `ready` will give a batch without more frames; None if empty."""
        return self._queue[0].arrived_ns + self._window_ns if self._queue else None

    def ready(self, now_ns: int) -> FrameBatch | None:
        """Return the next batch of 1..frames_max frames, of one width; None if none.

        Call again until None: more than one batch may be waiting.
        """
        due = self.due_ns()
        if due is None or (self.waiting < self._frames_max and now_ns < due):
            return None
        return self._pop()

    def flush(self) -> FrameBatch | None:
        """Return the next batch though its window is open (at the end of a source)."""
        return self._pop() if self._queue else None

    def shed_all(self) -> None:
        """Count all that waits as shed."""
        self._rank_all()
        for rank, count in enumerate(self._at.tolist()):
            self.shed[rank] += count
        self._queue.clear()
        self.waiting, self._ranked = 0, False

    def _pop(self) -> FrameBatch:
        parts: list[FrameBatch] = []
        room = self._frames_max
        while self._queue and room:
            one = self._queue.popleft()
            batch = one.frames
            if len(batch) > room:
                rest = _Waiting(one.arrived_ns, batch.take(slice(room, None)))
                if one.rank is not None:
                    one.rank, rest.rank = one.rank[:room], one.rank[room:]
                self._queue.appendleft(rest)
                batch = batch.take(slice(0, room))
            if self._ranked:
                self._at -= _counted(self._ranks(one))
            parts.append(batch)
            room -= len(batch)
        self.waiting -= self._frames_max - room
        self._ranked = self._ranked and self.waiting > self._waiting_max // 2
        return concat_frames(parts)

    # --- too much -------------------------------------------------------------------

    def _make_room(self, taken: _Waiting, excess: int) -> None:
        """Shed at least ``excess`` frames of the queue and of what arrives."""
        self._rank_all()
        for rank in range(RANKS):
            excess -= self._thin(taken, rank, excess)
            if excess > 0 and self._at[rank] and self._is_above(taken, rank):
                # More than must be: not every arrival is to search the queue.
                excess -= self._sweep(rank, max(excess, self._waiting_max // SWEEP))
            if excess <= 0:
                return

    def _rank_all(self) -> None:
        """Rank what waits, from now on until the queue is half empty again."""
        if self._ranked:
            return
        self._ranked = True
        self._at[:] = 0
        for one in self._queue:
            self._at += _counted(self._ranks(one))

    def _sweep(self, rank: int, wanted: int) -> int:
        """Shed up to ``wanted`` waiting frames of a rank, the youngest first."""
        wanted = min(wanted, int(self._at[rank]))
        left = wanted
        for one in reversed(self._queue):
            if not left:
                break
            left -= self._thin(one, rank, left)
        swept = wanted - left
        self._at[rank] -= swept
        self.waiting -= swept
        self._queue = deque(one for one in self._queue if len(one.frames))
        return swept

    def _is_above(self, taken: _Waiting, rank: int) -> bool:
        return bool((self._ranks(taken) > rank).any())

    def _ranks(self, one: _Waiting) -> U8:
        if one.rank is None:
            one.rank = self.rank(one.frames)
        return one.rank

    def _thin(self, one: _Waiting, rank: int, wanted: int) -> int:
        """Shed the youngest frames of a rank, ``wanted`` at most; return how many."""
        ranks = self._ranks(one)
        found = np.flatnonzero(ranks == rank)[-wanted:]
        if len(found):
            keep = np.ones(len(ranks), np.bool_)
            keep[found] = False
            one.frames, one.rank = one.frames.take(np.flatnonzero(keep)), ranks[keep]
            self.shed[rank] += len(found)
        return len(found)


def _counted(ranks: U8) -> I64:
    return np.bincount(ranks, minlength=RANKS)


def _all_alike(frames: FrameBatch) -> U8:
    return np.zeros(len(frames), np.uint8)
