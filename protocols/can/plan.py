"""From bindings and databases to the flat tables that the vector decoder reads.

Everything that can be wrong with a binding is found here, once, with file and place.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.can.fields import FieldTable, field_table, last_byte
from protocols.can.multiplex import MultiplexTable, multiplex_table
from protocols.errors import DatabaseError
from protocols.frames import (
    CAN_EFF_FLAG,
    CAN_EFF_MASK,
    CAN_SFF_MASK,
    CLASSIC_BYTES_MAX,
    FD_BYTES_MAX,
)
from protocols.samples import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from protocols.can.database import Database, Message, Signal
    from protocols.frames import F64, I32, I64, U8, U32, Bool, Index

BUSES_MAX: Final = 256  # FrameBatch.bus is one byte
LUT_ROWS: Final = CAN_SFF_MASK + 1
UNKNOWN: Final = -1  # message row of an identifier in no database
NOT_DATA: Final = -2  # message row of error and remote frames
EXACT_MAX: Final = 2**53  # integers up to here are exact in float64
FLOAT_MAX: Final = 2**1022  # two of them still make a float64
_FLOAT_BITS: Final = (16, 32, 64)


class FrameKind(IntEnum):
    """Which frames may carry a message."""

    ANY = 0  # the database does not tell
    CLASSIC = 1
    FD = 2


@dataclass(frozen=True, slots=True)
class SignalBinding:
    """An item made of one signal, or of a weighted sum of signals of one message."""

    bus: int
    message: str | int  # name, or identifier with CAN_EFF_FLAG where extended
    parts: tuple[tuple[str, float], ...]  # (signal name, factor)
    item: int


@dataclass(frozen=True, slots=True)
class ItemFormat:
    """How the samples of an item are to be read."""

    kind: Kind
    scale: float
    offset: float
    unit: str


@dataclass(frozen=True, slots=True)
class MessageTable:
    """R known messages, one row per (bus, identifier)."""

    bus: U8  # [R]
    ident: U32  # [R] with CAN_EFF_FLAG
    name: tuple[str, ...]
    length: I32  # [R] expected payload bytes
    kind: U8  # [R] FrameKind
    unbound: I32  # [R] signals without multiplexer that no binding names

    def __len__(self) -> int:
        """Return the number of messages."""
        return len(self.ident)


@dataclass(frozen=True, slots=True)
class DecodePlan:
    """What ``decode`` reads. Tables per message end in two rows: NOT_DATA, UNKNOWN."""

    messages: MessageTable
    lut: I32  # [buses * 2048] message row of an 11-bit identifier
    buses: int  # bus numbers from here on have no database
    extended_key: I64  # [E] sorted bus << 32 | identifier
    extended_row: I32  # [E]
    end: Index  # [R + 2] behind the last field of a message
    count: Index  # [R + 2] its number of fields
    need: U8  # [R + 2] bytes that the longest of them needs
    unbound: I64  # [R + 2] unbound signals; 1 for an unknown frame
    fields: FieldTable  # of the parts, by message, parts of an item side by side
    item: U32  # [F]
    scale: F64  # [F]
    offset: F64  # [F]
    factor: F64  # [F]
    is_first: Bool  # [F] first part of its item
    float_bits: U8  # [F] 16, 32, 64, or 0 where the signal is an integer
    is_float: Bool  # [F] item of kind FLOAT: its raw are float64 bits
    is_uint64: Bool  # [F] 64 bits unsigned
    wide: dict[int, tuple[float, float]]  # fields whose scaling float64 cannot do
    multiplex: MultiplexTable | None
    formats: dict[int, ItemFormat]  # by item
    has_float: bool  # items of kind FLOAT
    has_ieee: bool  # signals that are floats on the wire
    has_uint64: bool
    has_parts: bool


@dataclass(frozen=True, slots=True)
class _Part:
    """One field to be: a signal with its message row and its item."""

    signal: Signal
    message: Message
    item: int
    factor: float
    is_first: bool
    is_sum: bool


def compile_plan(
    bindings: Sequence[SignalBinding], databases: Mapping[int, Sequence[Database]]
) -> DecodePlan:
    """Compile bindings against the databases of each bus.

    Only named signals are decoded; every message of the databases is known all the
    same. DatabaseError where a bus has no database, a name is unknown, or a signal
    cannot be in a frame.
    """
    if any(not 0 <= bus < BUSES_MAX for bus in databases):
        raise DatabaseError("bindings", "bus", f"must be 0 to {BUSES_MAX - 1}")
    rows = _known_messages(databases)
    parts, formats = _bind_all(bindings, databases, rows)
    flat = [part for group in parts.values() for part in group]
    fields = field_table([part.signal for part in flat])
    count = np.array([*map(len, parts.values()), 0, 0], np.intp)
    end = np.cumsum(count)
    unbound = [_unbound(rows[key][0], parts[key]) for key in rows]
    ends = [
        max((last_byte(p.signal) + 1 for p in group), default=0)
        for group in parts.values()
    ]
    columns = _columns(flat)
    lut, buses, extended_key, extended_row = _lookup(list(rows))
    return DecodePlan(
        messages=_messages(rows, unbound),
        lut=lut,
        buses=buses,
        extended_key=extended_key,
        extended_row=extended_row,
        end=end,
        count=count,
        need=np.array([*ends, 0, 0], np.uint8),
        unbound=np.array([*unbound, 0, 1], np.int64),
        fields=fields,
        item=np.array([part.item for part in flat], np.uint32),
        scale=columns[0],
        offset=columns[1],
        factor=np.array([part.factor for part in flat], np.float64),
        is_first=np.array([part.is_first for part in flat], np.bool_),
        float_bits=columns[2],
        is_float=np.array([_is_float(part) for part in flat], np.bool_),
        is_uint64=np.array([_is_uint64(p.signal) for p in flat], np.bool_),
        wide={k: _exact(p.signal) for k, p in enumerate(flat) if _is_wide(p.signal)},
        multiplex=multiplex_table([(p.signal, p.message) for p in flat], count),
        formats=formats,
        has_float=any(map(_is_float, flat)),
        has_ieee=any(p.signal.is_float for p in flat),
        has_uint64=any(_is_uint64(p.signal) for p in flat),
        has_parts=any(p.is_sum for p in flat),
    )


def _bind_all(
    bindings: Sequence[SignalBinding],
    databases: Mapping[int, Sequence[Database]],
    rows: Iterable[tuple[int, int]],
) -> tuple[dict[tuple[int, int], list[_Part]], dict[int, ItemFormat]]:
    """Return the parts of each message row, in order, and the format of each item."""
    parts: dict[tuple[int, int], list[_Part]] = {k: [] for k in rows}
    formats: dict[int, ItemFormat] = {}
    named = {bus: _by_reference(of_bus) for bus, of_bus in databases.items()}
    for binding in bindings:
        files = ", ".join(d.file for d in databases.get(binding.bus, ())) or "bindings"
        bound = _bind(binding, named.get(binding.bus), files)
        parts[binding.bus, bound[0].message.ident] += bound
        if binding.item in formats:
            place = f"item {binding.item}"
            raise DatabaseError("bindings", place, "is bound more than once")
        formats[binding.item] = _format(bound)
    return parts, formats


def _known_messages(
    databases: Mapping[int, Sequence[Database]],
) -> dict[tuple[int, int], tuple[Message, FrameKind]]:
    """Return every message by (bus, identifier); of two definitions the later."""
    return {
        (bus, message.ident): (message, FrameKind.FD if message.is_fd else other)
        for bus in sorted(databases)
        for database in databases[bus]
        for other in (_kind_of_others(database),)
        for message in database.messages
    }


def _kind_of_others(database: Database) -> FrameKind:
    """Return the frame kind of messages that are not said to be FD.

    A database that never says FD but has long messages is mute about it.
    """
    says = any(m.is_fd for m in database.messages)
    long = any(m.length > CLASSIC_BYTES_MAX for m in database.messages)
    return FrameKind.CLASSIC if says or not long else FrameKind.ANY


def _messages(
    rows: dict[tuple[int, int], tuple[Message, FrameKind]], unbound: list[int]
) -> MessageTable:
    return MessageTable(
        bus=np.array([bus for bus, _ in rows], np.uint8),
        ident=np.array([ident for _, ident in rows], np.uint32),
        name=tuple(message.name for message, _ in rows.values()),
        length=np.array([message.length for message, _ in rows.values()], np.int32),
        kind=np.array([kind for _, kind in rows.values()], np.uint8),
        unbound=np.array(unbound, np.int32),
    )


def _lookup(rows: list[tuple[int, int]]) -> tuple[I32, int, I64, I32]:
    buses = max((bus for bus, _ in rows), default=-1) + 1
    lut = np.full(buses * LUT_ROWS, UNKNOWN, np.int32)
    extended: list[tuple[int, int]] = []
    for row, (bus, ident) in enumerate(rows):
        if ident & CAN_EFF_FLAG:
            extended.append((bus << 32 | ident & CAN_EFF_MASK, row))
        else:
            lut[bus * LUT_ROWS + ident] = row
    extended.sort()
    return (
        lut,
        buses,
        np.array([key for key, _ in extended], np.int64),
        np.array([row for _, row in extended], np.int32),
    )


def _by_reference(databases: Sequence[Database]) -> dict[str | int, Message]:
    """Return messages by name and by identifier; the later of two counts."""
    messages = [message for d in databases for message in d.messages]
    found: dict[str | int, Message] = {m.name: m for m in messages}
    return found | {m.ident: m for m in messages}


def _bind(
    binding: SignalBinding, named: dict[str | int, Message] | None, files: str
) -> list[_Part]:
    place = f"bus {binding.bus}, message {binding.message}"
    if named is None:
        raise DatabaseError(files, place, "this bus has no database")
    message = named.get(binding.message)
    if message is None:
        raise DatabaseError(files, place, "no such message")
    if not binding.parts:
        raise DatabaseError(files, place, "the binding names no signal")
    is_sum = len(binding.parts) > 1 or binding.parts[0][1] != 1
    parts: list[_Part] = []
    for name, factor in binding.parts:
        signal = message.signal(name)
        if signal is None:
            raise DatabaseError(files, place, f"no such signal: {name}")
        _check(signal, files, f"{place}, signal {name}")
        part = _Part(signal, message, binding.item, factor, not parts, is_sum)
        parts.append(part)
        above = signal
        while above.mux_parent is not None:
            selector = message.signal(above.mux_parent)
            assert selector is not None  # load_database checks every chain
            _check(selector, files, f"{place}, signal {selector.name}")
            if selector.is_float or not selector.is_multiplexer:
                reason = f"depends on {selector.name}, which is no multiplexer"
                raise DatabaseError(files, f"{place}, signal {name}", reason)
            above = selector
    return parts


def _check(signal: Signal, files: str, place: str) -> None:
    if not 1 <= signal.length <= 64:
        raise DatabaseError(files, place, "is not 1 to 64 bits long")
    if signal.is_float and signal.length not in _FLOAT_BITS:
        raise DatabaseError(files, place, "is a float but not of 16, 32 or 64 bits")
    if last_byte(signal) >= FD_BYTES_MAX:
        raise DatabaseError(files, place, "lies behind byte 64, where no frame reaches")


def _format(parts: list[_Part]) -> ItemFormat:
    part = parts[0]
    if _is_float(part):
        return ItemFormat(Kind.FLOAT, 1.0, 0.0, part.signal.unit)
    kind = Kind.UINT64 if _is_uint64(part.signal) else Kind.INT
    signal = part.signal
    return ItemFormat(kind, float(signal.scale), float(signal.offset), signal.unit)


def _unbound(message: Message, parts: list[_Part]) -> int:
    bound = {part.signal.name for part in parts}
    free = (s for s in message.signals if s.mux_parent is None)
    return sum(signal.name not in bound for signal in free)


def _is_float(part: _Part) -> bool:
    return part.is_sum or part.signal.is_float


def _is_uint64(signal: Signal) -> bool:
    return signal.length == 64 and not signal.signed and not signal.is_float


def _is_identity(signal: Signal) -> bool:
    return signal.scale == 1 and signal.offset == 0


def _is_wide(signal: Signal) -> bool:
    """Tell whether integer scaling can leave the integers that float64 holds exactly.

    Where the scale is not whole, cantools itself calculates in floats.
    """
    if signal.is_float or _is_identity(signal) or not isinstance(signal.scale, int):
        return False
    largest: int = 2**signal.length * abs(signal.scale)
    if largest > FLOAT_MAX or abs(signal.offset) > FLOAT_MAX:
        return False  # float64 arithmetic then gives infinity, which is as good
    return largest > EXACT_MAX or largest + abs(signal.offset) > EXACT_MAX


def _exact(signal: Signal) -> tuple[float, float]:
    return signal.scale, signal.offset


def _columns(parts: list[_Part]) -> tuple[F64, F64, U8]:
    """Return scale, offset and float width per field."""
    scale = [float(part.signal.scale) for part in parts]
    # x + -0.0 is x for every x, also for -0.0: identity keeps the sign of zero.
    offset = [
        -0.0 if _is_identity(part.signal) else float(part.signal.offset)
        for part in parts
    ]
    bits = [part.signal.length if part.signal.is_float else 0 for part in parts]
    return np.array(scale), np.array(offset), np.array(bits, np.uint8)
