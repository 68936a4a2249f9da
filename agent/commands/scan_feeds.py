"""What a scan reads: CAN frames of any capture, or Modbus TCP of a pcap.

Both come as arrivals, as the daemon's sources bring them.
"""

from __future__ import annotations

import dataclasses
import gzip
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Protocol

import numpy as np

from agent.adapters.capture_reading import GZIP_MAGIC, Closing
from agent.adapters.captures import open_capture
from agent.adapters.modbus.recording import Recording
from agent.commands.modbus_source import LOSSES
from agent.limits import BATCH_FRAMES_MAX
from agent.records import Arrival
from protocols.capture.ethernet import LINKS as NETWORK_LINKS
from protocols.capture.pcap import link_type_of
from protocols.capture.pcap_packets import LINK_SLL
from protocols.frames import FrameBatch
from protocols.modbus.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Self

    from agent.commands.modbus_source import Source
    from protocols.modbus.exchanges import PairBatch

HEAD_BYTES = 4096


class Feed(Protocol):
    """A capture, open; a context manager."""

    format: str
    what: str  # what is counted: frames, exchanges
    unbound: Counter[str]  # buses that no binding names, frames

    @property
    def skipped(self) -> dict[str, int]:
        """Return what was not read, by cause."""

    @property
    def position_bytes(self) -> int:
        """Return how far the file was read."""

    @property
    def size_bytes(self) -> int:
        """Return the size of the file."""

    def arrivals(self) -> Iterator[tuple[Arrival, int, int]]:
        """Yield (arrival, how many, when the first was); BadInput where it breaks."""

    def __enter__(self) -> Self:
        """Return it."""

    def __exit__(self, *_: object) -> None:
        """Close it."""


def is_network(path: Path, *, has_links: bool) -> bool:
    """Tell whether a capture is of a network, with TCP in it, and not of CAN buses.

    Linux's cooked captures (113) hold either: a network where ``has_links``, devices
    that the caller has named.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            if head.startswith(GZIP_MAGIC):
                file.seek(0)
                with gzip.GzipFile(fileobj=file) as opened:
                    head = opened.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error):
        return False  # whoever opens it says so
    link = link_type_of(head)
    return link in NETWORK_LINKS and (link != LINK_SLL or has_links)


class CanFeed(Closing):
    """A capture of CAN buses, numbered as the policy has them."""

    what = "frames"

    def __init__(self, path: Path, buses: Sequence[str]) -> None:
        """Open ``path``; BadInput where that fails."""
        self._capture = open_capture(path, BATCH_FRAMES_MAX)
        self._known = tuple(buses)
        self.format = self._capture.format
        self.unbound: Counter[str] = Counter()

    @property
    def skipped(self) -> dict[str, int]:
        """Return frames that were not read, by cause."""
        return self._capture.skipped

    @property
    def position_bytes(self) -> int:
        """Return how far the file was read."""
        return self._capture.position_bytes

    @property
    def size_bytes(self) -> int:
        """Return the size of the file."""
        return self._capture.size_bytes

    def arrivals(self) -> Iterator[tuple[Arrival, int, int]]:
        """Yield batches of frames; BadInput behind those before a broken place."""
        last_ns = 0
        for batch in self._capture.batches():
            last_ns = max(last_ns, int(batch.time_ns[-1]))
            known = self._renumbered(batch, self._capture.buses)
            yield Arrival(last_ns, known), len(batch), int(batch.time_ns[0])

    def _renumbered(self, batch: FrameBatch, buses: list[str]) -> FrameBatch:
        """Return the batch with the policy's bus numbers instead of the file's.

        A bus that no binding names gets a number behind all of them: its frames are
        unknown, counted, and never leave.
        """
        known = self._known
        numbers = [known.index(name) if name in known else len(known) for name in buses]
        if numbers == list(range(len(numbers))):
            return batch
        for number, count in enumerate(np.bincount(batch.bus).tolist()):
            if count and buses[number] not in known:
                self.unbound[buses[number]] += count
        bus = np.array(numbers, np.uint8)[batch.bus]
        return FrameBatch(
            batch.time_ns, bus, batch.ident, batch.size, batch.flags, batch.payload
        )

    def close(self) -> None:
        """Close the file."""
        self._capture.close()


class NetworkFeed(Closing):
    """A capture of a network: exchanges of Modbus TCP, as a tap would bring them."""

    format = "pcap, Modbus TCP"
    what = "exchanges"

    def __init__(self, path: Path, source: Source) -> None:
        """Open ``path``; ``source`` knows devices and ports. BadInput where not."""
        self._recording = Recording(path)
        numbers = {name: number for number, name in enumerate(source.links)}
        places = {(p.host, p.port): numbers[p.name] for p in source.places}
        self._streams = Streams(source.ports, places, source.peers)
        self.unbound: Counter[str] = Counter()
        self._last_ns = 0

    @property
    def skipped(self) -> dict[str, int]:
        """Return packets, bytes and requests that were not read, by cause."""
        told = dataclasses.asdict(self._streams.statistics)
        losses = {words: told[cause] for cause, words in LOSSES.items() if told[cause]}
        return {**self._recording.skipped, **losses}

    @property
    def position_bytes(self) -> int:
        """Return how far the file was read."""
        return self._recording.position_bytes

    @property
    def size_bytes(self) -> int:
        """Return the size of the file."""
        return self._recording.size_bytes

    def arrivals(self) -> Iterator[tuple[Arrival, int, int]]:
        """Yield batches of exchanges; BadInput behind those before a broken place."""
        for segments in self._recording.segments():
            yield from self._arrived(self._streams.feed(segments))
        yield from self._arrived(self._streams.finish())

    def _arrived(self, pairs: PairBatch) -> Iterator[tuple[Arrival, int, int]]:
        if len(pairs):
            last_ns = max(int(pairs.time_ns.max()), int(pairs.reply_ns.max()))
            self._last_ns = max(self._last_ns, last_ns)
            first_ns = int(pairs.time_ns[0])
            yield Arrival(self._last_ns, exchanges=pairs), len(pairs), first_ns

    def close(self) -> None:
        """Close the file."""
        self._recording.close()
