"""What a tap sees of RTU over TCP, as exchanges: TCP segments in, ``PairBatch`` out.

Only places that somebody has named: RTU over TCP does not show what it is. Segments ->
bytes in order as for Modbus TCP, then frame by frame: behind such a place lies a serial
line, which carries a thousand frames a second at most.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from heapq import merge
from ipaddress import ip_address
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.capture.ethernet import empty_segments
from protocols.modbus.connections import Connections
from protocols.modbus.pair_rows import batch_of
from protocols.modbus.reassembly import HOLE_NS, Reassembly, StreamCounts
from protocols.modbus.rtu_pairing import Ends
from protocols.modbus.rtu_stream import RtuStream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protocols.capture.ethernet import SegmentBatch
    from protocols.frames import U8, Bool
    from protocols.modbus.exchanges import PairBatch
    from protocols.modbus.pair_rows import PairRow
    from protocols.modbus.peers import Peers
    from protocols.modbus.reassembly import Pieces

SEGMENTS_AT_ONCE: Final = 8192
IDLE_NS: Final = 300_000_000_000
_MAPPED: Final = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, RFC 4291


class RtuStreams:
    """All connections to the named places of one tap. Bounded as ``Streams``."""

    def __init__(self, links: Mapping[tuple[str, int], int], peers: Peers) -> None:
        """``links``: (address, port) -> link number; ValueError: no IP address."""
        self._places = [_endpoint(address, port) for address, port in links]
        self._counts = StreamCounts()
        self._table = Connections([port for _, port in links], links, peers)
        self._reassembly = Reassembly(self._table, self._counts)
        self._table.told += [self._reassembly.forget, self._forget]
        self._streams: dict[int, RtuStream] = {}
        self._over: list[PairRow] = []  # of connections that are forgotten
        self._skipped = self._lost = 0  # of those
        self._now_ns = 0

    @property
    def statistics(self) -> StreamCounts:
        """Return what happened to the bytes since the start; a copy."""
        there = self._streams.values()
        skipped = self._skipped + sum(one.skipped for one in there)
        lost = self._lost + sum(one.lost for one in there)
        return replace(self._counts, skipped=skipped, crowded=lost)

    def wanted(self, segments: SegmentBatch) -> Bool:
        """Tell [N] segments from or to a named place: none of ``Streams``' business."""
        found = np.zeros(len(segments), np.bool_)
        for place in self._places:
            found |= (segments.source == place).all(axis=1)
            found |= (segments.target == place).all(axis=1)
        return found

    def feed(self, segments: SegmentBatch) -> PairBatch:
        """Return what these segments complete, in order of time; never raises."""
        segments = segments.take(self.wanted(segments))
        for start in range(0, len(segments), SEGMENTS_AT_ONCE):
            part = segments.take(slice(start, start + SEGMENTS_AT_ONCE))
            slot, evicted = self._table.rows_of(part)
            self._counts.evicted += evicted
            self._now_ns = int(part.time_ns.max())
            self._take(self._reassembly.feed(part, slot, self._now_ns))
        return self._told()

    def flush(self, now_ns: int) -> PairBatch:
        """Give up what waited too long at ``now_ns``; call it where nothing comes."""
        self._now_ns = now_ns
        for row in self._table.idle(now_ns - IDLE_NS):
            self._table.forget(row)
        none = np.empty(0, np.int64)
        self._take(self._reassembly.feed(empty_segments(), none, now_ns))
        for stream in self._streams.values():
            stream.expire(now_ns)
        return self._told()

    def finish(self) -> PairBatch:
        """Return what is left at the end of a capture.

        What might still have been answered is not said to be UNANSWERED.
        """
        none = np.empty(0, np.int64)
        holes = self._reassembly.feed(empty_segments(), none, self._now_ns + HOLE_NS)
        self._take(holes)
        for stream in self._streams.values():
            stream.close(is_cut=True)
        return self._told()

    def _take(self, pieces: Pieces) -> None:
        """Feed each connection both directions, in order of time."""
        sides: dict[int, list[list[tuple[int, int]]]] = defaultdict(lambda: [[], []])
        slots, times = pieces.slot.tolist(), pieces.time_ns.tolist()
        for index, (slot, time_ns) in enumerate(zip(slots, times, strict=True)):
            sides[slot >> 1][slot & 1].append((time_ns, index))
        for row, both in sides.items():
            stream = self._streams.get(row)
            if stream is None:
                stream = self._streams[row] = RtuStream(self._ends(row))
            client = int(self._table.client_side[row])
            for time_ns, index in merge(*both, key=itemgetter(0)):
                replies = slots[index] & 1 != client
                if pieces.broken[index]:
                    stream.gap(replies=replies)
                at, size = int(pieces.at[index]), int(pieces.size[index])
                data = pieces.chars[at : at + size].tobytes()
                stream.feed(data, time_ns, replies=replies)

    def _ends(self, row: int) -> Ends:
        table = self._table
        client = 2 * row + int(table.client_side[row])
        return Ends(
            int(table.number[client]),
            int(table.number[client ^ 1]),
            int(table.link_of[client ^ 1]),
        )

    def _forget(self, row: int) -> None:
        stream = self._streams.pop(row, None)
        if stream is None:
            return
        stream.close()
        self._over += stream.take_rows()
        self._skipped += stream.skipped
        self._lost += stream.lost

    def _told(self) -> PairBatch:
        rows, self._over = self._over, []
        for stream in self._streams.values():
            rows += stream.take_rows()
        return batch_of(rows)


def _endpoint(address: str, port: int) -> U8:
    """Return a place as ``SegmentBatch`` has it."""
    packed = ip_address(address).packed
    raw = (_MAPPED + packed)[-16:] + port.to_bytes(2, "big")
    return np.frombuffer(raw, np.uint8)
