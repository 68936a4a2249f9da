"""The connections that one tap hears: Modbus TCP, and RTU over TCP by the links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocols.modbus.pairs import concat_pairs
from protocols.modbus.rtu_streams import RtuStreams
from protocols.modbus.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.config import Modbus
    from protocols.capture.ethernet import SegmentBatch
    from protocols.modbus.exchanges import PairBatch
    from protocols.modbus.peers import Peers


class TapStreams:
    """Both kinds as one. Nothing on the wire tells them apart; the links do."""

    def __init__(
        self,
        ports: Sequence[int],
        devices: Mapping[tuple[str, int], int],
        links: Sequence[Modbus],
        peers: Peers,
    ) -> None:
        """``devices``: (address, port) -> index into ``links``."""
        kinds: dict[bool, dict[tuple[str, int], int]] = {False: {}, True: {}}
        for place, number in devices.items():
            kinds[links[number].kind == "rtu-tcp"][place] = number
        self._tcp = Streams(ports, kinds[False], peers)
        self._rtu = RtuStreams(kinds[True], peers)

    def feed(self, segments: SegmentBatch) -> PairBatch:
        """Return the exchanges that these segments complete."""
        rtu = self._rtu.wanted(segments)
        if not rtu.any():
            return self._tcp.feed(segments)
        told = [self._tcp.feed(segments.take(~rtu)), self._rtu.feed(segments)]
        return concat_pairs([one for one in told if len(one)])

    def flush(self, now_ns: int) -> PairBatch:
        """Give up what waited too long."""
        told = [self._tcp.flush(now_ns), self._rtu.flush(now_ns)]
        return concat_pairs([one for one in told if len(one)])

    def count(self, field: str) -> int:
        """Return a counter of ``StreamCounts``, of both."""
        both = (self._tcp.statistics, self._rtu.statistics)
        return sum(int(getattr(one, field)) for one in both)
