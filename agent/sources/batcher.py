"""Many small arrivals from many buses become few batches. No clock: time is given.

A batch closes when it holds ``frames_max`` frames, or when its oldest frame has waited
``window_ns`` (DESIGN section 4: 64 to 4,096 frames, or 50 to 100 ms).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from agent.limits import BATCHES_WAITING_MAX
from protocols.frames import concat_frames

if TYPE_CHECKING:
    from protocols.frames import FrameBatch


class Batcher:
    """A bounded queue of frames, in order of arrival, that gives whole batches.

    When the queue is full, what arrives is shed and counted in `lost`, as the kernel
    does: what was taken stays without a gap.
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
        self.lost = 0  # frames shed, ever
        self.waiting = 0  # frames in the queue
        self._frames_max = frames_max
        self._window_ns = window_ns
        self._waiting_max = waiting_max
        self._queue: deque[tuple[int, FrameBatch]] = deque()

    def add(self, batch: FrameBatch, now_ns: int) -> None:
        """Take what a source delivered at ``now_ns`` (monotonic), as far as it fits."""
        room = self._waiting_max - self.waiting
        if len(batch) > room:
            self.lost += len(batch) - room
            batch = batch.take(slice(0, room))
        if len(batch):
            self._queue.append((now_ns, batch))
            self.waiting += len(batch)

    def due_ns(self) -> int | None:
        """Return when `ready` will give a batch without more frames; None if empty."""
        return self._queue[0][0] + self._window_ns if self._queue else None

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
            arrived_ns, batch = self._queue.popleft()
            if len(batch) > room:
                self._queue.appendleft((arrived_ns, batch.take(slice(room, None))))
                batch = batch.take(slice(0, room))
            parts.append(batch)
            room -= len(batch)
        self.waiting -= self._frames_max - room
        return concat_frames(parts)
