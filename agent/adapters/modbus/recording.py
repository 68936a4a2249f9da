"""Modbus/TCP from a capture file or, for a while, from an interface: blocking.

For commands that look and go; the daemon listens through its own tap. What was not
read is counted by cause in ``skipped``.
"""

from __future__ import annotations

import gzip
import select
import time
import zlib
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from agent.adapters.capture_reading import (
    GZIP_MAGIC,
    INFLATED_BYTES_MAX,
    Closing,
    chunks_of,
    unreadable,
)
from agent.adapters.modbus.tap_socket import TapSocket
from protocols.capture.ethernet import (
    LINK_ETHERNET,
    SegmentParser,
    find_segments,
    packets_of_rows,
)
from protocols.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from agent.errors import BadInput
    from protocols.capture.ethernet import SegmentBatch

_HINT: Final = "capture with `tcpdump -w FILE port 502`"
_WAIT_S: Final = 0.2  # between looks at the clock where nothing comes


class Recording(Closing):
    """An open pcap or pcapng file, also as ``.gz``; a context manager."""

    def __init__(self, path: Path, inflated_max: int = INFLATED_BYTES_MAX) -> None:
        """Open ``path``; BadInput where that fails."""
        self.path = path
        self._parser = SegmentParser()
        self.skipped = self._parser.skipped
        self._inflated_max = inflated_max
        self._open = ExitStack()
        try:
            self.size_bytes = path.stat().st_size
            self._raw = self._open.enter_context(path.open("rb"))
            self._stream: BinaryIO = self._raw
            if self._raw.read(2) == GZIP_MAGIC:
                self._raw.seek(0)
                opened = self._open.enter_context(gzip.GzipFile(fileobj=self._raw))
                self._stream = cast(BinaryIO, opened)
            else:
                self._raw.seek(0)
        except OSError as error:
            self._open.close()
            raise self._bad(error) from None

    @property
    def position_bytes(self) -> int:
        """Return how far the file was read, 0..size_bytes (of the compressed file)."""
        return self.size_bytes if self._raw.closed else self._raw.tell()

    def segments(self) -> Iterator[SegmentBatch]:
        """Yield all TCP segments; BadInput behind those before a broken place."""
        try:
            for chunk in self._chunks():
                yield self._parser.feed(chunk)
            self._parser.finish()
            self._parser.feed(b"")  # raises what finish has found
        except (WireError, OSError, EOFError, zlib.error) as error:
            raise self._bad(error) from None

    def _chunks(self) -> Iterator[bytes]:
        plain = self._stream is self._raw
        return chunks_of(self._stream, None if plain else self._inflated_max)

    def _bad(self, error: Exception) -> BadInput:
        return unreadable(self.path, error, _HINT)

    def close(self) -> None:
        """Close the file."""
        self._open.close()


class Listening(Closing):
    """An interface, listened to for a while; a context manager."""

    def __init__(
        self,
        interface: str,
        ports: Sequence[int],
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the interface; Unavailable says why not."""
        self._socket = TapSocket(interface, ports)
        self._clock = clock
        self._begun = clock()
        self._seconds = seconds
        self.skipped: dict[str, int] = {}

    @property
    def elapsed_s(self) -> float:
        """Return how long this has listened, at most what was asked for."""
        return min(self._clock() - self._begun, self._seconds)

    def segments(self) -> Iterator[SegmentBatch]:
        """Yield TCP segments until the time is over, or Ctrl-C is pressed.

        Unavailable where the interface goes down.
        """
        while self.elapsed_s < self._seconds:
            try:
                select.select([self._socket], [], [], _WAIT_S)
            except KeyboardInterrupt:  # enough: what was heard is told
                break
            packets = self._socket.read()
            if packets is None:
                continue
            cut = int((packets.length < 0).sum())
            if cut:
                self.skipped["packet too large"] = (
                    self.skipped.get("packet too large", 0) + cut
                )
            rows = packets_of_rows(packets.data, packets.length, packets.time_ns)
            yield find_segments(rows, LINK_ETHERNET, self.skipped)
        lost = self._socket.lost()
        if lost:
            self.skipped["packet dropped by the kernel"] = lost

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
