"""A tap on an interface: what others say there over TCP, as exchanges.

A tap outlives its socket: an interface that goes down is opened again
(``agent/adapters/reading.py``), and connections, counters and losses go on. Nothing
here can send.

What this gateway itself says to a device that it polls or proxies is left out, and
counted: the poller and the proxy tell it themselves.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import numpy as np

from agent.adapters.modbus.tap_places import known_places
from agent.adapters.modbus.tap_socket import SLOTS, TapSocket
from agent.adapters.modbus.tap_streams import TapStreams
from agent.adapters.reading import waits
from protocols.capture.ethernet import (
    LINK_ETHERNET,
    find_segments,
    packets_of_rows,
)
from protocols.modbus.exchanges import UNLISTED
from protocols.modbus.pairs import take_pairs
from protocols.modbus.peers import OTHERS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from agent.adapters.modbus.tap_socket import Packets
    from agent.config import Modbus, Tap
    from agent.ports import Clock
    from agent.sources.losses import Losses
    from protocols.frames import U16, Bool
    from protocols.modbus.exchanges import PairBatch
    from protocols.modbus.peers import Peers

PAUSE_S: Final = 0.02  # gathers packets: a wake-up for each would cost more than it
FLUSH_S: Final = 1.0  # requests that nobody answers are told though nothing comes
TOO_LARGE: Final = "packet too large"
SKIPPED: Final = (
    TOO_LARGE, "short packet", "IPv4 fragment", "IPv6 fragment", "malformed IP header",
    "malformed TCP header",
)  # fmt: skip
LOST: Final = {
    "missed": "bytes that never came", "strays": "segments out of their window",
    "skipped": "bytes of no ADU", "evicted": "connections forgotten",
    "overdue": "requests given up", "crowded": "exchanges beyond a batch",
}  # fmt: skip


class NetworkTap:
    """One interface. ``open`` gives a source of exchanges, again and again."""

    def __init__(
        self, tap: Tap, links: Sequence[Modbus], peers: Peers, clock: Clock
    ) -> None:
        """``links``: all that are configured; nothing is opened yet."""
        self.name = tap.name
        self.is_open = False
        self.exchanges = 0
        self.own = 0  # exchanges of this gateway itself, left out
        self._tap = tap
        self._peers = peers
        self._clock = clock
        modes = [link.mode for link in links]
        self._ours = np.zeros(256, np.bool_)  # links that we ask things ourselves
        self._ours[: len(modes)] = [mode != "watch" for mode in modes]
        self._has_proxy = "proxy" in modes
        self._links = tuple(links)
        self._own: U16 = np.empty(0, np.uint16)  # our addresses in ``Peers``
        self._streams: TapStreams | None = None
        self._skipped: dict[str, int] = {}

    def open(self) -> NetworkTapSource:
        """Open the interface; Unavailable says why that does not work now."""
        known = known_places(self._links, self._tap.interface)
        socket = TapSocket(self._tap.interface, self._tap.ports)
        if self._streams is None:
            self._streams = TapStreams(
                self._tap.ports, known.devices, self._links, self._peers
            )
        numbers = [self._peers.number(one) for one in sorted(known.own)]
        # Beyond the bound of peers we are one of the others, who must not be left out.
        self._own = np.array([one for one in numbers if one != OTHERS], np.uint16)
        return NetworkTapSource(self, socket)

    def fed(self, packets: Packets) -> PairBatch:
        """Return the exchanges that these packets complete."""
        assert self._streams is not None  # opened
        cut = int(np.count_nonzero(packets.length < 0))
        if cut:
            self._skipped[TOO_LARGE] = self._skipped.get(TOO_LARGE, 0) + cut
        times = packets.time_ns
        if (times < 0).any():
            times = np.where(times < 0, self._clock.now_ns(), times)
        rows = packets_of_rows(packets.data, packets.length, times)
        found = find_segments(rows, LINK_ETHERNET, self._skipped)
        return self._others(self._streams.feed(found))

    def flushed(self) -> PairBatch:
        """Return what waited too long."""
        assert self._streams is not None  # opened
        return self._others(self._streams.flush(self._clock.now_ns()))

    def watch(self, losses: Losses) -> None:
        """Have every loss but the kernel's watched, by its cause."""

        def of_packets(cause: str) -> Callable[[], int]:
            return lambda: self._skipped.get(cause, 0)

        def of_streams(field: str) -> Callable[[], int]:
            return lambda: self._stream_count(field)

        for cause in SKIPPED:
            losses.watch(f"tap {self.name}: {cause}", of_packets(cause))
        for field, cause in LOST.items():
            losses.watch(f"tap {self.name}: {cause}", of_streams(field))

    def _stream_count(self, field: str) -> int:
        return 0 if self._streams is None else self._streams.count(field)

    def _others(self, pairs: PairBatch) -> PairBatch:
        """Leave out what we said ourselves, or what masters said to our proxy."""
        ours = self._is_ours(pairs)
        if ours.any():
            self.own += int(np.count_nonzero(ours))
            pairs = take_pairs(pairs, ~ours)
        self.exchanges += len(pairs)
        return pairs

    def _is_ours(self, pairs: PairBatch) -> Bool:
        ours: Bool = np.isin(pairs.client, self._own) & self._ours[pairs.link]
        if self._has_proxy:
            ours |= np.isin(pairs.server, self._own) & (pairs.link == UNLISTED)
        return ours


class NetworkTapSource:
    """An open interface; ends when it is closed."""

    def __init__(self, tap: NetworkTap, socket: TapSocket) -> None:
        """Begin to listen."""
        self.name = tap.name
        self._tap = tap
        self._socket = socket
        self.turns = 0  # packets fetched, in one go each
        tap.is_open = True

    async def batches(self) -> AsyncIterator[PairBatch]:
        """Yield exchanges; Unavailable where the interface went away or down."""
        loop = asyncio.get_running_loop()
        flush_at = loop.time() + FLUSH_S
        while self._socket.fileno() >= 0:
            if await self._readable(max(flush_at - loop.time(), 0.0)):
                await asyncio.sleep(PAUSE_S)
            while (packets := self._socket.read()) is not None:
                self.turns += 1
                if len(pairs := self._tap.fed(packets)):
                    yield pairs
                if len(packets.length) < SLOTS:
                    break  # what came meanwhile waits for the next pause
                await asyncio.sleep(0)  # under a flood, others get a turn, too
            if loop.time() >= flush_at:
                flush_at = loop.time() + FLUSH_S
                if len(pairs := self._tap.flushed()):
                    yield pairs

    async def _readable(self, timeout_s: float) -> bool:
        return await readable(self._socket.fileno(), timeout_s)

    def is_due(self) -> bool:
        """Tell whether packets wait to be read."""
        return waits(self._socket.fileno())

    def lost(self) -> int:
        """Return packets that the kernel dropped because we were too slow."""
        return self._socket.lost()

    def close(self) -> None:
        """Close the socket."""
        self._tap.is_open = False
        self._socket.close()


async def readable(descriptor: int, timeout_s: float) -> bool:
    """Wait until a descriptor can be read; False where the time is over before."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    # Removed at the first call: the descriptor stays readable while others work.
    loop.add_reader(descriptor, wake)
    try:
        await asyncio.wait((ready,), timeout=timeout_s)
    finally:
        loop.remove_reader(descriptor)
    return ready.done()
