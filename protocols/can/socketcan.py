"""SocketCAN structs in bulk: ``struct can_frame`` and ``canfd_frame`` (linux/can.h).

    can_frame    16 bytes: can_id u32, len u8, pad, res, len8_dlc u8, data[8]
    canfd_frame  72 bytes: can_id u32, len u8, flags u8, res, res, data[64]
    canxl_frame  prio u32, flags u8 with bit 7 set where ``len`` stands above

``can_id`` is in the kernel's byte order on a socket and big-endian in captures of link
type 227 (LINKTYPE_CAN_SOCKETCAN). CAN XL is not taken: those frames are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from protocols.errors import WireError
from protocols.frames import (
    CAN_RTR_FLAG,
    CANFD_FDF,
    CLASSIC_BYTES_MAX,
    FD_BYTES_MAX,
    FrameBatch,
)

if TYPE_CHECKING:
    from protocols.frames import I32, I64, U8, Index

CAN_MTU: Final = 16
CANFD_MTU: Final = 72
CANXL_XLF: Final = 0x80  # bit 7 of byte 4: no classic or FD length has it
_HEADER_BYTES: Final = 8

Buffer: TypeAlias = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Frames that were taken, which rows they were, and what was not taken."""

    frames: FrameBatch
    rows: Index  # [N] index of each frame among the structs
    xl: int  # CAN XL frames
    malformed: int  # a length that the struct cannot hold


def _dtype(frame_bytes: int, *, big_endian: bool) -> np.dtype[np.void]:
    if frame_bytes not in {CAN_MTU, CANFD_MTU}:
        raise WireError("SocketCAN frame", f"is {frame_bytes} bytes, not 16 or 72")
    return np.dtype(
        [
            ("ident", ">u4" if big_endian else "=u4"),
            ("size", "u1"),
            ("flags", "u1"),
            ("reserved", "u1", (2,)),
            ("payload", "u1", (frame_bytes - _HEADER_BYTES,)),
        ]
    )


def unpack(
    data: Buffer,
    frame_bytes: int,
    time_ns: I64,
    bus: int,
    *,
    received: I32 | None = None,
    big_endian: bool = False,
) -> Unpacked:
    """Return M structs of ``frame_bytes`` (16 or 72) as a batch of at most M frames.

    ``time_ns`` int64 [M]. ``received`` int32 [M], where given, is how many bytes the
    kernel wrote into each slot: 16 makes a classic frame, 72 an FD frame, whatever else
    is no frame of ours. Without it, FD is what has the FDF flag or over 8 bytes.
    Payload behind ``size``, and that of remote frames, reads as zero. WireError where
    the bytes are no whole number of structs.
    """
    dtype = _dtype(frame_bytes, big_endian=big_endian)
    if len(data) % frame_bytes:
        whole = len(data) - len(data) % frame_bytes
        raise WireError("SocketCAN frame", "is cut off", whole)
    structs = np.frombuffer(data, dtype)
    if len(structs) != len(time_ns):
        raise WireError("SocketCAN frames", "do not match their time stamps in number")
    size = structs["size"]
    limit = np.full(len(structs), frame_bytes - _HEADER_BYTES, np.int32)
    if received is not None:
        limit[received == CAN_MTU] = CLASSIC_BYTES_MAX
    is_xl = (size & CANXL_XLF) != 0
    taken = ~is_xl & (size <= limit)
    if received is not None:
        taken &= (received == CAN_MTU) | (received == frame_bytes)
    rows = np.flatnonzero(taken)
    xl = int(is_xl.sum())
    ident = structs["ident"][rows].astype(np.uint32)
    size = size[rows]
    payload = structs["payload"][rows]
    shown = np.where(ident & np.uint32(CAN_RTR_FLAG), 0, size)
    payload[np.arange(payload.shape[1]) >= shown[:, None]] = 0
    frames = FrameBatch(
        time_ns[rows],
        np.full(len(rows), bus, np.uint8),
        ident,
        size,
        _flags(structs["flags"][rows], size, frame_bytes, received, rows),
        payload,
    )
    return Unpacked(frames, rows, xl, len(structs) - xl - len(rows))


def _flags(
    flags: U8, size: U8, frame_bytes: int, received: I32 | None, rows: Index
) -> U8:
    """Return the frame flags: byte 5 is padding in a classic frame."""
    if frame_bytes == CAN_MTU:
        return np.zeros(len(rows), np.uint8)
    if received is None:
        is_fd = (size > CLASSIC_BYTES_MAX) | ((flags & CANFD_FDF) != 0)
    else:
        is_fd = received[rows] == CANFD_MTU
    return np.where(is_fd, flags | CANFD_FDF, 0).astype(np.uint8)


def pack(frames: FrameBatch, frame_bytes: int, *, big_endian: bool = False) -> bytes:
    """Return N frames as N structs of ``frame_bytes``; the inverse of ``unpack``.

    WireError where a frame does not fit the struct (an FD frame in 16 bytes).
    """
    structs = np.zeros(len(frames), _dtype(frame_bytes, big_endian=big_endian))
    room = frame_bytes - _HEADER_BYTES
    too_long = frames.size > room
    if frame_bytes == CAN_MTU:
        too_long |= (frames.flags & CANFD_FDF) != 0
    if too_long.any():
        row = int(np.flatnonzero(too_long)[0])
        raise WireError("SocketCAN frame", "does not fit its struct", row * frame_bytes)
    width = min(frames.width, room)
    structs["ident"] = frames.ident
    structs["size"] = frames.size
    if frame_bytes == CANFD_MTU:
        structs["flags"] = frames.flags
    payload = structs["payload"]
    payload[:, :width] = frames.payload[:, :width]
    return structs.tobytes()


assert CAN_MTU == _HEADER_BYTES + CLASSIC_BYTES_MAX
assert CANFD_MTU == _HEADER_BYTES + FD_BYTES_MAX
