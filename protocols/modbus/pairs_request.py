"""Requests as columns: what ``pdu.parse_request`` says of one, for all rows at once.

One pass per kind of function that the batch has. 20, 21 and 43 are rare and go row by
row through the scalar codec.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from protocols.modbus.exchanges import NO_SUB, Problem
from protocols.modbus.functions import (
    DIAGNOSTICS,
    ENCAPSULATED,
    FUNCTION_MAX,
    FUNCTIONS,
    MASK_WRITE,
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
from protocols.modbus.pdu import ADDRESSES, PDU_BYTES_MAX, parse_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocols.frames import I64, U8, U16, U32, Bool, Index
    from protocols.modbus.ragged import Bytes

# Kinds of functions: those of one kind are checked by the same lines.
NOTHING: Final = 0  # no PDU, or one whose length no PDU has
UNKNOWN: Final = 1
READ: Final = 2  # 1 to 4
WRITE_ONE: Final = 3  # 5, 6
WRITE_MANY: Final = 4  # 15, 16
MASK: Final = 5  # 22
BOTH: Final = 6  # 23
FIFO: Final = 7  # 24
BARE: Final = 8  # 7, 11, 12, 17: nothing follows the function code
DIAGNOSTIC: Final = 9  # 8
RARE: Final = 10  # 20, 21, 43
KINDS: Final = 11

_KINDS: Final = {
    READ: (1, 2, 3, 4), WRITE_ONE: (WRITE_COIL, WRITE_REGISTER),
    WRITE_MANY: (WRITE_COILS, WRITE_REGISTERS), MASK: (MASK_WRITE,),
    BOTH: (READ_WRITE,), FIFO: (READ_FIFO,), BARE: (7, 11, 12, 17),
    DIAGNOSTIC: (DIAGNOSTICS,), RARE: (READ_FILE, WRITE_FILE, ENCAPSULATED),
}  # fmt: skip
_KIND: Final = np.full(256, UNKNOWN, np.uint8)
for _kind, _codes in _KINDS.items():
    _KIND[list(_codes)] = _kind
_KNOWN: Final = [FUNCTIONS.get(code) for code in range(256)]
_TABLE: Final = np.array([f.table if f else NO_TABLE for f in _KNOWN], np.uint8)
_MOST: Final = np.array([f.quantity_max if f else 0 for f in _KNOWN], np.int64)
_WRITES: Final = np.array([is_write(code) for code in range(256)])
_DIAGNOSTICS_WRITE: Final = np.array([is_write(DIAGNOSTICS, s) for s in range(256)])
_LENGTH: Final = int(Problem.LENGTH)
_QUANTITY: Final = int(Problem.QUANTITY)
_RANGE: Final = int(Problem.RANGE)
_BYTE_COUNT: Final = int(Problem.BYTE_COUNT)
_VALUE: Final = int(Problem.VALUE)
_NO_CODE: Final = int(Problem.UNKNOWN)

Rows: TypeAlias = "Index | slice"


@dataclass(frozen=True, slots=True)
class Asked:
    """N requests. Filled kind by kind; rows without a request are all zero."""

    at: I64  # [N] where the PDU lies
    size: I64  # [N] 0: no request
    kind: U8  # [N]
    function: U8
    sub: U16
    table: U8
    address: U16
    count: U16
    write_address: U16
    write_count: U16
    is_write: Bool
    problems: U32  # of the request alone
    value_at: I64  # where the written values lie
    value_count: I64  # registers or coils; 0 where malformed


def ask(data: Bytes, at: I64, size: U16) -> Asked:
    """Decode the requests at ``at`` (-1: none)."""
    there = at >= 0
    length = np.where(there, size, 0).astype(np.int64)
    function = np.where(length > 0, data.chars[at], 0).astype(np.uint8)
    kind = _KIND[function]
    wrong = (length == 0) | (length > PDU_BYTES_MAX)
    kind[wrong] = NOTHING
    rows = len(at)
    made = Asked(
        at, length, kind, function,
        sub=np.full(rows, NO_SUB, np.uint16), table=np.full(rows, NO_TABLE, np.uint8),
        address=np.zeros(rows, np.uint16), count=np.zeros(rows, np.uint16),
        write_address=np.zeros(rows, np.uint16), write_count=np.zeros(rows, np.uint16),
        is_write=_WRITES[function] & there, problems=np.zeros(rows, np.uint32),
        value_at=np.zeros(rows, np.int64), value_count=np.zeros(rows, np.int64),
    )  # fmt: skip
    for one, mine in by_kind(kind):
        _REQUESTS[one](data, made, mine)
    made.problems[~there] = 0
    return made


def by_kind(kind: U8) -> list[tuple[int, Rows]]:
    """Return the kinds that are there, with their rows."""
    present = np.flatnonzero(np.bincount(kind, minlength=KINDS)).tolist()
    if len(present) == 1:
        return [(present[0], slice(None))]
    return [(one, np.flatnonzero(kind == one)) for one in present]


def _span(address: I64, count: I64, most: I64 | int) -> U32:
    """Return what is wrong with ranges (clauses 6.1 to 6.4)."""
    quantity = (count < 1) | (count > most)
    beyond = address + count > ADDRESSES
    return np.where(quantity, _QUANTITY, np.where(beyond, _RANGE, 0)).astype(np.uint32)


def _word(data: Bytes, where: I64) -> I64:
    return data.words[where].astype(np.int64)


def _nothing(_data: Bytes, a: Asked, rows: Rows) -> None:
    a.problems[rows] = _LENGTH


def _unknown(_data: Bytes, a: Asked, rows: Rows) -> None:
    a.problems[rows] = _NO_CODE


def _bare(_data: Bytes, a: Asked, rows: Rows) -> None:
    a.problems[rows] = np.where(a.size[rows] == 1, 0, _LENGTH)


def _placed(
    a: Asked, rows: Rows, whole: Bool, address: I64, count: I64, *, writes: bool
) -> None:
    """Fill in what is addressed; nothing where the PDU is too short to say it."""
    a.table[rows] = np.where(whole, _TABLE[a.function[rows]], NO_TABLE)
    address, count = address * whole, count * whole
    a.address[rows] = address
    a.count[rows] = count
    if writes:
        a.write_address[rows] = address
        a.write_count[rows] = count


def _read(data: Bytes, a: Asked, rows: Rows) -> None:
    at = a.at[rows]
    whole = a.size[rows] == 5
    address, count = _word(data, at + 1), _word(data, at + 3)
    found = _span(address, count, _MOST[a.function[rows]])
    a.problems[rows] = np.where(whole, found, _LENGTH)
    _placed(a, rows, whole, address, count, writes=False)


def _write_one(data: Bytes, a: Asked, rows: Rows) -> None:
    at = a.at[rows]
    whole = a.size[rows] == 5
    value = data.words[at + 3]
    odd = (a.function[rows] == WRITE_COIL) & (value != 0) & (value != 0xFF00)
    a.problems[rows] = np.where(whole, np.where(odd, _VALUE, 0), _LENGTH)
    _placed(a, rows, whole, _word(data, at + 1), np.ones_like(at), writes=True)
    # A coil is the lowest bit of FF or 00.
    a.value_at[rows] = at + 3
    a.value_count[rows] = whole & ~odd


def _write_many(data: Bytes, a: Asked, rows: Rows) -> None:
    at, size = a.at[rows], a.size[rows]
    long = size >= 6
    address, count = _word(data, at + 1), _word(data, at + 3)
    given = data.chars[at + 5].astype(np.int64)
    coils = a.function[rows] == WRITE_COILS
    found = _span(address, count, _MOST[a.function[rows]])
    wanted = np.where(coils, (count + 7) >> 3, count * 2)
    found[(found == 0) & (given != wanted)] = _BYTE_COUNT
    found[size != 6 + given] |= np.uint32(_LENGTH)
    found[~long] = _LENGTH
    a.problems[rows] = found
    _placed(a, rows, long, address, count, writes=True)
    a.value_at[rows] = at + 6
    a.value_count[rows] = count * (found == 0)


def _mask(data: Bytes, a: Asked, rows: Rows) -> None:
    at = a.at[rows]
    whole = a.size[rows] == 7
    a.problems[rows] = np.where(whole, 0, _LENGTH)
    _placed(a, rows, whole, _word(data, at + 1), np.ones_like(at), writes=True)
    a.value_at[rows] = at + 3
    a.value_count[rows] = 2 * whole


def _both(data: Bytes, a: Asked, rows: Rows) -> None:
    at, size = a.at[rows], a.size[rows]
    long = size >= 10
    address, count = _word(data, at + 1), _word(data, at + 3)
    write_address, write_count = _word(data, at + 5), _word(data, at + 7)
    given = data.chars[at + 9].astype(np.int64)
    found = _span(address, count, int(_MOST[READ_WRITE]))
    found |= _span(write_address, write_count, WRITE_MAX_READ_WRITE)
    found[(found == 0) & (given != write_count * 2)] = _BYTE_COUNT
    found[size != 10 + given] |= np.uint32(_LENGTH)
    found[~long] = _LENGTH
    a.problems[rows] = found
    _placed(a, rows, long, address, count, writes=False)
    a.write_address[rows] = write_address * long
    a.write_count[rows] = write_count * long
    a.value_at[rows] = at + 10
    a.value_count[rows] = write_count * (found == 0)


def _fifo(data: Bytes, a: Asked, rows: Rows) -> None:
    at = a.at[rows]
    whole = a.size[rows] == 3
    a.problems[rows] = np.where(whole, 0, _LENGTH)
    _placed(a, rows, whole, _word(data, at + 1), np.ones_like(at), writes=False)


def _diagnostic(data: Bytes, a: Asked, rows: Rows) -> None:
    at, size = a.at[rows], a.size[rows]
    told = size >= 3
    sub = np.where(told, _word(data, at + 1), NO_SUB)
    echo = (size >= 5) & (size % 2 == 1)
    fits = told & np.where(sub == 0, echo, size == 5)
    a.sub[rows] = sub
    a.problems[rows] = np.where(fits, 0, _LENGTH)
    a.is_write[rows] = _DIAGNOSTICS_WRITE[np.minimum(sub, 255)]


def _rare(data: Bytes, a: Asked, rows: Rows) -> None:
    for row in np.arange(len(a.at))[rows].tolist():
        request = parse_request(pdu_of(data, a, row))
        a.sub[row] = request.sub
        a.problems[row] = request.problems
        a.is_write[row] = request.is_write


def pdu_of(data: Bytes, asked: Asked, row: int) -> bytes:
    """Return the bytes of one request."""
    at, size = int(asked.at[row]), int(asked.size[row])
    return data.chars[at : at + size].tobytes()


_REQUESTS: Final[tuple[Callable[[Bytes, Asked, Rows], None], ...]] = (
    _nothing, _unknown, _read, _write_one, _write_many, _mask, _both, _fifo, _bare,
    _diagnostic, _rare,
)  # fmt: skip
assert len(_REQUESTS) == KINDS
assert _DIAGNOSTICS_WRITE[255]  # stands for every sub-function above
assert FUNCTION_MAX == 127  # _KIND names none above: UNKNOWN
