"""All that has arrived and waits for the flow: bounded, shed and counted beyond.

Frames wait in the batcher until a batch is full or its window over; transactions of our
pollers and exchanges of taps come in batches already and wait for the next pass.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from agent.limits import BATCH_FRAMES_MAX, BATCH_WINDOW_S
from agent.records import Arrival
from agent.sources.batcher import Batcher
from agent.sources.frame_ranks import WORDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.records import BusChange
    from agent.sources.losses import Losses
    from protocols.frames import U8, FrameBatch
    from protocols.modbus.exchanges import PairBatch
    from protocols.samples import TransactionBatch

BATCHES_A_PASS_MAX: Final = 8
TRANSACTIONS_WAITING_MAX: Final = 1024  # batches of polled links; the eldest go
CHANGES_WAITING_MAX: Final = 1024
EXCHANGES_WAITING_MAX: Final = 65_536  # of all taps, and of proxies at a pass


class Gathering:
    """Between the sources and the flow. No clock: time is given."""

    def __init__(self, losses: Losses) -> None:
        """Hold nothing yet; ``losses`` is told what is shed here."""
        self._batcher = Batcher(BATCH_FRAMES_MAX, int(BATCH_WINDOW_S * 1e9))
        self._transactions: deque[TransactionBatch] = deque()
        self._transactions_lost = 0
        self._exchanges: deque[tuple[PairBatch, tuple[str, ...] | None]] = deque()
        self._exchanges_waiting = self._exchanges_lost = 0
        self._changes: deque[BusChange] = deque()
        self._changes_lost = 0
        losses.watch("bus changes", lambda: self._changes_lost)
        for rank, word in enumerate(WORDS):
            losses.watch(
                f"batcher {word}", partial(self._batcher.shed.__getitem__, rank)
            )
        losses.watch("modbus queue", lambda: self._transactions_lost)
        losses.watch("exchange queue", lambda: self._exchanges_lost)

    def rank_by(self, rank: Callable[[FrameBatch], U8]) -> None:
        """Shed frames in this order from now on, where more come than there is room."""
        self._batcher.rank = rank

    def add_frames(self, batch: FrameBatch, mono_ns: int) -> None:
        """Take frames of a bus, as far as there is room."""
        self._batcher.add(batch, mono_ns)

    def add_change(self, change: BusChange) -> None:
        """Take that a bus went away; where there is no room, the eldest go."""
        if len(self._changes) >= CHANGES_WAITING_MAX:
            self._changes.popleft()
            self._changes_lost += 1
        self._changes.append(change)

    def add_transactions(self, batch: TransactionBatch) -> None:
        """Take what a poller read; where there is no room, the eldest go."""
        if len(self._transactions) >= TRANSACTIONS_WAITING_MAX:
            self._transactions_lost += len(self._transactions.popleft())
        self._transactions.append(batch)

    def add_exchanges(
        self, batch: PairBatch, rules: tuple[str, ...] | None = None
    ) -> None:
        """Take what a tap saw, or a proxy that judged by ``rules``.

        Where there is no room, the eldest go.
        """
        self._exchanges.append((batch, rules))
        self._exchanges_waiting += len(batch)
        while self._exchanges_waiting > EXCHANGES_WAITING_MAX:
            gone = len(self._exchanges.popleft()[0])
            self._exchanges_waiting -= gone
            self._exchanges_lost += gone

    def exchanges(self, now_ns: int) -> list[Arrival]:
        """Return the exchanges that have arrived, and no empty arrival."""
        found = [
            Arrival(now_ns, exchanges=batch, rules=rules)
            for batch, rules in self._exchanges
        ]
        self._exchanges.clear()
        self._exchanges_waiting = 0
        return found

    @property
    def has_room(self) -> bool:
        """Tell whether a whole batch of frames can still be waited for."""
        return self._batcher.waiting < BATCH_FRAMES_MAX

    @property
    def has_frames(self) -> bool:
        """Tell whether frames wait, in a window that is still open or beyond it."""
        return self._batcher.waiting > 0

    def shed(self) -> None:
        """Count all frames that wait as lost."""
        self._batcher.shed_all()

    def arrivals(self, now_ns: int, mono_ns: int, *, last: bool) -> list[Arrival]:
        """Return what has arrived; one empty arrival where nothing has."""
        found = [Arrival(now_ns, None, batch) for batch in self._transactions]
        self._transactions.clear()
        if self._changes:
            found.append(Arrival(now_ns, changes=tuple(self._changes)))
            self._changes.clear()
        found += self.exchanges(now_ns)
        for _ in range(BATCHES_A_PASS_MAX):
            frames = self._batcher.flush() if last else self._batcher.ready(mono_ns)
            if frames is None:
                break
            found.append(Arrival(now_ns, frames))
        return found or [Arrival(now_ns)]
