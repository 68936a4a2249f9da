"""cantools, frame by frame, as the oracle of the vector decoder."""

from __future__ import annotations

import copy
import struct
from typing import TYPE_CHECKING, Any

import cantools
import numpy as np

from protocols.can.fields import last_byte
from protocols.can.plan import SignalBinding, compile_plan
from protocols.frames import CAN_EFF_FLAG, FrameBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.can.database import Database, Message, Signal
    from protocols.can.decode import Decoded
    from protocols.can.plan import DecodePlan


def batch(
    frames: Sequence[tuple[int, bytes]], width: int = 8, bus: int = 0
) -> FrameBatch:
    """Return (ident with flags, data) pairs as a batch; time counts the frames."""
    count = len(frames)
    payload = np.zeros((count, width), np.uint8)
    for row, (_, data) in enumerate(frames):
        payload[row, : len(data)] = np.frombuffer(data, np.uint8)
    return FrameBatch(
        np.arange(count, dtype=np.int64),
        np.full(count, bus, np.uint8),
        np.array([ident for ident, _ in frames], np.uint32),
        np.array([len(data) for _, data in frames], np.uint8),
        np.zeros(count, np.uint8),
        payload,
    )


def can_be_bound(message: Message, signal: Signal) -> bool:
    parent = message.signal(signal.mux_parent) if signal.mux_parent else None
    declared = parent is None or parent.is_multiplexer
    return signal.length <= 64 and last_byte(signal) < 64 and declared


def bind_all(database: Database) -> tuple[DecodePlan, list[tuple[int, str]]]:
    """Bind every signal that a frame can carry; item k is the k-th of the names."""
    names: list[tuple[int, str]] = []
    bindings: list[SignalBinding] = []
    last = {message.ident: message for message in database.messages}
    for message in last.values():
        for signal in message.signals:
            if can_be_bound(message, signal):
                parts = ((signal.name, 1),)
                bindings.append(SignalBinding(0, message.ident, parts, len(names)))
                names.append((message.ident, signal.name))
    return compile_plan(bindings, {0: [database]}), names


def bits(value: float) -> bytes:
    """Return the float64 bits; all NaN are one (their payload is not a value)."""
    number = float(value)
    return b"nan" if number != number else struct.pack(">d", number)  # noqa: PLR0124  # NaN


class Oracle:
    """Decode one frame with cantools; signals that overlap one at a time.

    cantools decodes overlapping little-endian signals of leniently loaded messages at
    wrong places (its format string cannot go back), so there each signal is decoded
    by a message of its own.
    """

    def __init__(self, parsed: cantools.database.can.Database) -> None:
        self.messages: dict[int, Any] = {}
        self.single: dict[tuple[int, str], Any] = {}
        self.clean: dict[int, bool] = {}
        for message in parsed.messages:
            ident = message.frame_id | CAN_EFF_FLAG * message.is_extended_frame
            self.messages[ident] = message
            try:
                message.refresh(strict=True)
                self.clean[ident] = True
            except cantools.database.errors.Error:
                self.clean[ident] = False

    def decode(self, ident: int, data: bytes) -> dict[str, float]:
        message = self.messages[ident]
        if self.clean[ident]:
            try:
                decoded: dict[str, float] = message.decode(
                    data, decode_choices=False, allow_truncated=True
                )
            except cantools.database.errors.DecodeError:
                pass  # a multiplexer in no branch: cantools gives up on the frame
            else:
                return decoded
        present = {s.name: self._value(ident, s, data) for s in message.signals}
        return {
            signal.name: value
            for signal in message.signals
            if (value := present[signal.name]) is not None
            and self._selected(message, signal, present)
        }

    def _selected(self, message: Any, signal: Any, values: dict[str, Any]) -> bool:
        if signal.multiplexer_signal is None:
            return True
        parent = message.get_signal_by_name(signal.multiplexer_signal)
        if values[parent.name] not in signal.multiplexer_ids:
            return False
        return self._selected(message, parent, values)

    def _value(self, ident: int, signal: Any, data: bytes) -> float | None:
        """Return the signal's value alone, None where it is behind the data."""
        key = ident, signal.name
        if key not in self.single:
            alone = copy.copy(signal)
            alone.multiplexer_signal = alone.multiplexer_ids = None
            alone.is_multiplexer = False
            self.single[key] = cantools.database.can.Message(
                1, "alone", 64, [alone], strict=False
            )
        decoded = self.single[key].decode(
            data, decode_choices=False, allow_truncated=True
        )
        value: float | None = decoded.get(signal.name)
        return value


def compare(
    oracle: Oracle,
    frames: Sequence[tuple[int, bytes]],
    decoded: Decoded,
    names: list[tuple[int, str]],
) -> int:
    """Assert that all samples equal the oracle's, bit for bit; return how many."""
    got: list[dict[str, bytes]] = [{} for _ in frames]
    samples = decoded.samples
    for row, item, value in zip(
        samples.time_ns.tolist(),
        samples.item.tolist(),
        samples.value.tolist(),
        strict=True,
    ):
        ident, name = names[item]
        assert frames[row][0] == ident
        assert name not in got[row]
        got[row][name] = bits(value)
    bound = set(names)
    for row, (ident, data) in enumerate(frames):
        expected = {
            name: bits(value)
            for name, value in oracle.decode(ident, data).items()
            if (ident, name) in bound
        }
        assert got[row] == expected, (row, hex(ident), len(data))
    return len(samples)
