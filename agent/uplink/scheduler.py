"""How much may go out now, and of what: the window and the live:backlog ratio. Pure."""

from __future__ import annotations

from typing import Final

from agent.limits import SEND_WINDOW

RECEIPT_WAIT_NS: Final = 120_000_000_000  # no receipt for so long: send it all again
UNCONFIRMED_MAX: Final = 4096  # sent, not receipted; beyond it the collector is away


class Scheduler:
    """Bounds what is under way; deals free places out in the stated ratio.

    The ratio holds over time and not only within one deal: what rounding gives one
    side too much is carried over, so that a window that frees one place at a time
    still serves both.
    """

    def __init__(self, live_share: float, window: int = SEND_WINDOW) -> None:
        """``live_share`` of the places, within (0, 1), go to live records first."""
        if not 0.0 < live_share < 1.0:
            message = f"live share {live_share} is not between 0 and 1"
            raise ValueError(message)
        self._live_share = live_share
        self._window = window
        self._owed = 0.0  # places that live is owed, within (-1, 1)
        self._under_way: set[int] = set()
        self._last_receipt_ns = 0
        self._waiting = False

    def connected(self, now_ns: int, window: int | None = None) -> None:
        """Start anew; ``window`` is the broker's Receive Maximum where it is less."""
        self._under_way.clear()
        self._owed = 0.0
        self._waiting = False
        self._last_receipt_ns = now_ns
        if window is not None:
            self._window = min(window, SEND_WINDOW)

    def deal(self, unconfirmed: int) -> tuple[int, int]:
        """Return (live, backlog): how many records to ask the store for.

        (0, 0) where the window is full, or ``unconfirmed`` records (sent and not
        receipted, those under way included) are as many as may be.
        """
        free = min(self._window - len(self._under_way), UNCONFIRMED_MAX - unconfirmed)
        if free <= 0:
            return 0, 0
        wanted = free * self._live_share + self._owed
        live = min(max(round(wanted), 0), free)
        self._owed = max(-1.0, min(1.0, wanted - live))
        return live, free - live

    def is_stalled(self, unconfirmed: int) -> bool:
        """Tell whether receipts are what is missing."""
        return unconfirmed >= UNCONFIRMED_MAX

    def started(self, row: int) -> None:
        """A publish is under way."""
        self._under_way.add(row)

    def ended(self, row: int, now_ns: int) -> None:
        """A publish has its answer, or none will come."""
        self._under_way.discard(row)
        if not self._waiting:
            self._waiting = True
            self._last_receipt_ns = now_ns

    def receipted(self, now_ns: int, unconfirmed: int) -> None:
        """A valid receipt came; the clock of `is_overdue` starts anew."""
        self._last_receipt_ns = now_ns
        self._waiting = unconfirmed > 0

    def is_overdue(self, now_ns: int, unconfirmed: int) -> bool:
        """Tell whether sent records wait too long: then ``Store.forget_sent``.

        A broker may lose what it acknowledged; without this such a record would wait
        for the next connection. Times are monotonic ns.
        """
        if unconfirmed == 0 or not self._waiting:
            return False
        if now_ns - self._last_receipt_ns < RECEIPT_WAIT_NS:
            return False
        self._last_receipt_ns = now_ns
        return True
