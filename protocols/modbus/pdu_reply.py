"""Modbus replies, held against their requests: bytes to fields, and what does not fit.

Source: MODBUS Application Protocol Specification V1.1b3, clause 6 (the functions) and
clause 7 (exceptions). Nothing here raises: ``problems`` says what is wrong, and a reply
with problems has no values.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

import msgspec

from protocols.modbus.exchanges import Problem
from protocols.modbus.functions import (
    DIAGNOSTICS,
    ENCAPSULATED,
    EXCEPTION_BIT,
    EXCEPTIONS,
    FUNCTION_MAX,
    FUNCTIONS,
    MASK_WRITE,
    MEI_IDENTIFICATION,
    READ_FIFO,
    READ_FILE,
    READ_WRITE,
    SERVER_ID,
    WRITE_COIL,
    WRITE_COILS,
    WRITE_FILE,
    WRITE_REGISTER,
    WRITE_REGISTERS,
)
from protocols.modbus.pdu import FILE_TYPE, PDU_BYTES_MAX, Request, parse_request
from protocols.modbus.words import bits, packed, words

if TYPE_CHECKING:
    from collections.abc import Callable

_TWO: Final = Struct(">HH")
_NONE: Final = int(Problem(0))
_LENGTH: Final = int(Problem.LENGTH)


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A reply. ``values``: what was read; ``texts``: (object id, text) of 43/14, 17."""

    exception: int  # 0: none
    values: tuple[int, ...]
    problems: int
    texts: tuple[tuple[int, bytes], ...] = ()


def parse_reply(request: Request, pdu: bytes) -> Reply:
    """Return the fields of the reply to ``request``; never raises."""
    if not pdu or len(pdu) > PDU_BYTES_MAX:
        return Reply(0, (), _LENGTH)
    if pdu[0] == request.function | EXCEPTION_BIT:
        if len(pdu) != 2:
            return Reply(0, (), _LENGTH)
        known = pdu[1] in EXCEPTIONS
        return Reply(pdu[1], (), _NONE if known else int(Problem.EXCEPTION))
    if pdu[0] != request.function:
        return Reply(0, (), int(Problem.FUNCTION))
    if request.problems:  # nothing to compare with
        return Reply(0, (), _NONE)
    parse = _REPLIES.get(request.function)
    return parse(request, pdu) if parse is not None else Reply(0, (), _NONE)


def _read_reply(request: Request, pdu: bytes) -> Reply:
    coils = request.table in {0, 1}
    size = (request.count + 7) // 8 if coils else request.count * 2
    if len(pdu) < 2 or pdu[1] != size:
        return Reply(0, (), int(Problem.REPLY_LENGTH))
    if len(pdu) != 2 + size:
        return Reply(0, (), _LENGTH)
    values = bits(pdu[2:], request.count) if coils else words(pdu[2:])
    return Reply(0, values, _NONE)


def _echo_reply(request: Request, pdu: bytes) -> Reply:
    """5, 6, 15, 16, 22: the request again, or its first five bytes."""
    if request.function in {WRITE_COILS, WRITE_REGISTERS}:
        wanted = bytes((pdu[0],)) + _TWO.pack(request.address, request.count)
    elif request.function == MASK_WRITE:
        masks = request.write_values
        wanted = bytes((pdu[0],)) + packed((request.address, *masks))
    else:
        value = request.write_values[0]
        if request.function == WRITE_COIL:
            value = 0xFF00 if value else 0
        wanted = bytes((pdu[0],)) + _TWO.pack(request.address, value)
    if len(pdu) != len(wanted):
        return Reply(0, (), _LENGTH)
    return Reply(0, (), _NONE if pdu == wanted else int(Problem.ECHO))


def _diagnostics_reply(request: Request, pdu: bytes) -> Reply:
    fits = len(pdu) >= 5 and len(pdu) % 2 == 1
    if not fits:
        return Reply(0, (), _LENGTH)
    same = words(pdu[1:3]) == (request.sub,)
    return Reply(0, (), _NONE if same else int(Problem.ECHO))


def _file_reply(request: Request, pdu: bytes) -> Reply:
    """20: a length, then per record a length, 6, and registers. 21 repeats itself."""
    if len(pdu) < 2 or len(pdu) != 2 + pdu[1]:
        return Reply(0, (), _LENGTH)
    if request.function == WRITE_FILE:
        same = parse_request(pdu).records == request.records
        return Reply(0, (), _NONE if same else int(Problem.ECHO))
    values: tuple[int, ...] = ()
    at = 2
    for record in request.records:
        size = 1 + 2 * record.count
        if len(pdu) < at + 1 + size or pdu[at] != size or pdu[at + 1] != FILE_TYPE:
            return Reply(0, (), int(Problem.REPLY_LENGTH))
        values += words(pdu[at + 2 : at + 1 + size])
        at += 1 + size
    return Reply(0, values, _NONE if at == len(pdu) else _LENGTH)


def _fifo_reply(_request: Request, pdu: bytes) -> Reply:
    if len(pdu) < 5:
        return Reply(0, (), _LENGTH)
    size, count = _TWO.unpack_from(pdu, 1)
    if count > FUNCTIONS[READ_FIFO].quantity_max:
        return Reply(0, (), int(Problem.QUANTITY))
    if size != 2 + 2 * count or len(pdu) != 5 + 2 * count:
        return Reply(0, (), int(Problem.REPLY_LENGTH))
    return Reply(0, words(pdu[5:]), _NONE)


def _identification_reply(request: Request, pdu: bytes) -> Reply:
    """43/14 (clause 6.21): objects of id, length and text."""
    if request.sub >> 8 != MEI_IDENTIFICATION:
        return Reply(0, (), _NONE)
    if len(pdu) < 7:
        return Reply(0, (), _LENGTH)
    if pdu[1] != MEI_IDENTIFICATION or pdu[2] != request.sub & 0xFF:
        return Reply(0, (), int(Problem.ECHO))
    texts = []
    at = 7
    for _ in range(pdu[6]):
        if len(pdu) < at + 2 or len(pdu) < at + 2 + pdu[at + 1]:
            return Reply(0, (), _LENGTH)
        texts.append((pdu[at], pdu[at + 2 : at + 2 + pdu[at + 1]]))
        at += 2 + pdu[at + 1]
    return Reply(0, (), _NONE if at == len(pdu) else _LENGTH, tuple(texts))


def _short_reply(request: Request, pdu: bytes) -> Reply:
    """7 and 11: so many bytes."""
    size = {7: 2, 11: 5}[request.function]
    return Reply(0, (), _NONE if len(pdu) == size else _LENGTH)


def _counted_reply(request: Request, pdu: bytes) -> Reply:
    """12 and 17: a byte count, then bytes of the vendor's choice."""
    if len(pdu) < 2 or len(pdu) != 2 + pdu[1]:
        return Reply(0, (), _LENGTH)
    texts = ((0, pdu[2:]),) if request.function == SERVER_ID else ()
    return Reply(0, (), _NONE, texts)


_REPLIES: Final[dict[int, Callable[[Request, bytes], Reply]]] = {
    1: _read_reply, 2: _read_reply, 3: _read_reply, 4: _read_reply,
    READ_WRITE: _read_reply, READ_FIFO: _fifo_reply,
    WRITE_COIL: _echo_reply, WRITE_REGISTER: _echo_reply, WRITE_COILS: _echo_reply,
    WRITE_REGISTERS: _echo_reply, MASK_WRITE: _echo_reply,
    DIAGNOSTICS: _diagnostics_reply, READ_FILE: _file_reply, WRITE_FILE: _file_reply,
    ENCAPSULATED: _identification_reply, 7: _short_reply, 11: _short_reply,
    12: _counted_reply, SERVER_ID: _counted_reply,
}  # fmt: skip


def encode_exception(function: int, code: int) -> bytes:
    """Return an exception reply's PDU (clause 7)."""
    return bytes((function & FUNCTION_MAX | EXCEPTION_BIT, code))
