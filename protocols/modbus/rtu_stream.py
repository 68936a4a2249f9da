"""RTU over TCP, one connection: both directions to exchanges. Sans I/O.

No length and no silence: a frame is what its function says and its CRC confirms; where
none begins, a byte is skipped and counted, and so it finds its way back after a loss or
a start in the middle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocols.modbus.rtu import RtuFramer
from protocols.modbus.rtu_pairing import REPLY_NS_MAX, Ends, RtuPairing

if TYPE_CHECKING:
    from protocols.modbus.exchanges import PairBatch
    from protocols.modbus.pair_rows import PairRow


class RtuStream:
    """One connection. Holds less than a frame per direction, and what is open."""

    def __init__(self, ends: Ends, *, reply_ns_max: int = REPLY_NS_MAX) -> None:
        """Begin anywhere in the connection."""
        self._pairing = RtuPairing(ends, reply_ns_max=reply_ns_max)
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
        for adu in self._framers[replies].feed(data):
            if replies:
                self._pairing.reply(adu, time_ns)
            else:
                self._pairing.request(adu, time_ns, can_haste=True)

    def gap(self, *, replies: bool) -> None:
        """Bytes are missing before the next ones: nothing held goes on, or is answered.

        A reply, or another request, may be among them.
        """
        self._pairing.close(is_cut=True)
        before = self._framers[replies]
        self._skipped += before.skipped + before.pending
        self._framers[replies] = RtuFramer(replies=replies, synced=False)

    def expire(self, now_ns: int) -> None:
        """Give up requests that are open for too long."""
        self._pairing.expire(now_ns)

    def close(self, *, is_cut: bool = False) -> None:
        """Give up what is open: the connection, or what we see of it, has ended."""
        self._pairing.close(is_cut=is_cut)
        self.gap(replies=False)
        self.gap(replies=True)

    def take(self) -> PairBatch | None:
        """Return the exchanges that are over, in order of time; None where none are."""
        return self._pairing.take()

    def take_rows(self) -> list[PairRow]:
        """Return the same one by one, as they came to an end."""
        return self._pairing.take_rows()
