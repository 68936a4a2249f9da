"""The fields of candump lines, each gathered over all lines at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.capture.candump_lines import (
    FRACTION_DIGITS,
    SECOND_DIGITS,
    Fault,
    Lines,
)
from protocols.capture.columns import (
    BUSES_MAX,
    NAME_BYTES_MAX,
    NS,
    SECONDS_MAX,
    BusTable,
    windows,
)
from protocols.frames import (
    CAN_EFF_FLAG,
    CAN_EFF_MASK,
    CAN_ERR_FLAG,
    CAN_RTR_FLAG,
    CAN_SFF_MASK,
    CANFD_FDF,
    CLASSIC_BYTES_MAX,
    FD_BYTES_MAX,
    FrameBatch,
    empty_frames,
)

if TYPE_CHECKING:
    from protocols.frames import F64, I64, U8, U32, Bool, Index

_WEIGHTS: Final[F64] = np.array([10.0**n for n in range(SECOND_DIGITS - 1, -1, -1)])


def _flag(lines: Lines, bad: Bool, reason: int) -> None:
    if bad.any():
        lines.fault[bad & (lines.fault == 0)] = reason


def read_fields(lines: Lines, table: BusTable) -> FrameBatch:
    """Gather every field of every line; rows with a fault hold no meaning."""
    if not len(lines.start):
        return empty_frames()
    time_ns = _times(lines)
    ident = _identifiers(lines)
    size, flags, remote, payload = _payloads(lines)
    ident[remote] |= np.uint32(CAN_RTR_FLAG)
    bus = _buses(lines, table)
    return FrameBatch(time_ns, bus, ident, size, flags, payload)


def _digits(lines: Lines, at: Index, width: int, used: Bool | None) -> tuple[I64, Bool]:
    """Return the number in ``width`` digits at ``at`` [N], and where it is none.

    Exact: 10 digits stay below 2**53, so the weighted sum in f64 does not round.
    """
    digits = windows(lines.nibbles, at, width)
    if used is not None:
        digits *= used
    worse = digits.max(initial=0) > 9
    bad = digits.max(axis=1) > 9 if worse else np.zeros(len(at), np.bool_)
    weights = _WEIGHTS[_WEIGHTS.size - width :]
    return (digits @ weights).astype(np.int64), bad


def _times(lines: Lines) -> I64:
    whole = lines.dot - lines.start - 1
    fraction = lines.bus - lines.dot - 2
    bad = (whole < 1) | (whole > SECOND_DIGITS)
    bad |= (fraction < 1) | (fraction > FRACTION_DIGITS)
    bad |= lines.chars[lines.bus - 1] != ord(")")
    width = int(np.clip(whole.max(), 1, SECOND_DIGITS))
    used = None
    if whole.min() != width:
        used = np.arange(width) >= (width - whole)[:, None]
    second, worse = _digits(lines, lines.dot - width, width, used)
    bad |= worse | (second > SECONDS_MAX)
    width = int(np.clip(fraction.max(), 1, FRACTION_DIGITS))
    used = None if fraction.min() == width else np.arange(width) < fraction[:, None]
    part, worse = _digits(lines, lines.dot + 1, width, used)
    bad |= worse
    if bad.any():
        _flag(lines, bad, Fault.TIME)
        second[bad] = part[bad] = 0
    time_ns: I64 = second * NS + part * 10 ** (FRACTION_DIGITS - width)
    return time_ns


def _packed(nibbles: U8) -> U8:
    """Join nibbles [N, 2 * width] to bytes [N, width]."""
    high = np.left_shift(nibbles[:, 0::2], np.uint8(4))
    return np.bitwise_or(high, nibbles[:, 1::2])


def _identifiers(lines: Lines) -> U32:
    digits = lines.hash - lines.frame - 1
    extended = digits == 8
    _flag(lines, ~extended & (digits != 3), Fault.ID_DIGITS)
    nibbles = windows(lines.nibbles, lines.hash - 8, 8)
    nibbles[~extended, :5] = 0
    if nibbles.max() > 15:
        _flag(lines, nibbles.max(axis=1) > 15, Fault.ID_DIGITS)
    ident: U32 = _packed(nibbles).view(">u4")[:, 0].astype(np.uint32)
    error = extended & ((ident & CAN_ERR_FLAG) != 0)
    top = np.where(error, CAN_ERR_FLAG | CAN_EFF_MASK, CAN_EFF_MASK)
    _flag(lines, ident > np.where(extended, top, CAN_SFF_MASK), Fault.ID_RANGE)
    ident[extended & ~error] |= np.uint32(CAN_EFF_FLAG)
    return ident


def _payloads(lines: Lines) -> tuple[U8, U8, Bool, U8]:
    """Return size [N], flags [N], remote [N] and payload [N, 8 or 64]."""
    chars, nibbles = lines.chars, lines.nibbles
    kind = chars[lines.hash + 1]
    fd = kind == ord("#")
    remote = ((kind == ord("R")) | (kind == ord("r"))) & (lines.hash + 1 < lines.end)
    at = lines.hash + 1 + 2 * fd
    raw_dlc = (chars[lines.end - 2] == ord("_")) & (lines.end > at + 2) & ~fd
    length = lines.end - at - 2 * raw_dlc
    if raw_dlc.any():  # Classical CAN with a DLC of 9..15: 8 bytes on the bus
        dlc = nibbles[lines.end - 1]
        _flag(lines, raw_dlc & ((dlc < 9) | (dlc > 15)), Fault.HEX)
        whole = np.where(remote, nibbles[at + 1] == 8, length == 16)
        _flag(lines, raw_dlc & ~whole, Fault.HEX)
    flags = np.zeros(len(at), np.uint8)
    if fd.any():
        _flag(
            lines, fd & ((nibbles[lines.hash + 2] > 15) | (length < 0)), Fault.FD_FLAGS
        )
        flags[fd] = (nibbles[lines.hash + 2][fd] & 0x3) | CANFD_FDF
    limit = np.where(fd, FD_BYTES_MAX, CLASSIC_BYTES_MAX)
    _flag(lines, ~remote & (length > 2 * limit), Fault.LONG)
    _flag(lines, ~remote & ((length & 1) != 0), Fault.HEX)
    asked = np.where(length == 1, 0, nibbles[at + 1])
    _flag(lines, remote & ((length > 2) | (asked > CLASSIC_BYTES_MAX)), Fault.REMOTE)
    size = np.where(remote, asked, np.clip(length, 0, 128) >> 1).astype(np.uint8)
    used = np.where(remote, 0, np.clip(length, 0, 128)).astype(np.uint8)
    payload = _hex_bytes(lines, at, used, np.arange(len(at)), CLASSIC_BYTES_MAX)
    wide = np.flatnonzero((used > 2 * CLASSIC_BYTES_MAX) & (lines.fault == 0))
    if len(wide):
        full = np.zeros((len(at), FD_BYTES_MAX), np.uint8)
        full[:, :CLASSIC_BYTES_MAX] = payload
        full[wide] = _hex_bytes(lines, at, used, wide, FD_BYTES_MAX)
        payload = full
    return size, flags, remote, payload


def _hex_bytes(lines: Lines, at: Index, used: U8, rows: Index, width: int) -> U8:
    """Return the payload bytes [len(rows), width] of ``rows``; flag what is not hex."""
    nibbles = windows(lines.nibbles, at[rows], 2 * width)
    nibbles *= np.arange(2 * width, dtype=np.uint8) < used[rows, None]
    if nibbles.max() > 15:
        bad = np.zeros(len(at), np.bool_)
        bad[rows] = nibbles.max(axis=1) > 15
        _flag(lines, bad, Fault.HEX)
    return _packed(nibbles)


def _buses(lines: Lines, table: BusTable) -> U8:
    """Return the bus index of each line; new names enter in order of occurrence."""
    at = lines.bus + 1
    length = lines.frame - at
    _flag(lines, (length < 1) | (length > NAME_BYTES_MAX), Fault.NAME)
    longest = int(length[lines.fault == 0].max(initial=1))
    width = min(-(-longest // 8) * 8, NAME_BYTES_MAX)
    names = windows(lines.chars, at, width)
    names *= np.arange(width) < length[:, None]
    keys = names.view(np.uint64)
    bus = np.zeros(len(at), np.uint8)
    open_rows = np.flatnonzero(lines.fault == 0)
    while len(open_rows):  # once per distinct bus name, not per line
        row = open_rows[0]
        same = (keys[open_rows] == keys[row]).all(axis=1)
        name = names[row, : length[row]]
        text = name.tobytes().decode("latin-1")
        if ((name <= 0x20) | (name >= 0x7F)).any():
            lines.fault[open_rows[same]] = Fault.NAME
        elif len(table.names) == BUSES_MAX and text not in table.names:
            lines.fault[open_rows[same]] = Fault.BUSES
        else:
            bus[open_rows[same]] = table.index(text)
        open_rows = open_rows[~same]
    return bus
