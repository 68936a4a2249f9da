"""Vector BLF: a file header, then containers of zlib-compressed objects.

    "LOGG"  header size u32 ... start and end as SYSTEMTIME (16 bytes each, at 40, 56)
    "LOBJ" container: base header (16 bytes, type 10), method u16, inflated size u32

Objects run on from one container into the next. Bytes in, frames out; every container
is inflated into bounded memory. Channel 1 is bus ``can0`` (as python-can has it).
"""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, datetime
from typing import Final

from protocols.capture.blf_objects import ObjectReader, find_objects
from protocols.capture.columns import BusTable
from protocols.errors import WireError
from protocols.frames import FrameBatch, concat_frames, empty_frames

MAGIC: Final = b"LOGG"
HEADER_BYTES: Final = 72  # of the fields that we read; files have 144
HEADER_BYTES_MAX: Final = 4096
CONTAINER_BYTES_MAX: Final = 16 * 1024 * 1024  # writers fill 128 KiB
INFLATED_BYTES_MAX: Final = 32 * 1024 * 1024  # of one container
LOG_CONTAINER: Final = 10

_BASE = struct.Struct("<4sHHII")
_CONTAINER = struct.Struct("<H6xI4x")
_BASE_AND_CONTAINER: Final = _BASE.size + _CONTAINER.size
_SYSTEMTIME = struct.Struct("<8H")
_STORED, _DEFLATED = 0, 2


class BlfParser:
    """BLF bytes in, frames out, in any chunks; `error` tells where the file breaks.

    Frames before a broken place are returned first (WireError names the byte: of the
    file for containers, of the inflated stream for objects); the next call raises it.
    """

    def __init__(self) -> None:
        """Start before the file header."""
        self.skipped: dict[str, int] = {}
        self.error: WireError | None = None
        self._table = BusTable()
        self._reader: ObjectReader | None = None
        self._file = b""  # read and not yet parsed
        self._offset = 0  # of _file in the capture
        self._padding = 0  # bytes behind the last object that have not come yet
        self._stream = b""  # inflated and not yet parsed
        self._stream_offset = 0
        self._needed = 0  # bytes of _stream without which nothing more can be found

    @property
    def buses(self) -> list[str]:
        """Names of the buses that ``FrameBatch.bus`` indexes; grows."""
        return self._table.names

    def feed(self, data: bytes) -> FrameBatch:
        """Return the frames of the containers that ``data`` completes."""
        if self.error is not None:
            raise self.error
        self._file += data[self._padding :]
        self._padding -= min(self._padding, len(data))
        parts: list[FrameBatch] = []
        place = 0
        try:
            if self._reader is None:
                place = self._header()
            while self._reader is not None and self.error is None:
                size = self._object_size(place)
                if size == 0 or place + size > len(self._file):
                    break
                parts.append(self._object(place, size))
                place += size + size % 4
        except WireError as error:
            self.error = error
        self._padding += max(0, place - len(self._file))
        self._file = self._file[place:]
        self._offset += place
        return concat_frames([part for part in parts if len(part)])

    def finish(self) -> FrameBatch:
        """Return what a torn last container still gives; `error` says it was torn."""
        if self.error is not None:
            raise self.error
        rest, self._file = self._file, b""
        frames = empty_frames()
        if self._reader is None:
            self.error = WireError("BLF header", "file ends inside it", len(rest))
        elif rest.strip(b"\0"):
            size = int.from_bytes(rest[8:12], "little") if len(rest) >= 12 else 0
            held = f"{len(rest)} of {size} bytes" if size else f"{len(rest)} bytes"
            if len(rest) > _BASE_AND_CONTAINER:
                frames = self._torn(rest)
            self.error = WireError(
                "BLF container", f"file ends inside it, after {held}", self._offset
            )
        elif self._stream.strip(b"\0"):
            self.error = WireError(
                "BLF object", "stream ends inside it", self._stream_offset
            )
        return frames

    def _header(self) -> int:
        """Read the file header once it is there; return where containers begin."""
        if not MAGIC.startswith(self._file[:4]):
            raise WireError("BLF header", "does not begin with LOGG", 0)
        if len(self._file) < HEADER_BYTES:
            return 0
        size = int.from_bytes(self._file[4:8], "little")
        if not HEADER_BYTES <= size <= HEADER_BYTES_MAX:
            raise WireError("BLF header", f"claims {size} bytes", 4)
        if len(self._file) < size:
            return 0
        start_ns = _systemtime_ns(self._file[40:56])
        self._reader = ObjectReader(start_ns, self._table, self.skipped)
        return size

    def _object_size(self, place: int) -> int:
        """Return the size of the outer object at ``place``; 0 where cut off."""
        if len(self._file) - place < _BASE.size:
            return 0
        signature, _, _, size, kind = _BASE.unpack_from(self._file, place)
        offset = self._offset + place
        if signature != b"LOBJ":
            raise WireError("BLF container", "no LOBJ where one must begin", offset)
        least = _BASE_AND_CONTAINER if kind == LOG_CONTAINER else _BASE.size
        if not least <= size <= CONTAINER_BYTES_MAX:
            raise WireError("BLF container", f"claims {size} bytes", offset)
        return int(size)

    def _object(self, place: int, size: int) -> FrameBatch:
        """Return the frames that the whole outer object at ``place`` completes."""
        outer = memoryview(self._file)[place : place + size]
        if int.from_bytes(outer[12:16], "little") != LOG_CONTAINER:
            return self._objects(bytes(outer) + bytes(size % 4))  # not compressed
        method, _ = _CONTAINER.unpack_from(outer, _BASE.size)
        packed = outer[_BASE_AND_CONTAINER:]
        if method == _STORED:
            return self._objects(bytes(packed))
        if method != _DEFLATED:
            cause = f"container with compression method {method}"
            self.skipped[cause] = self.skipped.get(cause, 0) + 1
            return empty_frames()
        inflated, whole = self._inflate(packed, self._offset + place)
        frames = self._objects(inflated)
        if not whole and self.error is None:
            self.error = WireError(
                "BLF container", "compressed data ends early", self._offset + place
            )
        return frames

    def _inflate(self, packed: memoryview, offset: int) -> tuple[bytes, bool]:
        """Return inflated bytes and whether the compressed stream was whole."""
        inflater = zlib.decompressobj()
        try:
            data = inflater.decompress(packed, INFLATED_BYTES_MAX + 1)
        except zlib.error:
            reason = "compressed data is damaged"
            raise WireError("BLF container", reason, offset) from None
        if len(data) > INFLATED_BYTES_MAX:
            reason = f"inflates to more than {INFLATED_BYTES_MAX} bytes"
            raise WireError("BLF container", reason, offset)
        return data, inflater.eof

    def _torn(self, rest: bytes) -> FrameBatch:
        """Return the frames in the torn container ``rest`` that can still be read."""
        kind = int.from_bytes(rest[12:16], "little")
        method, _ = _CONTAINER.unpack_from(rest, _BASE.size)
        if kind != LOG_CONTAINER or method not in (_STORED, _DEFLATED):
            return empty_frames()
        packed = memoryview(rest)[_BASE_AND_CONTAINER:]
        try:
            data = bytes(packed)
            if method == _DEFLATED:
                data, _ = self._inflate(packed, self._offset)
            return self._objects(data)
        except WireError:  # the file is torn in any case: that is what is reported
            return empty_frames()

    def _objects(self, data: bytes) -> FrameBatch:
        """Return the frames of the inflated bytes that ``data`` completes."""
        assert self._reader is not None
        self._stream += data
        if len(self._stream) < self._needed:
            return empty_frames()
        found = find_objects(self._stream)
        frames, error = self._reader.read(found)
        if error is None and found.broken is not None:
            error = WireError("BLF object", found.broken[1], found.broken[0])
        if error is not None:
            at = self._stream_offset + (error.offset or 0)
            self.error = WireError(error.what, error.reason, at)
        self._stream = self._stream[found.consumed :]
        self._stream_offset += found.consumed
        self._needed = found.needed - found.consumed
        return frames


def _systemtime_ns(raw: bytes) -> int:
    """Return a SYSTEMTIME (taken as UTC) in ns since the epoch; 0 where it is none."""
    year, month, _, day, hour, minute, second, ms = _SYSTEMTIME.unpack(raw)
    try:
        start = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return 0
    seconds = int(start.timestamp())
    # 2106 is the limit: start and the largest time of an object still fit 63 bits.
    is_possible = 0 <= seconds < 2**32 and ms < 1000
    return (seconds * 1000 + ms) * 1_000_000 if is_possible else 0
