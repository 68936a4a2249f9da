"""MF4 with CAN bus logging (ASAM MDF 4.1, "Bus Logging"), columns read by asammdf.

asammdf is the optional extra ``mf4``. Groups of data, error and remote frames are read
in chunks and merged by time. Bus names follow the file's own numbers: BusChannel 1 is
``can1``.
"""

from __future__ import annotations

import importlib
import logging
import struct
import sys
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from protocols.capture.columns import BusTable, masked_payload
from protocols.errors import WireError
from protocols.frames import (
    CAN_EFF_FLAG,
    CAN_EFF_MASK,
    CAN_ERR_FLAG,
    CAN_RTR_FLAG,
    CANFD_BRS,
    CANFD_ESI,
    CANFD_FDF,
    CLASSIC_BYTES_MAX,
    FD_BYTES_MAX,
    FrameBatch,
    concat_frames,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

    from protocols.frames import I64

VERSION_BYTES: Final = 16  # of the identification block: magic, version
CHUNK_RECORDS: Final = 16_384
KINDS: Final = ("CAN_DataFrame", "CAN_ErrorFrame", "CAN_RemoteFrame")
CAN_ERR_BUSERROR: Final = 0x80
# What asammdf raises for bytes that it does not expect.
READER_ERRORS: Final = (
    ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError,
    MemoryError, NameError, RuntimeError, TypeError, ValueError, struct.error,
    zlib.error,
)  # fmt: skip


def _codec_errors() -> list[type[Exception]]:
    """Return the errors of the codecs that asammdf chose; they derive from nothing."""
    named = [
        getattr(sys.modules.get(module), error, None)
        for module, error in (
            ("isal.igzip_lib", "IsalError"), ("isal.isal_zlib", "error"),
            ("zstd", "Error"),
        )
    ]  # fmt: skip
    return [error for error in named if error is not None]


def _open_mdf(source: BinaryIO) -> tuple[Any, tuple[type[Exception], ...]]:
    """Return asammdf's MDF of ``source`` and the errors that it may raise."""
    utils = importlib.import_module("asammdf.blocks.utils")
    logging.getLogger("asammdf").setLevel(logging.CRITICAL)  # it logs file contents
    errors = (*READER_ERRORS, utils.MdfException, *_codec_errors())
    try:
        # Its decoding with databases inside the file is not wanted.
        mdf = importlib.import_module("asammdf").MDF(source, process_bus_logging=False)
    except errors:
        raise WireError("MF4 file", "not readable as MDF 4") from None
    return mdf, errors


class Mf4Log:
    """Frames of an MF4 file, in order of time.

    Used in a process of its own (`mf4_process`): asammdf's native code can crash on a
    damaged file, and it prints tracebacks.
    """

    def __init__(self, source: BinaryIO) -> None:
        """Open ``source``; WireError where it is no readable MDF 4 file."""
        self.skipped: dict[str, int] = {}
        self._table = BusTable()
        self._read = self._total = 0
        version = source.read(VERSION_BYTES)[8:].strip()
        source.seek(0)
        if not version.startswith(b"4"):
            raise WireError("MF4 file", "not of MDF version 4", 8)
        self._mdf, self._errors = _open_mdf(source)
        try:
            start = self._mdf.header.start_time.timestamp()
            self._start_ns = round(start * 1e6) * 1000
            self._groups = list(self._frame_groups())
        except self._errors:
            raise WireError("MF4 file", "not readable as MDF 4") from None

    @property
    def buses(self) -> list[str]:
        """Names of the buses that ``FrameBatch.bus`` indexes; grows."""
        return self._table.names

    @property
    def progress(self) -> float:
        """Return the part of all records that was read, 0..1."""
        return self._read / self._total if self._total else 1.0

    def close(self) -> None:
        """Close the file and asammdf's temporary one."""
        self._mdf.close()

    def batches(self) -> Iterator[FrameBatch]:
        """Yield frames in order of time; WireError for what asammdf cannot read."""
        if not self._groups:
            raise WireError("MF4 file", "no CAN bus logging in it (CAN_DataFrame)")
        readers = [self._chunks(*group) for group in self._groups]
        waiting = [next(reader, None) for reader in readers]
        while any(chunk is not None for chunk in waiting):
            here = [chunk for chunk in waiting if chunk is not None]
            # Up to the earliest end every group has shown all its frames.
            horizon = min(int(chunk.time_ns[-1]) for chunk in here)
            parts: list[FrameBatch] = []
            for index, chunk in enumerate(waiting):
                if chunk is None:
                    continue
                count = int(np.searchsorted(chunk.time_ns, horizon, "right"))
                parts.append(chunk.take(slice(0, count)))
                left = chunk.take(slice(count, None))
                waiting[index] = left if len(left) else next(readers[index], None)
            joined = concat_frames(parts)
            order = np.argsort(joined.time_ns, kind="stable")
            yield joined if len(parts) == 1 else joined.take(order)

    def _frame_groups(self) -> Iterator[tuple[int, str, int]]:
        """Find (group, kind, records) of CAN frames; count records of other buses."""
        for index, group in enumerate(self._mdf.groups):
            records = int(group.channel_group.cycles_nr)
            if not records:
                continue
            names = {str(channel.name) for channel in group.channels}
            kind = next((kind for kind in KINDS if kind in names), None)
            if kind is None:
                cause = "record of no CAN frame group"
                self.skipped[cause] = self.skipped.get(cause, 0) + records
                continue
            self._total += records
            yield index, kind, records

    def _chunks(self, group: int, kind: str, records: int) -> Iterator[FrameBatch]:
        for offset in range(0, records, CHUNK_RECORDS):
            place = f"group {group}, record {offset}"
            count = min(CHUNK_RECORDS, records - offset)
            try:
                signal = self._mdf.get(
                    kind, group, record_offset=offset, record_count=count
                )
                if len(signal.samples) != count:
                    raise WireError(place, "file ends inside the records")
                frames = self._frames(kind, signal.samples, signal.timestamps)
            except self._errors as error:
                if isinstance(error, WireError):
                    raise
                raise WireError(place, "records are damaged") from None
            self._read += count
            yield frames

    def _frames(
        self, kind: str, samples: NDArray[np.void], seconds: NDArray[np.float64]
    ) -> FrameBatch:
        rows = len(samples)
        names = samples.dtype.names or ()

        def column(name: str, default: int = 0) -> I64:
            full = f"{kind}.{name}"
            if full not in names:
                return np.full(rows, default, np.int64)
            return samples[full].astype(np.int64)

        if not np.isfinite(seconds).all() or (np.abs(seconds) > 2**32).any():
            raise WireError(kind, "times are out of range")
        time_ns = self._start_ns + np.rint(seconds * 1e9).astype(np.int64)
        if (np.diff(time_ns) < 0).any():
            time_ns = np.maximum.accumulate(time_ns)  # the merge needs rising times
        channel = column("BusChannel")
        bus = self._table.of_channels(channel, first=0)
        raw = column("ID")
        ident = raw & CAN_EFF_MASK
        extended = column("IDE", default=-1)
        extended = np.where(extended < 0, (raw >> 31) & 1 | (ident > 0x7FF), extended)
        ident |= np.where(extended != 0, CAN_EFF_FLAG, 0)
        fd = column("EDL") != 0
        size = np.clip(column("DataLength"), 0, np.where(fd, 64, 8))
        flags = np.where(
            fd,
            CANFD_FDF
            | np.where(column("BRS") != 0, CANFD_BRS, 0)
            | np.where(column("ESI") != 0, CANFD_ESI, 0),
            0,
        )
        if kind == "CAN_RemoteFrame":
            ident |= CAN_RTR_FLAG
            size = np.clip(column("DLC"), 0, CLASSIC_BYTES_MAX)
        elif kind == "CAN_ErrorFrame":
            ident = np.full(rows, CAN_ERR_FLAG | CAN_ERR_BUSERROR, np.int64)
            size, flags = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        width = FD_BYTES_MAX if (size > CLASSIC_BYTES_MAX).any() else CLASSIC_BYTES_MAX
        payload = np.zeros((rows, width), np.uint8)
        if kind == "CAN_DataFrame":
            data = samples[f"{kind}.DataBytes"].reshape(rows, -1)[:, :width]
            payload[:, : data.shape[1]] = data
            masked_payload(payload, size.astype(np.uint8))
        return FrameBatch(
            time_ns, bus, ident.astype(np.uint32), size.astype(np.uint8),
            flags.astype(np.uint8), payload,
        )  # fmt: skip
