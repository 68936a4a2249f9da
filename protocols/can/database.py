"""CAN databases (DBC, KCD, ARXML, SYM) as our own records; the one place of cantools.

cantools parses; nothing else of it is used. What it refuses, and what it would choke
on, becomes a ``DatabaseError`` with file, place and reason.
"""

from __future__ import annotations

import binascii
import itertools
import logging
import math
import re
import struct
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Final, Protocol, cast
from xml.etree.ElementTree import ParseError

from protocols.can.database_text import check_bounds, flag_extended
from protocols.errors import DatabaseError
from protocols.frames import CAN_EFF_FLAG
from protocols.held import Held

# Asked for by cantools itself, by name only; they bring python-can and what it finds.
for _unused in ("cantools.tester", "cantools.logreader"):
    sys.modules.setdefault(_unused, ModuleType(_unused))

import cantools.database  # noqa: E402  # after them

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

# cantools warns on stderr of what is the database's author's to mend.
logging.getLogger("cantools").setLevel(logging.ERROR)

DATABASE_BYTES_MAX: Final = 64 * 1024 * 1024  # the largest ARXML seen: 40 MB
MULTIPLEX_DEPTH_MAX: Final = 8
REASON_CHARACTERS_MAX: Final = 240
COMMENT_CHARACTERS_MAX: Final = 500
CHOICES_MAX: Final = 64  # words of a value table that are kept: to read, not to decode
FORMATS: Final = ("dbc", "kcd", "arxml", "sym")

# cantools turns most of these into its own error, but not while its records are read.
_PARSER_ERRORS: Final = (
    cantools.database.errors.Error,
    ParseError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    binascii.Error,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal. Numbers stay int where the file wrote integers (exact scaling)."""

    name: str
    start: int  # DBC start bit: LSB (little endian) or MSB in sawtooth count (big)
    length: int  # bits
    big_endian: bool
    signed: bool
    is_float: bool  # IEEE 754 of ``length`` bits
    scale: float  # physical = raw * scale + offset
    offset: float
    unit: str
    minimum: float | None
    maximum: float | None
    is_multiplexer: bool
    mux_parent: str | None  # the multiplexer that this signal depends on
    mux_values: tuple[int, ...]  # raw values of the parent that select this signal
    has_choices: bool  # a value table exists; values stay integers all the same
    comment: str = ""  # the author's words, on one line
    choices: tuple[str, ...] = ()  # the words of the value table


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a database."""

    name: str
    ident: int  # with CAN_EFF_FLAG where extended
    length: int  # bytes
    is_fd: bool
    cycle_time_ms: float | None
    signals: tuple[Signal, ...]
    comment: str = ""

    def signal(self, name: str) -> Signal | None:
        """Return the signal of that name, None where there is none."""
        return next((s for s in self.signals if s.name == name), None)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Database:
    """A loaded database: where it came from, its messages, what was mended."""

    file: str
    messages: tuple[Message, ...]
    notes: tuple[str, ...]

    def message(self, reference: str | int) -> Message | None:
        """Return the message by name, or by identifier with CAN_EFF_FLAG.

        Where two messages share a name or identifier the later one counts, as in
        cantools.
        """
        for message in reversed(self.messages):
            if reference in (message.name, message.ident):
                return message
        return None


class _Conversion(Protocol):
    choices: Mapping[int, object] | None
    is_float: bool
    scale: float
    offset: float


class _ParsedSignal(Protocol):
    name: str
    start: int
    length: int
    byte_order: str
    is_signed: bool
    unit: str | None
    minimum: float | None
    maximum: float | None
    is_multiplexer: bool
    multiplexer_signal: str | None
    multiplexer_ids: list[int] | None
    comment: str | None
    conversion: _Conversion


class _ParsedMessage(Protocol):
    name: str
    frame_id: int
    is_extended_frame: bool
    is_container: bool
    length: int
    is_fd: bool
    cycle_time: object
    comment: str | None
    signals: Iterable[_ParsedSignal]


_held: Final[Held[Database]] = Held()


def load_database(path: Path) -> Database:
    """Read and parse one database file; the suffix tells the format.

    Strict first (no overlapping signals, all inside their message), then lenient with
    a note. DatabaseError (file, place, reason) whatever the bytes are; never another
    exception. While somebody holds what came of the same bytes, that is returned.
    """
    file = str(path)
    kind = path.suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise DatabaseError(file, "name", f"must end in one of {', '.join(FORMATS)}")
    try:
        size = path.stat().st_size
        if size > DATABASE_BYTES_MAX:
            raise DatabaseError(file, "size", f"above {DATABASE_BYTES_MAX} bytes")
        with path.open("rb") as stream:
            raw = stream.read(DATABASE_BYTES_MAX + 1)
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise DatabaseError(file, "file", reason) from None
    return _held.of(file, raw, lambda: parse_database(raw, kind, file))


def parse_database(raw: bytes, kind: str, file: str) -> Database:
    """Parse the bytes of a database of format ``kind``; see ``load_database``."""
    if len(raw) > DATABASE_BYTES_MAX:
        raise DatabaseError(file, "size", f"above {DATABASE_BYTES_MAX} bytes")
    text = _text(raw, kind)
    check_bounds(text, kind, file)
    notes: tuple[str, ...] = ()
    if kind == "dbc":
        text, notes = flag_extended(text)
    try:
        parsed = _parse(text, kind, file, strict=True)
    except DatabaseError as strict:
        parsed = _parse(text, kind, file, strict=False)
        notes += (f"{strict.place}: {strict.reason} (accepted)",)
    try:
        messages = tuple(_message(one, file) for one in parsed)
    except DatabaseError:
        raise
    except _PARSER_ERRORS as error:
        raise _refusal(file, error, text) from None
    return Database(file, messages, notes + _undeclared(messages))


def _undeclared(messages: tuple[Message, ...]) -> tuple[str, ...]:
    """Name signals whose multiplexer is not declared as one: they cannot be bound.

    cantools leaves them out without a word; here it is said.
    """
    return tuple(
        f"message {message.name}, signal {signal.name}: depends on {parent.name}, "
        "which is no multiplexer (left out)"
        for message in messages
        for signal in message.signals
        if signal.mux_parent
        and (parent := message.signal(signal.mux_parent)) is not None
        and not parent.is_multiplexer
    )


def _text(raw: bytes, kind: str) -> str:
    """Decode: UTF-8 where it is valid, else the code page that DBC tools write."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        code = "cp1252" if kind in {"dbc", "sym"} else "utf-8"
        return raw.decode(code, errors="replace")


def _parse(text: str, kind: str, file: str, *, strict: bool) -> list[_ParsedMessage]:
    try:
        parsed = cantools.database.load_string(
            text, database_format=kind, strict=strict, prune_choices=False
        )
        messages = cast("cantools.database.can.Database", parsed).messages
        return cast("list[_ParsedMessage]", messages)
    except _PARSER_ERRORS as error:
        raise _refusal(file, error, text) from None


def _refusal(file: str, error: BaseException, text: str) -> DatabaseError:
    """Return cantools' words as place and reason, on one line and of bounded length."""
    words = " ".join(str(error).split())
    words = re.sub(r'^(?:ARXML|DBC|KCD|SYM): "(.*)"$', r"\1", words)
    words = "".join(c if c.isprintable() else "?" for c in words)
    line = re.search(r"line (\d+),? column (\d+)", words)
    message = re.search(r"in\s+message (\S+?)\.?$", words)
    unused = re.search(r"unused VAL_ entries in DBC: VAL_ (\d+) (\w+)", words)
    place = "whole file"
    if line:
        place = f"line {line[1]}, column {line[2]}"
    elif message:
        place = f"message {message[1]}"[:REASON_CHARACTERS_MAX]
    elif unused:
        found = re.search(rf"VAL_\s+{unused[1]}\s+{unused[2]}\b", text)
        if found:
            place = f"line {text.count(chr(10), 0, found.start()) + 1}"
    reason = words[:REASON_CHARACTERS_MAX] or type(error).__name__
    return DatabaseError(file, place, reason)


def _message(parsed: _ParsedMessage, file: str) -> Message:
    place = f"message {parsed.name}"
    flag = CAN_EFF_FLAG if parsed.is_extended_frame else 0
    # An AUTOSAR container has PDUs, not signals, at fixed places: known id, no signals.
    signals = () if parsed.is_container else tuple(parsed.signals)
    cycle = parsed.cycle_time
    message = Message(
        name=str(parsed.name),
        ident=int(parsed.frame_id) | flag,
        length=int(parsed.length),
        is_fd=bool(parsed.is_fd),
        cycle_time_ms=float(cycle) if isinstance(cycle, int | float) else None,
        signals=tuple(_signal(one, place, file) for one in signals),
        comment=_words(parsed.comment),
    )
    _check_multiplexers(message, place, file)
    return message


def _signal(parsed: _ParsedSignal, place: str, file: str) -> Signal:
    conversion = parsed.conversion
    scale, offset = conversion.scale, conversion.offset
    place = f"{place}, signal {parsed.name}"
    try:
        finite = math.isfinite(scale) and math.isfinite(offset)
    except OverflowError:
        finite = False
    if not finite:
        raise DatabaseError(file, place, "scale or offset is not a finite number")
    if parsed.start < 0:
        raise DatabaseError(file, place, "start bit is negative")
    if not conversion.is_float and float(scale).is_integer():
        # cantools calculates in integers only where both are whole.
        whole = float(offset).is_integer()
        scale, offset = (int(scale), int(offset)) if whole else (scale, offset)
    return Signal(
        name=str(parsed.name),
        start=int(parsed.start),
        length=int(parsed.length),
        big_endian=parsed.byte_order == "big_endian",
        signed=bool(parsed.is_signed),
        is_float=bool(conversion.is_float),
        scale=scale,
        offset=offset,
        unit=str(parsed.unit or ""),
        minimum=_number(parsed.minimum),
        maximum=_number(parsed.maximum),
        is_multiplexer=bool(parsed.is_multiplexer),
        mux_parent=parsed.multiplexer_signal,
        mux_values=tuple(map(int, parsed.multiplexer_ids or ())),
        has_choices=bool(conversion.choices),
        comment=_words(parsed.comment),
        choices=tuple(
            _words(word)
            for word in itertools.islice(
                (conversion.choices or {}).values(), CHOICES_MAX
            )
        ),
    )


def _words(text: object) -> str:
    """Return what an author wrote, on one line and of bounded length."""
    line = " ".join(str(text or "").split())[:COMMENT_CHARACTERS_MAX]
    return "".join(c if c.isprintable() else "?" for c in line)


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and abs(value) < 2.0**1023 else None


def _check_multiplexers(message: Message, place: str, file: str) -> None:
    """Refuse chains of multiplexers that are endless, too deep or lead nowhere."""
    by_name = {signal.name: signal for signal in message.signals}
    for signal in message.signals:
        parent, depth = signal.mux_parent, 0
        while parent is not None:
            above = by_name.get(parent)
            depth += 1
            if above is None or depth > MULTIPLEX_DEPTH_MAX:
                where = f"{place}, signal {signal.name}"
                raise DatabaseError(file, where, "its multiplexer chain has no end")
            parent = above.mux_parent
