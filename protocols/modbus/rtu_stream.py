"""RTU over TCP, one connection: both directions to exchanges. Sans I/O.

No length and no silence: a frame is what its function says and its CRC confirms; where
none begins, a byte is skipped and counted, and so it finds its way back after a loss or
a start in the middle. Replies belong to requests by unit and function, oldest first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocols.modbus.rtu import RtuFramer
from protocols.modbus.rtu_pairing import OPEN_MAX, REPLY_NS_MAX, Ends, RtuPairing

if TYPE_CHECKING:
    from protocols.modbus.exchanges import PairBatch


class RtuStream:
    """One connection. Holds less than a frame per direction, and what is open."""

    def __init__(self, ends: Ends, *, reply_ns_max: int = REPLY_NS_MAX) -> None:
        """Begin anywhere in the connection."""
        self._pairing = RtuPairing(ends, open_max=OPEN_MAX, reply_ns_max=reply_ns_max)
        self._framers = [
            RtuFramer(replies=replies, synced=False) for replies in (False, True)
        ]
        self._skipped = 0

    @property
    def skipped(self) -> int:
        """Return the bytes that were in no frame."""
        return self._skipped + sum(framer.skipped for framer in self._framers)

    @property
    def lost(self) -> int:
        """Return the exchanges that nobody took in time."""
        return self._pairing.lost

    @property
    def due_ns(self) -> int | None:
        """Return when ``expire`` has something to do; None: nothing is open."""
        return self._pairing.due_ns

    def feed(self, data: bytes, time_ns: int, *, replies: bool) -> None:
        """Take the next bytes of one direction (``replies``: from the device)."""
        tell = self._pairing.reply if replies else self._pairing.request
        for adu in self._framers[replies].feed(data):
            tell(adu, time_ns)

    def gap(self, *, replies: bool) -> None:
        """Bytes are missing before the next ones: what is held is no frame's begin."""
        before = self._framers[replies]
        self._skipped += before.skipped + before.pending
        self._framers[replies] = RtuFramer(replies=replies, synced=False)

    def expire(self, now_ns: int) -> None:
        """Give up requests that are open for too long."""
        self._pairing.expire(now_ns)

    def close(self) -> None:
        """Give up what is open: the connection has ended."""
        self.gap(replies=False)
        self.gap(replies=True)
        self._pairing.close()

    def take(self) -> PairBatch | None:
        """Return the exchanges that are over, in order of time; None where none are."""
        return self._pairing.take()
