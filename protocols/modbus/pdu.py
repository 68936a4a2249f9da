"""Modbus requests, one at a time: bytes to fields, and what does not fit.

Source: MODBUS Application Protocol Specification V1.1b3, clause 6 (the functions) and
clause 7 (exceptions). Nothing here raises: any bytes give a record whose ``problems``
(``exchanges.Problem`` bits) say what is wrong; a record with problems has no values.
Addresses are 0-based, as on the wire.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING, Final

import msgspec

from protocols.modbus.exchanges import NO_SUB, Problem
from protocols.modbus.functions import (
    DIAGNOSTICS,
    ENCAPSULATED,
    FUNCTION_MAX,
    FUNCTIONS,
    MASK_WRITE,
    MEI_IDENTIFICATION,
    NO_TABLE,
    READ_FIFO,
    READ_FILE,
    READ_WRITE,
    WRITE_COIL,
    WRITE_COILS,
    WRITE_FILE,
    WRITE_MAX_READ_WRITE,
    WRITE_REGISTER,
    WRITE_REGISTERS,
    is_write,
)
from protocols.modbus.words import bits, words

if TYPE_CHECKING:
    from collections.abc import Callable

PDU_BYTES_MAX: Final = 253  # clause 4.1
ADDRESSES: Final = 65536
FILE_TYPE: Final = 6  # clauses 6.14, 6.15: the reference type
RECORD_MAX: Final = 0x270F
CACHED_MAX: Final = 4096  # requests remembered; masters repeat theirs for ever

_TWO: Final = Struct(">HH")
_FILE: Final = Struct(">BHHH")
_NONE: Final = int(Problem(0))
_LENGTH: Final = int(Problem.LENGTH)
_UNKNOWN: Final = int(Problem.UNKNOWN)


class FileRecord(msgspec.Struct, frozen=True, gc=False):
    """A sub-request of functions 20 and 21."""

    file: int
    record: int
    count: int  # registers
    values: tuple[int, ...] = ()  # what 21 writes


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request. ``address`` and ``count``: the read part, else what is written.

    ``write_values``: registers, or coils as 0/1; of 22 its two masks (and, or).
    ``sub``: sub-function of 8; MEI type << 8 | read code of 43; NO_SUB.
    """

    function: int
    sub: int
    table: int  # NO_TABLE where the function addresses none
    address: int
    count: int
    write_address: int
    write_count: int  # 0: writes nothing that has an address
    write_values: tuple[int, ...]
    problems: int
    is_write: bool  # may change the device
    records: tuple[FileRecord, ...] = ()


# --- Requests -------------------------------------------------------------------------


@lru_cache(CACHED_MAX)
def parse_request(pdu: bytes) -> Request:
    """Return the fields of a request PDU (function code first); never raises."""
    function = pdu[0] if pdu else 0
    if not pdu or len(pdu) > PDU_BYTES_MAX:
        return _bare(function, _LENGTH)
    if function == 0 or function > FUNCTION_MAX:
        return _bare(function, _UNKNOWN)
    parse = _REQUESTS.get(function)
    if parse is not None:
        return parse(pdu)
    known = FUNCTIONS.get(function)
    if known is None or not known.is_public:
        return _bare(function, _UNKNOWN)
    # 7, 11, 12, 17: nothing follows the function code.
    return _bare(function, _NONE if len(pdu) == 1 else _LENGTH)


def _bare(function: int, problems: int, sub: int = NO_SUB) -> Request:
    write = is_write(function, sub)
    return Request(function, sub, NO_TABLE, 0, 0, 0, 0, (), problems, write)


def _span(address: int, count: int, most: int) -> int:
    """Return what is wrong with a range (clauses 6.1 to 6.4)."""
    if not 1 <= count <= most:
        return int(Problem.QUANTITY)
    return _NONE if address + count <= ADDRESSES else int(Problem.RANGE)


def _read(pdu: bytes) -> Request:
    function = pdu[0]
    if len(pdu) != 5:
        return _bare(function, _LENGTH)
    address, count = _TWO.unpack_from(pdu, 1)
    known = FUNCTIONS[function]
    problems = _span(address, count, known.quantity_max)
    return Request(
        function, NO_SUB, known.table, address, count, 0, 0, (), problems, False
    )


def _written(
    function: int, address: int, count: int, values: tuple[int, ...], problems: int
) -> Request:
    table = FUNCTIONS[function].table
    kept = () if problems else values
    return Request(
        function, NO_SUB, table, address, count, address, count, kept, problems, True
    )


def _write_one(pdu: bytes) -> Request:
    function = pdu[0]
    if len(pdu) != 5:
        return _bare(function, _LENGTH)
    address, value = _TWO.unpack_from(pdu, 1)
    if function == WRITE_REGISTER:
        return _written(function, address, 1, (value,), _NONE)
    problems = _NONE if value in {0, 0xFF00} else int(Problem.VALUE)
    return _written(function, address, 1, (1 if value else 0,), problems)


def _write_many(pdu: bytes) -> Request:
    function = pdu[0]
    if len(pdu) < 6:
        return _bare(function, _LENGTH)
    address, count = _TWO.unpack_from(pdu, 1)
    coils = function == WRITE_COILS
    problems = _span(address, count, FUNCTIONS[function].quantity_max)
    if not problems and pdu[5] != ((count + 7) // 8 if coils else count * 2):
        problems = int(Problem.BYTE_COUNT)
    if len(pdu) != 6 + pdu[5]:
        problems |= _LENGTH
    if problems:
        return _written(function, address, count, (), problems)
    values = bits(pdu[6:], count) if coils else words(pdu[6:])
    return _written(function, address, count, values, problems)


def _mask_write(pdu: bytes) -> Request:
    if len(pdu) != 7:
        return _bare(MASK_WRITE, _LENGTH)
    (address,) = words(pdu[1:3])
    return _written(MASK_WRITE, address, 1, words(pdu[3:]), _NONE)


def _read_write(pdu: bytes) -> Request:
    if len(pdu) < 10:
        return _bare(READ_WRITE, _LENGTH)
    address, count = _TWO.unpack_from(pdu, 1)
    write_address, write_count = _TWO.unpack_from(pdu, 5)
    problems = _span(address, count, FUNCTIONS[READ_WRITE].quantity_max)
    problems |= _span(write_address, write_count, WRITE_MAX_READ_WRITE)
    if not problems and pdu[9] != write_count * 2:
        problems = int(Problem.BYTE_COUNT)
    if len(pdu) != 10 + pdu[9]:
        problems |= _LENGTH
    values = () if problems else words(pdu[10:])
    table = FUNCTIONS[READ_WRITE].table
    return Request(
        READ_WRITE, NO_SUB, table, address, count, write_address, write_count, values,
        problems, True,
    )  # fmt: skip


def _diagnostics(pdu: bytes) -> Request:
    """Function 8: two bytes of sub-function, then data; only sub 0 takes any amount."""
    if len(pdu) < 3:
        return _bare(DIAGNOSTICS, _LENGTH)
    (sub,) = words(pdu[1:3])
    fits = len(pdu) >= 5 and len(pdu) % 2 == 1 if sub == 0 else len(pdu) == 5
    return _bare(DIAGNOSTICS, _NONE if fits else _LENGTH, sub)


def _file(pdu: bytes) -> Request:
    """Functions 20 and 21: a byte count, then sub-requests of 7 bytes (and data)."""
    function = pdu[0]
    bare = _bare(function, _NONE)
    if len(pdu) < 2 or len(pdu) != 2 + pdu[1]:
        return msgspec.structs.replace(bare, problems=_LENGTH)
    records: list[FileRecord] = []
    at = 2
    while at < len(pdu):
        if len(pdu) - at < 7:
            return msgspec.structs.replace(bare, problems=_LENGTH)
        kind, file, record, count = _FILE.unpack_from(pdu, at)
        if kind != FILE_TYPE or file < 1 or record > RECORD_MAX:
            return msgspec.structs.replace(bare, problems=int(Problem.VALUE))
        at += 7
        size = count * 2 if function == WRITE_FILE else 0
        if len(pdu) - at < size:
            return msgspec.structs.replace(bare, problems=_LENGTH)
        if not 1 <= count <= ADDRESSES - record:
            return msgspec.structs.replace(bare, problems=int(Problem.QUANTITY))
        records.append(FileRecord(file, record, count, words(pdu[at : at + size])))
        at += size
    if not records:
        return msgspec.structs.replace(bare, problems=_LENGTH)
    return msgspec.structs.replace(bare, records=tuple(records))


def _fifo(pdu: bytes) -> Request:
    if len(pdu) != 3:
        return _bare(READ_FIFO, _LENGTH)
    (address,) = words(pdu[1:])
    table = FUNCTIONS[READ_FIFO].table
    return Request(READ_FIFO, NO_SUB, table, address, 1, 0, 0, (), _NONE, False)


def _encapsulated(pdu: bytes) -> Request:
    if len(pdu) < 2:
        return _bare(ENCAPSULATED, _LENGTH)
    if pdu[1] != MEI_IDENTIFICATION:
        return _bare(ENCAPSULATED, _NONE, pdu[1] << 8)
    if len(pdu) != 4:
        return _bare(ENCAPSULATED, _LENGTH, pdu[1] << 8)
    problems = _NONE if 1 <= pdu[2] <= 4 else int(Problem.VALUE)
    return _bare(ENCAPSULATED, problems, pdu[1] << 8 | pdu[2])


_REQUESTS: Final[dict[int, Callable[[bytes], Request]]] = {
    1: _read, 2: _read, 3: _read, 4: _read,
    WRITE_COIL: _write_one, WRITE_REGISTER: _write_one, DIAGNOSTICS: _diagnostics,
    WRITE_COILS: _write_many, WRITE_REGISTERS: _write_many,
    READ_FILE: _file, WRITE_FILE: _file, MASK_WRITE: _mask_write,
    READ_WRITE: _read_write, READ_FIFO: _fifo, ENCAPSULATED: _encapsulated,
}  # fmt: skip
