"""Capture files of every format as one stream of frame batches.

The format is told by its first bytes, then by the suffix; ``.gz`` is opened on the way.
Frames before a broken place are yielded first, then BadInput names file and place.
"""

from __future__ import annotations

import gzip
import tempfile
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
from agent.adapters.mf4_process import Mf4Process, has_asammdf
from agent.errors import BadInput
from agent.limits import BATCH_FRAMES_MAX
from protocols.capture.blf import MAGIC as BLF_MAGIC
from protocols.capture.blf import BlfParser
from protocols.capture.candump import CandumpParser, encode_candump
from protocols.capture.columns import CaptureParser, read_stream
from protocols.capture.pcap import PCAP_MAGICS, PCAPNG_MAGIC, PcapParser
from protocols.errors import WireError
from protocols.frames import concat_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from protocols.frames import FrameBatch

HEAD_BYTES: Final = 4096
FORMATS: Final = ("candump", "asc", "blf", "trc", "mf4", "pcap")
_SUFFIXES: Final = {
    ".log": "candump", ".candump": "candump", ".asc": "asc", ".blf": "blf",
    ".trc": "trc", ".mf4": "mf4", ".mdf": "mf4", ".pcap": "pcap", ".pcapng": "pcap",
}  # fmt: skip
_MDF_UNFINISHED: Final = b"UnFinMF "  # asammdf mends such a file, in memory
_MDF_MAGICS: Final = (b"MDF     ", _MDF_UNFINISHED)
_HINTS: Final = {
    "candump": "record with `candump -L`",
    "pcap": "capture a CAN interface",
}


def detect_format(head: bytes, name: str) -> str | None:
    """Return the format of a file that begins with ``head``; None where unknown."""
    if head.startswith(BLF_MAGIC):
        return "blf"
    if head[:4] in PCAP_MAGICS or head.startswith(PCAPNG_MAGIC):
        return "pcap"
    if head.startswith(_MDF_MAGICS):
        return "mf4"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"(") and b"#" in text:
        return "candump"
    if text.startswith((b";$fileversion", b";##", b"; ")):
        return "trc"
    if text.startswith((b"date ", b"base hex", b"base dec")):
        return "asc"
    suffix = name.lower().removesuffix(".gz")
    return next((kind for end, kind in _SUFFIXES.items() if suffix.endswith(end)), None)


class Capture(Closing):
    """An open capture file. Use as a context manager; iterate `batches` once."""

    def __init__(
        self, path: Path, *, batch_frames: int, strict: bool, inflated_max: int
    ) -> None:
        """Open and recognise ``path``; BadInput where that fails."""
        self.path = path
        self.format = ""
        self._batch_frames = batch_frames
        self._inflated_max = inflated_max
        self._open = ExitStack()
        self._progress: Callable[[], float] | None = None
        try:
            self.size_bytes = path.stat().st_size
            self._raw = self._open.enter_context(path.open("rb"))
            self._begin(strict)
        except (WireError, BadInput, OSError, EOFError, zlib.error) as error:
            self.close()
            raise self._bad(error) from None

    def _begin(self, strict: bool) -> None:
        head = self._raw.read(HEAD_BYTES)
        self._raw.seek(0)
        stream: BinaryIO = self._raw
        if head.startswith(GZIP_MAGIC):
            opened = self._open.enter_context(gzip.GzipFile(fileobj=self._raw))
            stream = cast(BinaryIO, opened)
            head = stream.read(HEAD_BYTES)
            stream.seek(0)
        if not head:
            raise BadInput(str(self.path), "", "file is empty")
        found = detect_format(head, self.path.name)
        if found is None:
            known = ", ".join(FORMATS)
            raise BadInput(str(self.path), "", "capture format not recognised", known)
        self.format = found
        if found in ("asc", "trc"):
            self._begin_text(stream)
        elif found == "mf4":
            self._begin_mf4(stream, unfinished=head.startswith(_MDF_UNFINISHED))
        else:
            parsers: dict[str, Callable[[], CaptureParser]] = {
                "candump": lambda: CandumpParser(strict=strict),
                "blf": BlfParser,
                "pcap": PcapParser,
            }
            parser = parsers[found]()
            self.skipped, self._buses = parser.skipped, parser.buses
            self._source = read_stream(parser, self._chunks(stream))

    def _begin_text(self, stream: BinaryIO) -> None:
        # python-can takes 0.1 s to import: only where its readers are wanted.
        from agent.adapters.text_logs import TextLog  # noqa: PLC0415  # see above

        log = TextLog(stream, self.format)
        self.skipped, self._buses = log.skipped, log.buses
        self._source = log.batches()

    def _begin_mf4(self, stream: BinaryIO, *, unfinished: bool) -> None:
        if not has_asammdf():
            reason, hint = "reading MF4 needs asammdf", "pip install 'sluicegate[mf4]'"
            raise BadInput(str(self.path), "", reason, hint)
        source = stream
        if stream is not self._raw:  # asammdf seeks, and .gz cannot
            copy = tempfile.TemporaryFile()  # noqa: SIM115  # the stack closes it
            source = self._open.enter_context(copy)
            for chunk in self._chunks(stream):
                source.write(chunk)
            source.seek(0)
        log = Mf4Process(source, unfinished=unfinished)
        self._open.callback(log.close)
        self.skipped, self._buses = log.skipped, log.buses
        self._progress = lambda: log.progress
        self._source = log.batches()

    @property
    def buses(self) -> list[str]:
        """Bus names by ``FrameBatch.bus``; grows while batches are read."""
        return self._buses

    @property
    def position_bytes(self) -> int:
        """Return how far the file was read, 0..size_bytes (of the compressed file)."""
        if self._progress is not None:
            return round(self._progress() * self.size_bytes)
        return self.size_bytes if self._raw.closed else self._raw.tell()

    def batches(self) -> Iterator[FrameBatch]:
        """Yield batches of ``batch_frames`` frames (the last: fewer); then an error."""
        waiting: list[FrameBatch] = []
        count = 0
        broken: BadInput | None = None
        while broken is None:
            try:
                batch = next(self._source, None)
            except (WireError, OSError, EOFError, zlib.error) as error:
                broken = self._bad(error)
                break
            if batch is None:
                break
            waiting.append(batch)
            count += len(batch)
            if count >= self._batch_frames:
                joined = concat_frames(waiting)
                whole = count - count % self._batch_frames
                for start in range(0, whole, self._batch_frames):
                    yield joined.take(slice(start, start + self._batch_frames))
                waiting = [joined.take(slice(whole, None))]
                count -= whole
        if count:
            yield concat_frames(waiting)
        if broken is not None:
            raise broken

    def _chunks(self, stream: BinaryIO) -> Iterator[bytes]:
        return chunks_of(stream, None if stream is self._raw else self._inflated_max)

    def _bad(self, error: Exception) -> BadInput:
        return unreadable(self.path, error, _HINTS.get(self.format, ""))

    def close(self) -> None:
        """Close the file."""
        self._open.close()


def open_capture(
    path: Path,
    batch_frames: int = BATCH_FRAMES_MAX,
    *,
    strict: bool = True,
    inflated_max: int = INFLATED_BYTES_MAX,
) -> Capture:
    """Open a capture: candump, ASC, BLF, TRC, MF4, pcap or pcapng, also as ``.gz``.

    BadInput (here or while iterating) names file, place, reason and what to do. Not
    strict: malformed candump lines are counted in ``skipped`` instead.
    """
    return Capture(
        path, batch_frames=batch_frames, strict=strict, inflated_max=inflated_max
    )


def write_candump(path: Path, frames: FrameBatch, buses: Sequence[str]) -> None:
    """Write ``frames`` as a candump log; BadInput where it cannot be written."""
    try:
        path.write_bytes(encode_candump(frames, buses))
    except OSError as error:
        reason = error.strerror or "cannot be written"
        raise BadInput(str(path), "", reason) from None
    except WireError as error:
        raise BadInput(str(path), error.what, error.reason) from None
