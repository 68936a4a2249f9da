"""Passive reassembly of ISO-TP (ISO 15765-2) on diagnostic identifiers.

Only there: read as ISO-TP, the counters of ordinary messages become phantom texts.
Normal addressing; nothing is ever sent, flow control is only skipped. State is bounded:
one stream per (bus, identifier), so many streams, so many bytes each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.frames import CAN_ERR_FLAG, CAN_RTR_FLAG, CLASSIC_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protocols.frames import Bool, FrameBatch

N_CR_NS: Final = 1_000_000_000  # ISO 15765-2 table 16: N_Cr, between consecutive frames
BYTES_MAX: Final = 4095  # what a first frame without escape can announce
STREAMS_MAX: Final = 256

# ISO 15765-4: 7DF functional, 7E0-7E7 requests, 7E8-7EF responses; one range.
_LEGISLATED_FIRST: Final = 0x7DF
_LEGISLATED_SPAN: Final = 0x7EF - 0x7DF
# 18DAxxxx physical, 18DBxxxx functional, with the extended flag.
_EXTENDED_FIRST: Final = 0x98DA
_EXTENDED_SPAN: Final = 1

_SINGLE, _FIRST, _CONSECUTIVE, _FLOW = range(4)


@dataclass(frozen=True, slots=True, repr=False)
class DiagnosticMessage:
    """One reassembled message, at the time of its last frame."""

    time_ns: int
    bus: int
    ident: int  # with CAN_EFF_FLAG where extended
    payload: bytes

    def __repr__(self) -> str:
        """Return where and how long; the payload may hold a VIN."""
        where = f"bus={self.bus}, ident=0x{self.ident:X}"
        return f"DiagnosticMessage({where}, {len(self.payload)} bytes)"


@dataclass(slots=True)
class DiagnosticCounters:
    """What came, and what could not be put together, by cause."""

    frames: int = 0
    messages: int = 0
    malformed: int = 0  # a length that its frame forbids, a reserved frame type
    sequence_errors: int = 0  # a consecutive frame out of order; the stream is dropped
    orphans: int = 0  # a consecutive frame without a first one
    timeouts: int = 0  # N_Cr passed between two frames of a stream
    interrupted: int = 0  # a new message began before the last was complete
    oversize: int = 0  # announced more than the cap
    evicted: int = 0  # too many streams at once: the oldest is dropped


@dataclass(slots=True, repr=False)
class _Stream:
    length: int
    data: bytearray
    sequence: int
    time_ns: int


@dataclass(slots=True)
class Diagnostics:
    """Reassembles messages across batches.

    ``extra`` are further diagnostic identifiers (CAN_EFF_FLAG where extended), both of
    each request and response pair.
    """

    extra: frozenset[int] = frozenset()
    bytes_max: int = BYTES_MAX
    streams_max: int = STREAMS_MAX
    counters: DiagnosticCounters = field(default_factory=DiagnosticCounters)
    _streams: dict[tuple[int, int], _Stream] = field(default_factory=dict, repr=False)

    def candidates(self, frames: FrameBatch) -> Bool:
        """Tell which frames may carry diagnostics: bool [N]."""
        ident = frames.ident
        mask: Bool = ident - np.uint32(_LEGISLATED_FIRST) <= _LEGISLATED_SPAN
        mask |= (ident >> np.uint32(16)) - np.uint32(_EXTENDED_FIRST) <= _EXTENDED_SPAN
        if self.extra:
            mask |= np.isin(ident, np.array(sorted(self.extra), np.uint32))
            mask &= (ident & np.uint32(CAN_RTR_FLAG | CAN_ERR_FLAG)) == 0
        return mask

    def feed(self, frames: FrameBatch) -> list[DiagnosticMessage]:
        """Return the messages that ``frames`` complete, in order.

        Frames on other identifiers cost one column mask. Never raises on what frames
        contain; ``counters`` tell what was wrong.
        """
        rows = np.flatnonzero(self.candidates(frames))
        if not len(rows):
            return []
        chosen = frames.take(rows)
        messages: list[DiagnosticMessage] = []
        columns: Iterable[tuple[int, int, int, int, bytes]] = zip(
            chosen.time_ns.tolist(),
            chosen.bus.tolist(),
            chosen.ident.tolist(),
            np.minimum(chosen.size, chosen.width).tolist(),
            map(bytes, chosen.payload),
            strict=True,
        )
        for time_ns, bus, ident, size, payload in columns:
            self.counters.frames += 1
            whole = self._frame(time_ns, (bus, ident), payload[:size])
            if whole is not None:
                self.counters.messages += 1
                messages.append(DiagnosticMessage(time_ns, bus, ident, whole))
        return messages

    def _frame(self, time_ns: int, key: tuple[int, int], data: bytes) -> bytes | None:
        """Take one frame; return the message that it completes."""
        kind = data[0] >> 4 if data else -1
        if kind == _SINGLE:
            return self._single(time_ns, key, data)
        if kind == _FIRST:
            self._first(time_ns, key, data)
        elif kind == _CONSECUTIVE:
            return self._consecutive(time_ns, key, data)
        elif kind != _FLOW:
            self.counters.malformed += 1
        return None

    def _single(self, time_ns: int, key: tuple[int, int], data: bytes) -> bytes | None:
        """Single frame: length in the nibble, or (FD) 0 and length in byte 1."""
        start, length = 1, data[0] & 0x0F
        if length == 0 and len(data) > CLASSIC_BYTES_MAX:
            start, length = 2, data[1]
        if not 1 <= length <= len(data) - start:
            self.counters.malformed += 1
            return None
        self._drop(time_ns, key)
        return data[start : start + length]

    def _first(self, time_ns: int, key: tuple[int, int], data: bytes) -> None:
        """First frame: 12-bit length, or 0 and a 32-bit length behind it."""
        if len(data) < CLASSIC_BYTES_MAX:
            self.counters.malformed += 1
            return
        start, length = 2, int.from_bytes(data[:2]) & 0x0FFF
        if length == 0:
            start, length = 6, int.from_bytes(data[2:6])
        if length <= len(data) - start:
            self.counters.malformed += 1
            return
        self._drop(time_ns, key)
        if length > self.bytes_max:
            self.counters.oversize += 1
            return
        if len(self._streams) >= self.streams_max:
            self._make_room(time_ns)
        self._streams[key] = _Stream(length, bytearray(data[start:]), 1, time_ns)

    def _consecutive(
        self, time_ns: int, key: tuple[int, int], data: bytes
    ) -> bytes | None:
        stream = self._streams.pop(key, None)
        if stream is None:
            self.counters.orphans += 1
            return None
        if time_ns - stream.time_ns > N_CR_NS:
            self.counters.timeouts += 1
            return None
        if data[0] & 0x0F != stream.sequence:
            self.counters.sequence_errors += 1
            return None
        stream.data += data[1:]
        if len(stream.data) >= stream.length:
            return bytes(stream.data[: stream.length])
        stream.sequence = (stream.sequence + 1) & 0x0F
        stream.time_ns = time_ns
        self._streams[key] = stream  # at the end: the dict stays ordered by last use
        return None

    def _drop(self, time_ns: int, key: tuple[int, int]) -> None:
        """End the stream that a new message of its identifier cuts off."""
        stream = self._streams.pop(key, None)
        if stream is None:
            return
        if time_ns - stream.time_ns > N_CR_NS:
            self.counters.timeouts += 1
        else:
            self.counters.interrupted += 1

    def _make_room(self, time_ns: int) -> None:
        """Drop the stream that was silent longest; count why."""
        oldest = self._streams.pop(next(iter(self._streams)))
        if time_ns - oldest.time_ns > N_CR_NS:
            self.counters.timeouts += 1
        else:
            self.counters.evicted += 1
