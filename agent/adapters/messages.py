"""python-can's Message objects to columns, a chunk at a time.

The one place where frames come as objects: python-can gives nothing else. Each column
is built by one comprehension over the chunk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from protocols.frames import (
    CAN_EFF_FLAG,
    CAN_EFF_MASK,
    CAN_ERR_FLAG,
    CAN_RTR_FLAG,
    CAN_SFF_MASK,
    CANFD_BRS,
    CANFD_ESI,
    CANFD_FDF,
    CLASSIC_BYTES_MAX,
    FD_BYTES_MAX,
    FrameBatch,
    empty_frames,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import can

CAN_ERR_BUSERROR = 0x80  # linux/can/error.h; python-can does not tell the class
SECONDS_MAX = 9_000_000_000  # the year 2255; int64 nanoseconds end in 2262


def is_frame(message: can.Message) -> bool:
    """Tell whether a message has the types and ranges that a frame has.

    Drivers that take messages from a network (udp_multicast, socketcand) hand over
    what the sender wrote: an identifier of 1.5 is one datagram away.
    """
    told: tuple[object, object] = (message.arbitration_id, message.dlc)
    if not all(type(one) is int for one in told):
        return False
    if not _is_number(message.timestamp):
        return False
    ident, size = message.arbitration_id, message.dlc
    room = FD_BYTES_MAX if message.is_fd else CLASSIC_BYTES_MAX
    return (
        0 <= ident <= (CAN_EFF_MASK if message.is_extended_id else CAN_SFF_MASK)
        and size >= 0
        and len(message.data) <= room
        and 0 <= message.timestamp < SECONDS_MAX  # false for NaN too
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def frames_of(messages: Sequence[can.Message], buses: Sequence[int]) -> FrameBatch:
    """Return ``messages`` as columns [N]; ``buses`` is the bus index of each.

    Each message ``is_frame``.

    time_ns is rounded to us: python-can keeps seconds since the epoch as a float. An
    error frame becomes ``CAN_ERR_FLAG | CAN_ERR_BUSERROR`` with size 0.
    """
    if not messages:
        return empty_frames()
    seconds = np.array([m.timestamp for m in messages], np.float64)
    flagged = [
        m.arbitration_id
        | (CAN_EFF_FLAG if m.is_extended_id else 0)
        | (CAN_RTR_FLAG if m.is_remote_frame else 0)
        if not m.is_error_frame
        else CAN_ERR_FLAG | CAN_ERR_BUSERROR
        for m in messages
    ]
    size = [
        0
        if m.is_error_frame
        else min(m.dlc, CLASSIC_BYTES_MAX)
        if m.is_remote_frame
        else len(m.data)
        for m in messages
    ]
    flags = [
        CANFD_FDF
        | (CANFD_BRS if m.bitrate_switch else 0)
        | (CANFD_ESI if m.error_state_indicator else 0)
        if m.is_fd
        else 0
        for m in messages
    ]
    width = CLASSIC_BYTES_MAX if max(size) <= CLASSIC_BYTES_MAX else FD_BYTES_MAX
    raw = b"".join(
        bytes(width)
        if m.is_error_frame or m.is_remote_frame
        else bytes(m.data).ljust(width, b"\0")
        for m in messages
    )
    return FrameBatch(
        np.rint(seconds * 1e6).astype(np.int64) * 1000,
        np.array(buses, np.uint8),
        np.array(flagged, np.uint32),
        np.array(size, np.uint8),
        np.array(flags, np.uint8),
        np.frombuffer(raw, np.uint8).reshape(len(messages), width),
    )
