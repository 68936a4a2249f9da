"""python-can's Message objects to columns, a chunk at a time.

The one place where frames come as objects: python-can gives nothing else. Each column
is built by one comprehension over the chunk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from protocols.frames import (
    CAN_EFF_FLAG,
    CAN_ERR_FLAG,
    CAN_RTR_FLAG,
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


def frames_of(messages: Sequence[can.Message], buses: Sequence[int]) -> FrameBatch:
    """Return ``messages`` as columns [N]; ``buses`` is the bus index of each.

    time_ns is rounded to us: python-can keeps seconds since the epoch as a float. An
    error frame becomes ``CAN_ERR_FLAG | CAN_ERR_BUSERROR`` with size 0.
    """
    if not messages:
        return empty_frames()
    seconds = np.array([m.timestamp for m in messages], np.float64)
    flagged = [
        m.arbitration_id
        | (m.is_extended_id and CAN_EFF_FLAG)
        | (m.is_remote_frame and CAN_RTR_FLAG)
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
        m.is_fd
        and CANFD_FDF
        | (m.bitrate_switch and CANFD_BRS)
        | (m.error_state_indicator and CANFD_ESI)
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
