"""SocketCAN error frames in columns: what a controller says of itself and the bus.

Source: linux/can/error.h. ``can_id`` carries CAN_ERR_FLAG and the classes; data[1] the
controller's state, data[6] and data[7] its error counters.
"""

from __future__ import annotations

from enum import IntFlag
from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.frames import CAN_ERR_FLAG

if TYPE_CHECKING:
    from protocols.frames import Bool, FrameBatch


class ErrorClass(IntFlag):
    """Error classes in ``can_id``."""

    TX_TIMEOUT = 0x001
    LOST_ARBITRATION = 0x002
    CONTROLLER = 0x004  # details in data[1]
    PROTOCOL = 0x008
    TRANSCEIVER = 0x010
    NO_ACK = 0x020
    BUS_OFF = 0x040
    BUS_ERROR = 0x080
    RESTARTED = 0x100
    COUNTERS = 0x200


class Controller(IntFlag):
    """Problems of the controller in data[1]."""

    RX_OVERFLOW = 0x01
    TX_OVERFLOW = 0x02
    RX_WARNING = 0x04
    TX_WARNING = 0x08
    RX_PASSIVE = 0x10
    TX_PASSIVE = 0x20
    ACTIVE = 0x40  # recovered


PASSIVE: Final = Controller.RX_PASSIVE | Controller.TX_PASSIVE


def is_error(frames: FrameBatch) -> Bool:
    """Tell per row whether it is an error frame."""
    errors: Bool = (frames.ident & np.uint32(CAN_ERR_FLAG)) != 0
    return errors


def of_class(frames: FrameBatch, which: ErrorClass) -> Bool:
    """Tell per row whether it is an error frame of these classes."""
    found: Bool = is_error(frames) & ((frames.ident & np.uint32(which)) != 0)
    return found


def of_controller(frames: FrameBatch, problem: Controller) -> Bool:
    """Tell per row whether it is an error frame that tells one of these problems."""
    told: Bool = of_class(frames, ErrorClass.CONTROLLER) & (frames.size > 1)
    told &= (frames.payload[:, 1] & np.uint8(problem)) != 0
    return told
