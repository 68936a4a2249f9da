"""CAN frames as columns: rows of arrays, never objects.

``ident`` keeps the SocketCAN flag bits (``linux/can.h``): bit 31 extended id, bit 30
remote frame, bit 29 error frame. ``flags`` keeps the ``canfd_frame`` flag byte: BRS 1,
ESI 2, FDF 4. A remote frame carries no payload: its size is the length it asks for
(ISO 11898-1), so its payload row is all zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

I64: TypeAlias = NDArray[np.int64]
I32: TypeAlias = NDArray[np.int32]
I16: TypeAlias = NDArray[np.int16]
U64: TypeAlias = NDArray[np.uint64]
U32: TypeAlias = NDArray[np.uint32]
U16: TypeAlias = NDArray[np.uint16]
U8: TypeAlias = NDArray[np.uint8]
F64: TypeAlias = NDArray[np.float64]
Bool: TypeAlias = NDArray[np.bool_]
Index: TypeAlias = NDArray[np.intp]

CAN_EFF_FLAG: Final = 0x80000000
CAN_RTR_FLAG: Final = 0x40000000
CAN_ERR_FLAG: Final = 0x20000000
CAN_SFF_MASK: Final = 0x7FF
CAN_EFF_MASK: Final = 0x1FFFFFFF
CANFD_BRS: Final = 0x01
CANFD_ESI: Final = 0x02
CANFD_FDF: Final = 0x04

CLASSIC_BYTES_MAX: Final = 8
FD_BYTES_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """N frames as columns; one payload width (8 classic, 64 FD) for the whole batch."""

    time_ns: I64  # [N] ns since the epoch (or capture start where the file has no date)
    bus: U8  # [N] index into the caller's bus table
    ident: U32  # [N] identifier with SocketCAN flag bits kept
    size: U8  # [N] payload length in bytes, 0..8 or 0..64
    flags: U8  # [N] canfd_frame flags
    payload: U8  # [N, 8 or 64] bytes, zero behind ``size``

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.time_ns)

    @property
    def width(self) -> int:
        """Return the payload width in bytes: 8 or 64."""
        return int(self.payload.shape[1])

    def take(self, rows: Index | Bool | slice) -> FrameBatch:
        """Return the frames that ``rows`` selects (a view for a slice)."""
        return FrameBatch(
            self.time_ns[rows],
            self.bus[rows],
            self.ident[rows],
            self.size[rows],
            self.flags[rows],
            self.payload[rows],
        )

    def widened(self) -> FrameBatch:
        """Return the same frames at FD width (64 bytes); self where already wide."""
        if self.width == FD_BYTES_MAX:
            return self
        payload = np.zeros((len(self), FD_BYTES_MAX), np.uint8)
        payload[:, :CLASSIC_BYTES_MAX] = self.payload
        return FrameBatch(
            self.time_ns, self.bus, self.ident, self.size, self.flags, payload
        )


def empty_frames(width: int = CLASSIC_BYTES_MAX) -> FrameBatch:
    """Return a batch of no frames."""
    return FrameBatch(
        np.empty(0, np.int64),
        np.empty(0, np.uint8),
        np.empty(0, np.uint32),
        np.empty(0, np.uint8),
        np.empty(0, np.uint8),
        np.empty((0, width), np.uint8),
    )


def concat_frames(batches: Sequence[FrameBatch]) -> FrameBatch:
    """Join batches in order; FD width as soon as one of them has it."""
    if not batches:
        return empty_frames()
    if len(batches) == 1:
        return batches[0]
    if len({batch.width for batch in batches}) > 1:
        batches = [batch.widened() for batch in batches]
    return FrameBatch(
        np.concatenate([b.time_ns for b in batches]),
        np.concatenate([b.bus for b in batches]),
        np.concatenate([b.ident for b in batches]),
        np.concatenate([b.size for b in batches]),
        np.concatenate([b.flags for b in batches]),
        np.concatenate([b.payload for b in batches]),
    )
