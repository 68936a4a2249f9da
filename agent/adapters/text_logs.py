"""ASC (Vector) and TRC (PEAK) through python-can's readers, lines kept in sight.

python-can drops lines that it does not understand and logs some with their payload.
Here its loggers are silent, such lines are counted, and an error names the line.
"""

from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING, Final, TextIO, cast

import can

from agent.adapters.messages import frames_of
from protocols.capture.columns import BusTable
from protocols.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from protocols.frames import FrameBatch

LINE_BYTES_MAX: Final = 4096  # 64 payload bytes in ASC with symbolic names: < 600
_CHUNK: Final = 1024
_NO_CONTENT: Final = (";", "//", "end trigger", "begin trigger")

# What python-can's readers raise for text that they do not expect.
READER_ERRORS: Final = (
    ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError,
    NotImplementedError, can.CanError,
)  # fmt: skip

for _name in ("can.io.asc", "can.io.trc"):  # they log lines, payload and all
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class _Lines:
    """The text file that python-can iterates; knows where it is."""

    def __init__(self, stream: BinaryIO, *, header: bool) -> None:
        self._stream = stream
        self._header = header  # still in ASC's header
        self._held = ""
        self.torn = False  # the last line has no end
        self.line = 0
        self.content = 0  # lines that are neither blank nor a comment

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._held:
            text, self._held = self._held, ""
            return text
        raw = self._stream.readline(LINE_BYTES_MAX + 1)
        if not raw:
            raise StopIteration
        self.line += 1
        if len(raw) > LINE_BYTES_MAX:
            raise WireError(f"line {self.line}", "line is too long")
        text = raw.decode("latin-1")
        bare = text.strip().lower()
        self.torn = not raw.endswith(b"\n")
        self.content += bool(bare) and not bare.startswith(_NO_CONTENT)
        if self._header and bare[:1].isdigit():
            # python-can takes the first line that is no header line for the header's
            # last, and a file without "internal events logged" loses a frame.
            self._header = False
            self._held = text
            return "no internal events logged\n"
        self._header = self._header and not bare.endswith("internal events logged")
        return text

    def rewind(self) -> None:
        """Start again at line 1."""
        self._stream.seek(0)
        self.line = self.content = 0
        self._held, self._header = "", True

    def close(self) -> None:
        """Leave the stream to the one who opened it."""


class TextLog:
    """Frames of an ASC or TRC file; channel 1 of the file is bus ``can0``."""

    def __init__(self, stream: BinaryIO, kind: str) -> None:
        """Read ``kind`` ("asc" or "trc") from ``stream``."""
        self.skipped: dict[str, int] = {}
        self._table = BusTable()
        self._lines = _Lines(stream, header=kind == "asc")
        self._kind = kind

    @property
    def buses(self) -> list[str]:
        """Names of the buses that ``FrameBatch.bus`` indexes; grows."""
        return self._table.names

    def batches(self) -> Iterator[FrameBatch]:
        """Yield frames in file order; then WireError with the line that is bad."""
        error: WireError | None = None
        first = 0
        frames = line = 0
        messages = self._messages()
        while error is None:
            chunk: list[can.Message] = []
            try:
                for message in islice(messages, _CHUNK):
                    first = first if frames + len(chunk) else self._lines.content
                    self._check(message)
                    chunk.append(message)
                    line = self._lines.line
            except WireError as broken:
                error = broken
            except READER_ERRORS:  # their text quotes the file: not repeated
                error = self._error(f"not a frame of the {self._kind.upper()} format")
            frames += len(chunk)
            if chunk:
                yield frames_of(chunk, [self._bus(message) for message in chunk])
            elif error is None:
                break
        if error is None and self._lines.torn and line < self._lines.line:
            error = self._error("file ends inside the line")
        other = self._lines.content - first - (frames - 1)
        if frames and other > (error is not None):
            self.skipped["line that is no frame"] = other - (error is not None)
        if error is not None:
            raise error
        if not frames and self._lines.content > 1:
            raise WireError(
                "file", f"no frame of the {self._kind.upper()} format in it"
            )

    def _messages(self) -> Iterator[can.Message]:
        text = cast(TextIO, self._lines)  # what python-can uses of it is there
        if self._kind == "trc":
            yield from can.TRCReader(text)
            return
        reader = can.ASCReader(text, relative_timestamp=False)
        try:
            reader._extract_header()  # noqa: SLF001  # to tell a bad date from a bad frame
        except READER_ERRORS:  # a date in another language: times from the start
            self.skipped["date that is not understood"] = 1
        self._lines.rewind()
        relative = bool(self.skipped)
        yield from can.ASCReader(text, relative_timestamp=relative)

    def _check(self, message: can.Message) -> None:
        if message.is_error_frame:
            return
        limit = 0x1FFFFFFF if message.is_extended_id else 0x7FF
        if not 0 <= message.arbitration_id <= limit:
            raise self._error("identifier is out of range")
        if not -1 <= message.timestamp < 2**33:
            raise self._error("time is out of range")
        size = message.dlc
        if not message.is_remote_frame and len(message.data) != size:
            raise self._error("payload is shorter than the frame's length")
        if size > (64 if message.is_fd else 8):
            raise self._error("length is out of range")

    def _error(self, reason: str) -> WireError:
        return WireError(f"line {self._lines.line}", reason)

    def _bus(self, message: can.Message) -> int:
        if not isinstance(message.channel, int):
            return self._table.index("can0")
        # python-can's ASC reader counts channels from 0, its TRC reader from 1.
        number = message.channel - (self._kind == "trc")
        return self._table.index(f"can{max(number, 0)}")
