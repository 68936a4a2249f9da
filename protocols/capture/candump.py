"""The candump log format (can-utils ``candump -L``, ``asc2log``, ``log2asc``).

One frame a line, fields separated by one space (can-utils ``lib.c``,
``snprintf_canframe``)::

    (1436509052.249713) can0 123#DEADBEEF          classic, 3 digits: 11-bit identifier
    (1436509052.249713) can0 12345678#DEADBEEF R   8 digits: 29-bit; R or T: direction
    (1436509052.249713) can0 123##1DEADBEEF        CAN FD: one digit of flags
    (1436509052.249713) can0 123#R8                remote frame that asks for 8 bytes
    (1436509052.249713) can0 20000080#0000000000000000    error frame
    (1436509052.249713) can0 123#1122334455667788_C       raw DLC over 8 behind ``_``

Lines are parsed all at once: separators are found over the whole text, then each field
of all lines is gathered as a window of nibbles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from protocols.capture.candump_fields import read_fields
from protocols.capture.candump_lines import (
    LEAD,
    LINE_BYTES_MAX,
    REASONS,
    TAIL,
    Fault,
    split_lines,
)
from protocols.capture.columns import NAME_BYTES_MAX, NS, BusTable
from protocols.errors import WireError
from protocols.frames import (
    CAN_EFF_FLAG,
    CAN_EFF_MASK,
    CAN_ERR_FLAG,
    CAN_RTR_FLAG,
    CAN_SFF_MASK,
    CANFD_FDF,
    CLASSIC_BYTES_MAX,
    FrameBatch,
    empty_frames,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.frames import U8, U32, Bool, Index


class CandumpParser:
    """Candump text in, frames out; the torn last line of a chunk waits for the next.

    strict: the first malformed line ends the capture: frames before it are returned,
    `error` holds the WireError (line number and reason), and the next call raises it.
    Otherwise malformed lines are counted in `skipped` by reason.
    """

    def __init__(self, *, strict: bool = True) -> None:
        """Start at line 1 with no buses."""
        self.skipped: dict[str, int] = {}
        self.error: WireError | None = None
        self.lines = 0  # complete lines read
        self._strict = strict
        self._table = BusTable()
        self._torn = b""

    @property
    def buses(self) -> list[str]:
        """Names of the buses that ``FrameBatch.bus`` indexes; grows."""
        return self._table.names

    def feed(self, data: bytes) -> FrameBatch:
        """Return the frames of the lines that ``data`` completes, width 8 or 64."""
        if self.error is not None:
            raise self.error
        cut = data.rfind(b"\n") + 1
        text = self._torn + data[:cut] if cut else b""
        self._torn = data[cut:] if cut else self._torn + data
        frames = self._parse(text) if text else empty_frames()
        if len(self._torn) > LINE_BYTES_MAX and self.error is None:
            # Keep only enough to be refused as too long when its end comes.
            self._torn = self._torn[: LINE_BYTES_MAX + 1]
            if self._strict:
                self.error = self._refusal(self.lines, Fault.LINE)
        return frames

    def finish(self) -> FrameBatch:
        """Return the frame of a last line without line end."""
        if self.error is not None:
            raise self.error
        text, self._torn = self._torn, b""
        return self._parse(text + b"\n") if text else empty_frames()

    def _refusal(self, line: int, reason: int) -> WireError:
        return WireError(f"line {line + 1}", REASONS[reason])

    def _parse(self, text: bytes) -> FrameBatch:
        padded = b"".join((bytes(LEAD), text, bytes(TAIL)))
        lines, count = split_lines(padded)
        frames = read_fields(lines, self._table)
        bad = np.flatnonzero(lines.fault)
        if len(bad):
            if self._strict:
                first = int(bad[0])
                self.error = self._refusal(
                    self.lines + int(lines.number[first]), int(lines.fault[first])
                )
                frames = frames.take(slice(0, first))
            else:
                totals = np.bincount(lines.fault[bad], minlength=len(REASONS))
                for code in np.flatnonzero(totals).tolist():
                    reason = REASONS[code]
                    self.skipped[reason] = self.skipped.get(reason, 0) + int(
                        totals[code]
                    )
                frames = frames.take(lines.fault == 0)
        self.lines += count
        if frames.width > CLASSIC_BYTES_MAX and not (frames.size > 8).any():
            frames = FrameBatch(
                frames.time_ns, frames.bus, frames.ident, frames.size, frames.flags,
                np.ascontiguousarray(frames.payload[:, :CLASSIC_BYTES_MAX]),
            )  # fmt: skip
        return frames


_HEX: U8 = np.frombuffer(b"0123456789ABCDEF", np.uint8)


def _decimal(values: Index, digits: int) -> U8:
    """Return the last ``digits`` decimal digits of ``values`` as text [N, digits]."""
    powers = 10 ** np.arange(digits - 1, -1, -1, dtype=np.int64)
    return (values[:, None] // powers % 10 + ord("0")).astype(np.uint8)


def _hexadecimal(values: U8) -> U8:
    """Return bytes [N, width] as upper-case text [N, 2 * width]."""
    text = np.empty((len(values), 2 * values.shape[1]), np.uint8)
    text[:, 0::2] = _HEX[values >> 4]
    text[:, 1::2] = _HEX[values & 0xF]
    return text


def _encoded_name(name: str) -> bytes:
    """Return a bus name as it stands in a line; WireError where it cannot."""
    encoded = name.encode()
    if not 1 <= len(encoded) <= NAME_BYTES_MAX:
        raise WireError("bus name", f"not 1..{NAME_BYTES_MAX} characters")
    if min(encoded) <= ord(" ") or max(encoded) > ord("~"):
        raise WireError("bus name", "not printable ASCII without spaces")
    return encoded


def encode_candump(frames: FrameBatch, buses: Sequence[str]) -> bytes:
    """Return ``frames`` as candump lines; microseconds, or ns where they need it.

    ``buses`` names every index in ``frames.bus``; WireError for a name that the format
    cannot hold. What is read back equals what was written, but for ESI and BRS of
    classic frames (the format has no place for them).
    """
    if not len(frames):
        return b""
    encoded = [_encoded_name(name) for name in buses]
    rows = len(frames)

    def always(text: bytes) -> tuple[U8, Bool]:
        chars = np.broadcast_to(np.frombuffer(text, np.uint8), (rows, len(text)))
        return chars, np.ones(chars.shape, np.bool_)

    def where(chars: U8, used: Bool) -> tuple[U8, Bool]:
        return chars, np.broadcast_to(used, chars.shape)

    every = np.ones((rows, 1), np.bool_)
    fine = bool((frames.time_ns % 1000).any())
    fraction = frames.time_ns % NS
    width = max(map(len, encoded))
    table = np.frombuffer(b"".join(n.ljust(width, b"\0") for n in encoded), np.uint8)
    name = table.reshape(len(encoded), width)[frames.bus]
    remote = (frames.ident & CAN_RTR_FLAG) != 0
    fd = ((frames.flags & CANFD_FDF) != 0) | (frames.size > CLASSIC_BYTES_MAX)
    error = (frames.ident & CAN_ERR_FLAG) != 0
    short = ((frames.ident & CAN_EFF_FLAG) == 0) & ~error
    keep = np.where(
        short, CAN_SFF_MASK, np.where(error, CAN_ERR_FLAG | CAN_EFF_MASK, CAN_EFF_MASK)
    )
    ident: U32 = (frames.ident & keep).astype(">u4")
    digits = np.arange(8)
    used = np.arange(2 * frames.width) < 2 * frames.size.astype(np.int64)[:, None]
    parts = [
        always(b"("),
        where(_decimal(frames.time_ns // NS, 10), every),
        always(b"."),
        where(
            _decimal(fraction if fine else fraction // 1000, 9 if fine else 6), every
        ),
        always(b") "),
        where(name, name != 0),
        always(b" "),
        where(
            _hexadecimal(ident.view(np.uint8).reshape(-1, 4)),
            ~short[:, None] | (digits >= 5),
        ),
        always(b"#"),
        where(always(b"#")[0], fd[:, None]),
        where(_HEX[frames.flags & 0x3][:, None], fd[:, None]),
        where(always(b"R")[0], remote[:, None]),
        where((frames.size + ord("0"))[:, None], remote[:, None]),
        where(_hexadecimal(frames.payload), used & ~remote[:, None]),
        always(b"\n"),
    ]
    text = np.concatenate([chars for chars, _ in parts], axis=1)
    line = np.concatenate([used for _, used in parts], axis=1)
    return bytes(text[line])
