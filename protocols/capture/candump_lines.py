"""Candump text to lines and the places of their separators, all lines at once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from protocols.frames import U8, Bool, Index

LINE_BYTES_MAX: Final = 512  # the longest legal line (FD, 64-byte name) has 226
SECOND_DIGITS: Final = 10
FRACTION_DIGITS: Final = 9

LEAD: Final = 16  # windows that end at a separator may begin before the text
TAIL: Final = 160  # windows that begin at the last separator may end behind it


class Fault(IntEnum):
    """Why a line is not a frame; 0 where it is one."""

    NONE = 0
    FIELDS = 1
    HASH = 2
    BEHIND = 3
    TIME = 4
    ID_DIGITS = 5
    ID_RANGE = 6
    NAME = 7
    HEX = 8
    LONG = 9
    REMOTE = 10
    FD_FLAGS = 11
    LINE = 12
    BUSES = 13


REASONS: Final = (
    "",
    "not `(time) bus frame`",
    "no `#` in the frame (not candump's log format?)",
    "text behind the frame is neither R nor T",
    "time is not `(seconds.fraction)`",
    "identifier has neither 3 nor 8 hexadecimal digits",
    "identifier is out of range",
    "bus name is empty, too long or not printable ASCII",
    "payload is not whole hexadecimal bytes",
    "payload is longer than the frame type allows",
    "remote frame with a malformed length",
    "CAN FD flags are not one hexadecimal digit",
    "line is too long",
    "more buses than a batch can index",
)
# Translates text to the value of each hexadecimal digit; 0xFF where it is none.
_NIBBLE: Final = bytes(
    int(chr(c), 16) if chr(c) in "0123456789abcdefABCDEF" else 0xFF for c in range(256)
)


@dataclass(slots=True)
class Lines:
    """Places of the separators of N lines, as indexes into ``chars``."""

    chars: U8
    nibbles: U8
    number: Index  # 0-based line number within the text
    start: Index
    bus: Index  # the space before the bus name
    frame: Index  # the space before the frame
    hash: Index
    dot: Index
    end: Index  # end of the frame, without direction
    fault: U8  # 0 or an index into REASONS


def _next(places: Index, after: Index, offset: int = 0) -> Index:
    """Return for each of ``after`` the first place at or behind it (and ``offset``)."""
    return places[np.searchsorted(places, after) + offset]


def _places(chars: U8, byte: int) -> Index:
    """Return where ``byte`` stands, and three ends so that a search never falls off."""
    found = np.flatnonzero(chars == byte)
    return np.concatenate([found, np.full(3, len(chars), found.dtype)])


def _ends(chars: U8) -> tuple[Index, Index, Index, Bool, int]:
    """Return number, start, end and too-long of lines that are not blank; and all."""
    end = np.flatnonzero(chars == ord("\n"))
    count = len(end)
    start = np.empty_like(end)
    start[:1] = LEAD
    start[1:] = end[:-1] + 1
    number = np.arange(count)
    too_long = end - start > LINE_BYTES_MAX
    while (last := chars[end - 1]).min() <= ord(" "):
        # As often as the longest trail of blanks: once for CRLF.
        blank = ((last == ord("\r")) | (last == ord(" "))) & ~too_long & (end > start)
        if not blank.any():
            break
        end = end - blank
    keep = end > start
    if not keep.all():
        number, start, end = number[keep], start[keep], end[keep]
        too_long = too_long[keep]
    return number, start, end, too_long, count


def _regular(
    chars: U8, start: Index, end: Index
) -> tuple[Index, Index, Index, Index] | None:
    """Return places of bus, frame, `#` and `.` where every line has exactly these.

    The usual file: classic frames, no direction. The order of the separators of every
    line is checked, so this gives what the search would give, without the search.
    """
    spaces = np.flatnonzero(chars == ord(" "))
    hashes = np.flatnonzero(chars == ord("#"))
    dots = np.flatnonzero(chars == ord("."))
    lines = len(start)
    if len(spaces) != 2 * lines or len(hashes) != lines or len(dots) != lines:
        return None
    bus, frame = spaces[0::2], spaces[1::2]
    order = (start < dots) & (dots < bus) & (frame < hashes) & (hashes < end)
    return (bus, frame, hashes, dots) if order.all() else None


def split_lines(padded: bytes) -> tuple[Lines, int]:
    """Find lines and their separators; blank lines fall out. Also return all lines."""
    chars = np.frombuffer(padded, np.uint8)
    nibbles = np.frombuffer(padded.translate(_NIBBLE), np.uint8)
    number, start, end, too_long, count = _ends(chars)
    fault = np.zeros(len(start), np.uint8)
    fault[too_long] = Fault.LINE
    good_start = chars[start] == ord("(")
    if not too_long.any() and (found := _regular(chars, start, end)) is not None:
        bus, frame, hash_, dot = found
        fault[~good_start] = Fault.TIME
        return Lines(
            chars, nibbles, number, start, bus, frame, hash_, dot, end, fault
        ), count
    spaces, hashes = _places(chars, ord(" ")), _places(chars, ord("#"))
    bus, frame = _next(spaces, start), _next(spaces, start, 1)
    behind = _next(spaces, start, 2)
    stop = np.minimum(behind, end)
    hash_ = _next(hashes, frame)
    dot = _next(_places(chars, ord(".")), start)
    fault[(hash_ >= stop) & (fault == 0)] = Fault.HASH
    fault[(frame >= end) & ~too_long] = Fault.FIELDS
    aside = np.flatnonzero((behind < end) & (fault == 0))
    mark = chars[end[aside] - 1] & 0xDF
    good = ((mark == ord("R")) | (mark == ord("T"))) & (end[aside] == behind[aside] + 2)
    fault[aside[~good]] = Fault.BEHIND
    fault[(fault == 0) & ~(good_start & (dot < bus))] = Fault.TIME
    broken = fault != 0
    if broken.any():  # any place will do for lines that are not read
        for place in (bus, frame, hash_, dot, stop):
            place[broken] = LEAD
    return Lines(
        chars, nibbles, number, start, bus, frame, hash_, dot, stop, fault
    ), count
