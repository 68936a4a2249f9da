"""What a tap sees of Modbus TCP, as exchanges: TCP segments in, ``PairBatch`` out.

Segments -> connections -> bytes in order -> ADUs -> requests with their replies. Sans
I/O and without a clock: time is that of the capture. Bounded memory; whatever is lost
is counted by its cause in `statistics`.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.capture.ethernet import empty_segments
from protocols.modbus.adus import Framing
from protocols.modbus.connections import Connections
from protocols.modbus.pairing import Pairing
from protocols.modbus.pairs import concat_pairs
from protocols.modbus.peers import Peers
from protocols.modbus.reassembly import HOLE_NS, Reassembly, StreamCounts
from protocols.modbus.restarts import IGNORED, find_restarts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from protocols.capture.ethernet import SegmentBatch
    from protocols.frames import I64
    from protocols.modbus.exchanges import PairBatch
    from protocols.modbus.restarts import Restart

MODBUS_PORT: Final = 502
SEGMENTS_AT_ONCE: Final = 8192
IDLE_NS: Final = 300_000_000_000


class Streams:
    """All connections of one tap.

    The server is the endpoint in ``links`` ((address, port) -> link number), else the
    one whose port is in ``ports``; where both are, or none, the one that got the SYN,
    else the one that did not speak first. Without ``ports`` every connection is taken
    for Modbus. VLAN tags are not looked at: a packet that is seen in two VLANs is one.
    """

    def __init__(
        self,
        ports: Sequence[int] = (MODBUS_PORT,),
        links: Mapping[tuple[str, int], int] | None = None,
        peers: Peers | None = None,
    ) -> None:
        """Begin with no connection. ``peers`` numbers addresses; shared by sources."""
        self.peers = peers or Peers()
        self._counts = StreamCounts()
        self._table = Connections(ports, links or {}, self.peers)
        self._reassembly = Reassembly(self._table, self._counts)
        self._framing = Framing(self._table, self._counts)
        self._pairing = Pairing(self._table, self._counts)
        self._table.told += [self._reassembly.forget, self._framing.forget]
        self._now_ns = 0

    @property
    def statistics(self) -> StreamCounts:
        """Return what happened to the bytes since the start; a copy."""
        return replace(self._counts)

    def feed(self, segments: SegmentBatch) -> PairBatch:
        """Return what these segments complete, in order of time; never raises."""
        wanted = self._table.wanted(segments)
        if not wanted.all():
            self._counts.other += int(np.count_nonzero(~wanted))
            segments = segments.take(wanted)
        found = []
        for start in range(0, len(segments), SEGMENTS_AT_ONCE):
            part = segments.take(slice(start, start + SEGMENTS_AT_ONCE))
            slot, evicted = self._table.rows_of(part)
            self._counts.evicted += evicted
            self._now_ns = int(part.time_ns.max())
            found += self._passes(part, slot)
        return _in_order(concat_pairs(found))

    def flush(self, now_ns: int) -> PairBatch:
        """Give up what waited too long at ``now_ns``; call it where nothing comes."""
        self._now_ns = now_ns
        for row in self._table.idle(now_ns - IDLE_NS):
            self._table.forget(row)
        return self._step(empty_segments(), np.empty(0, np.int64))

    def finish(self) -> PairBatch:
        """Return what is left at the end of a capture.

        What might still have been answered is not said to be UNANSWERED.
        """
        none = np.empty(0, np.int64)
        now_ns = self._now_ns
        self._now_ns = now_ns + HOLE_NS
        holes = self._step(empty_segments(), none, at_ns=now_ns)
        self._framing.finish()
        self._now_ns = now_ns
        rest = self._step(empty_segments(), none, is_last=True)
        return _in_order(concat_pairs([holes, rest]))

    def _passes(self, segments: SegmentBatch, slot: I64) -> list[PairBatch]:
        """Take a batch in one pass, or in more where endpoints connect again."""
        passes, restarts = find_restarts(segments, slot, self._table)
        if not restarts and not (passes == IGNORED).any():
            return [self._step(segments, slot)]
        unread = (passes == IGNORED) & (segments.size > 0)  # data of a SYN
        self._counts.strays += int(np.count_nonzero(unread))
        found = []
        for number in range(int(passes.max()) + 1):
            serials: set[int] = set()
            for restart in restarts:  # connections
                if restart.number == number:
                    serials.add(self._restart(restart))
            rows = passes == number
            found.append(self._step(segments.take(rows), slot[rows], serials=serials))
        return found

    def _restart(self, restart: Restart) -> int:
        """Let a row begin anew; return the serial that it had."""
        serial = int(self._table.serial[restart.row])
        for tell in self._table.told:
            tell(restart.row)
        self._table.restart(restart.row)
        if restart.slot >= 0:
            self._table.begin(restart.slot, restart.sequence)
        return serial

    def _step(
        self,
        segments: SegmentBatch,
        slot: I64,
        at_ns: int | None = None,
        *,
        serials: Collection[int] = (),
        is_last: bool = False,
    ) -> PairBatch:
        now_ns = self._now_ns
        pieces = self._reassembly.feed(segments, slot, now_ns)
        adus = self._framing.feed(pieces)
        return self._pairing.feed(
            adus, now_ns if at_ns is None else at_ns,
            restarted=serials, is_last=is_last,
        )  # fmt: skip


def _in_order(pairs: PairBatch) -> PairBatch:
    """Return the rows by time: what was given up late is older than its neighbours."""
    time_ns = pairs.time_ns
    if (time_ns[1:] >= time_ns[:-1]).all():
        return pairs
    order = np.argsort(time_ns, kind="stable")
    columns = {
        one.name: getattr(pairs, one.name)[order]
        for one in fields(pairs)
        if one.name != "chars"
    }
    return replace(pairs, **columns)
