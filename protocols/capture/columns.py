"""What every capture parser shares: gathers over bytes, bus tables, the stream driver.

A parser is fed bytes and gives columns. Fields of N records are gathered at once with
`windows`: one copy of ``width`` bytes per record, no Python loop over records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from protocols.errors import WireError
from protocols.frames import FrameBatch, empty_frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from protocols.frames import I64, U8, Index

BUSES_MAX: Final = 256  # FrameBatch.bus is a u8
NAME_BYTES_MAX: Final = 64  # IFNAMSIZ is 16; other tools write longer names

# Payload bytes of each CAN FD DLC (ISO 11898-1, table 5).
DLC_BYTES: Final[U8] = np.array(
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64], np.uint8
)
NS: Final = 1_000_000_000
SECONDS_MAX: Final = (2**63 - 1) // NS - 1


class CaptureParser(Protocol):
    """Bytes of a capture in, frames out; the same frames however the bytes are cut."""

    skipped: dict[str, int]
    error: WireError | None

    @property
    def buses(self) -> list[str]:
        """Names of the buses that ``FrameBatch.bus`` indexes; grows."""

    def feed(self, data: bytes) -> FrameBatch:
        """Return the frames that ``data`` completes."""

    def finish(self) -> FrameBatch:
        """Return what the end of the capture completes."""


def read_stream(parser: CaptureParser, chunks: Iterable[bytes]) -> Iterator[FrameBatch]:
    """Yield non-empty batches in file order, then raise WireError where one is due.

    Frames before a broken place are delivered first: a torn capture is the common end
    of a recording that lost its power.
    """
    for chunk in chunks:
        batch = parser.feed(chunk)
        if len(batch):
            yield batch
        if parser.error is not None:
            raise parser.error
    batch = parser.finish()
    if len(batch):
        yield batch
    if parser.error is not None:
        raise parser.error


def windows(source: U8, at: Index | I64, width: int) -> U8:
    """Return u8 [N, width]: ``width`` bytes of ``source`` from each place of ``at``.

    ``source`` is contiguous and holds ``at.max() + width`` bytes. One memory copy per
    row (a view of overlapping records), an order of magnitude over a 2-D index.
    """
    if not len(at):
        return np.empty((0, width), np.uint8)
    rows = len(source) - width + 1
    view = np.ndarray((rows,), f"V{width}", source.data, strides=(1,))
    return view[at].view(np.uint8).reshape(len(at), width)


def masked_payload(raw: U8, size: U8) -> U8:
    """Zero the bytes of ``raw`` [N, width] behind ``size`` [N], in place; return it."""
    raw *= np.arange(raw.shape[1], dtype=np.uint8) < size[:, None]
    return raw


class BusTable:
    """Bus names by index, growing as names occur; refuses the 257th."""

    def __init__(self) -> None:
        """Start empty."""
        self.names: list[str] = []
        self._of: dict[str, int] = {}

    def index(self, name: str) -> int:
        """Return the index of ``name``, new where needed; WireError when full."""
        found = self._of.get(name)
        if found is None:
            if len(self.names) >= BUSES_MAX:
                raise WireError("capture", f"more than {BUSES_MAX} buses")
            found = self._of[name] = len(self.names)
            self.names.append(name)
        return found

    def of_channels(self, channels: I64, first: int) -> U8:
        """Return bus u8 [N] of channel numbers [N]; channel ``first`` is ``can0``.

        Buses enter the table in the order in which they first occur.
        """
        distinct, where = np.unique(channels, return_index=True)
        bus = np.zeros(len(channels), np.uint8)
        for channel in distinct[np.argsort(where)].tolist():  # buses, not frames
            number = channel - first
            name = f"can{number}" if number >= 0 else f"channel{channel}"
            bus[channels == channel] = self.index(name)
        return bus


def join_by_order(parts: list[tuple[Index, FrameBatch]]) -> FrameBatch:
    """Merge batches whose rows carry a rising order number, back into that order."""
    parts = [part for part in parts if len(part[1])]
    if not parts:
        return empty_frames()
    if len(parts) == 1:
        return parts[0][1]
    width = max(batch.width for _, batch in parts)
    wide = [b if b.width == width else b.widened() for _, b in parts]
    order = np.argsort(np.concatenate([place for place, _ in parts]), kind="stable")
    return FrameBatch(
        np.concatenate([b.time_ns for b in wide])[order],
        np.concatenate([b.bus for b in wide])[order],
        np.concatenate([b.ident for b in wide])[order],
        np.concatenate([b.size for b in wide])[order],
        np.concatenate([b.flags for b in wide])[order],
        np.concatenate([b.payload for b in wide])[order],
    )
