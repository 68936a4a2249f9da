"""Physical values to payload bytes, by columns: a DBC compiled to a table of chunks.

A chunk is a run of bits that stay in one byte. Intel and Motorola signals, signed ones
and IEEE 754 floats of any width reduce to chunks, so packing is one loop over chunks
and none over frames. cantools parses; tests hold its encoder against this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cantools
import numpy as np
from cantools.database.errors import Error as CantoolsError

from firmware_sim.errors import ScenarioError
from protocols.frames import CAN_EFF_FLAG, CANFD_BRS, CANFD_FDF

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cantools.database.can import Message, Signal

    from protocols.frames import F64, U8, U64

DBC_BYTES_MAX: Final = 1024 * 1024
_FLOATS: Final = {16: np.float16, 32: np.float32, 64: np.float64}


@dataclass(frozen=True, slots=True)
class Chunk:
    """``width`` bits of the raw number, ``raw_shift`` above its lowest bit."""

    byte: int
    byte_shift: int
    raw_shift: int
    width: int


@dataclass(frozen=True, slots=True)
class SignalCode:
    """How one signal becomes bits."""

    name: str
    scale: float
    offset: float
    low: float  # of the raw number
    high: float
    length: int
    is_float: bool
    unit: str
    mux: int | None  # frame carries the signal where the multiplexer has this value
    is_multiplexer: bool
    chunks: tuple[Chunk, ...]

    def raw(self, value: F64) -> U64:
        """Return the raw bits [N] of physical values; out of range is clipped."""
        if self.is_float:
            bits = value.astype(_FLOATS[self.length])
            return bits.view(f"u{self.length // 8}").astype(np.uint64)
        number = np.clip(
            np.rint((value - self.offset) / self.scale), self.low, self.high
        )
        if self.low < 0:
            return number.astype(np.int64).view(np.uint64)
        return number.astype(np.uint64)


@dataclass(frozen=True, slots=True)
class MessageCode:
    """How one message is sent."""

    name: str
    ident: int  # with SocketCAN's extended flag
    size: int
    flags: int
    cycle_ns: int  # 0: not cyclic
    on_event: bool
    signals: tuple[SignalCode, ...]
    mux_values: tuple[int, ...]  # the values that the multiplexer goes through

    def encode(self, values: Mapping[str, F64], rows: int, width: int) -> U8:
        """Return payloads [rows, width]; signals not in ``values`` are zero bits."""
        payload = np.zeros((rows, width), np.uint8)
        chooser = next((s.name for s in self.signals if s.is_multiplexer), None)
        for signal in self.signals:
            if signal.name not in values:
                continue
            raw = signal.raw(values[signal.name])
            if signal.mux is not None and chooser is not None:
                raw = np.where(values[chooser] == signal.mux, raw, np.uint64(0))
            for chunk in signal.chunks:
                bits = (raw >> np.uint64(chunk.raw_shift)) & np.uint64(
                    (1 << chunk.width) - 1
                )
                payload[:, chunk.byte] |= bits.astype(np.uint8) << chunk.byte_shift
        return payload


def _chunks(signal: Signal) -> tuple[Chunk, ...]:
    """Cut a signal's bits at byte borders (DBC bit numbering, both byte orders)."""
    byte, bit = divmod(signal.start, 8)
    left, found = signal.length, []
    if signal.byte_order == "little_endian":
        done = 0
        while left:
            width = min(left, 8 - bit)
            found.append(Chunk(byte, bit, done, width))
            done, left, byte, bit = done + width, left - width, byte + 1, 0
    else:
        while left:
            width = min(left, bit + 1)
            left -= width
            found.append(Chunk(byte, bit + 1 - width, left, width))
            byte, bit = byte + 1, 7
    return tuple(found)


def _signal(signal: Signal) -> SignalCode:
    conversion = signal.conversion
    top = signal.length - int(signal.is_signed)
    return SignalCode(
        signal.name,
        float(conversion.scale),
        float(conversion.offset),
        -float(2**top) if signal.is_signed else 0.0,
        # The largest double below 2**64 keeps the cast of 64-bit numbers in range.
        float(np.nextafter(2.0**top, 0)) if top > 52 else float(2**top - 1),
        signal.length,
        bool(conversion.is_float),
        signal.unit or "",
        signal.multiplexer_ids[0] if signal.multiplexer_ids else None,
        bool(signal.is_multiplexer),
        _chunks(signal),
    )


def _message(message: Message) -> MessageCode:
    signals = tuple(_signal(s) for s in message.signals)
    return MessageCode(
        message.name,
        message.frame_id | (CAN_EFF_FLAG if message.is_extended_frame else 0),
        message.length,
        CANFD_FDF | CANFD_BRS if message.is_fd else 0,
        (message.cycle_time or 0) * 1_000_000,
        "Event" in str(message.send_type or ""),
        signals,
        tuple(sorted({s.mux for s in signals if s.mux is not None})),
    )


def load_messages(path: Path) -> tuple[MessageCode, ...]:
    """Return the messages of a DBC in order of identifier; raises ScenarioError."""
    try:
        with path.open("rb") as file:
            data = file.read(DBC_BYTES_MAX + 1)
        if len(data) > DBC_BYTES_MAX:
            raise ScenarioError(path.name, "", f"larger than {DBC_BYTES_MAX} bytes")
        database = cantools.database.can.Database()
        database.add_dbc_string(data.decode("utf-8"))
    except OSError as error:
        raise ScenarioError(path.name, "", error.strerror or "unreadable") from None
    except (UnicodeDecodeError, CantoolsError):
        raise ScenarioError(path.name, "", "is no DBC that cantools reads") from None
    found = [_message(message) for message in database.messages]
    return tuple(sorted(found, key=lambda message: message.ident))
