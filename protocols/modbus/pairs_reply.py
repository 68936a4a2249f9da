"""Replies as columns: what ``pdu_reply.parse_reply`` says of one, for all rows at once.

17, 20, 21 and 43 carry texts or records, are rare, and go row by row through the
scalar codec.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.modbus import pairs_request as kinds
from protocols.modbus.exchanges import Problem
from protocols.modbus.functions import (
    EXCEPTION_BIT,
    EXCEPTIONS,
    FUNCTION_MAX,
    FUNCTIONS,
    READ_FIFO,
    SERVER_ID,
)
from protocols.modbus.pairs_request import Asked, by_kind, pdu_of
from protocols.modbus.pdu import PDU_BYTES_MAX, parse_request
from protocols.modbus.pdu_reply import parse_reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocols.frames import I64, U8, U16, U32, Bool, Index
    from protocols.modbus.ragged import Bytes

_EXCEPTION: Final = np.isin(np.arange(256), list(EXCEPTIONS), invert=True)
_LENGTH: Final = int(Problem.LENGTH)
_REPLY_LENGTH: Final = int(Problem.REPLY_LENGTH)
_ECHO: Final = int(Problem.ECHO)
_FUNCTION: Final = int(Problem.FUNCTION)
_ODD_EXCEPTION: Final = int(Problem.EXCEPTION)
_QUANTITY: Final = int(Problem.QUANTITY)


@dataclass(frozen=True, slots=True)
class Answered:
    """N replies. Filled kind by kind; rows without a reply are all zero."""

    at: I64
    size: I64  # [N] 0: no reply
    exception: U8
    problems: U32  # of the reply alone
    value_at: I64  # where the values lie
    value_count: I64  # registers or coils; 0 where malformed
    # What the scalar codec found: values by row, and (row, object id, text).
    values: dict[int, tuple[int, ...]] = field(default_factory=dict)
    texts: list[tuple[int, int, bytes]] = field(default_factory=list)


def answer(
    data: Bytes, asked: Asked, has_request: Bool, at: I64, size: U16
) -> Answered:
    """Decode the replies at ``at`` (-1: none), each held against its request."""
    rows = len(at)
    there = at >= 0
    length = np.where(there, size, 0).astype(np.int64)
    made = Answered(
        at, length, np.zeros(rows, np.uint8), np.zeros(rows, np.uint32),
        np.zeros(rows, np.int64), np.zeros(rows, np.int64),
    )  # fmt: skip
    code = data.chars[at]
    wrong = there & ((length == 0) | (length > PDU_BYTES_MAX))
    # A reply to no request is an exception by its own word.
    other = np.where(has_request, asked.function != code, False)
    raised = np.where(
        has_request, code == asked.function | EXCEPTION_BIT, code > FUNCTION_MAX
    )
    raised &= there & ~wrong
    other &= there & ~wrong & ~raised
    made.problems[wrong] = _LENGTH
    made.problems[other] = _FUNCTION
    odd = np.flatnonzero(raised)
    if len(odd):
        _exceptions(data, made, odd)
    fine = there & has_request & ~wrong & ~raised & ~other & (asked.problems == 0)
    kind = np.where(fine, asked.kind, kinds.NOTHING)
    for one, mine in by_kind(kind):
        parse = _REPLIES.get(one)
        if parse is not None:
            index = mine if not isinstance(mine, slice) else np.arange(rows)
            parse(data, asked, made, index)
    return made


def _exceptions(data: Bytes, b: Answered, rows: Index) -> None:
    whole = b.size[rows] == 2
    code = data.chars[b.at[rows] + 1] * whole
    b.exception[rows] = code
    b.problems[rows] = np.where(
        whole, np.where(_EXCEPTION[code], _ODD_EXCEPTION, 0), _LENGTH
    )


def _read(data: Bytes, a: Asked, b: Answered, rows: Index) -> None:
    at, size = b.at[rows], b.size[rows]
    count = a.count[rows].astype(np.int64)
    wanted = np.where(a.table[rows] <= 1, (count + 7) >> 3, count * 2)
    short = (size < 2) | (data.chars[at + 1] != wanted)
    found = np.where(size != 2 + wanted, _LENGTH, 0)
    found[short] = _REPLY_LENGTH
    b.problems[rows] = found
    b.value_at[rows] = at + 2
    b.value_count[rows] = count * (found == 0)


def _echo(data: Bytes, a: Asked, b: Answered, rows: Index) -> None:
    """5, 6, 15, 16, 22: the request again, or its first five bytes."""
    ours, theirs = a.at[rows], b.at[rows]
    masks = a.kind[rows] == kinds.MASK
    same = data.words[ours + 1] == data.words[theirs + 1]
    same &= data.words[ours + 3] == data.words[theirs + 3]
    same &= ~masks | (data.words[ours + 5] == data.words[theirs + 5])
    whole = b.size[rows] == np.where(masks, 7, 5)
    b.problems[rows] = np.where(whole, np.where(same, 0, _ECHO), _LENGTH)


def _diagnostic(data: Bytes, a: Asked, b: Answered, rows: Index) -> None:
    size = b.size[rows]
    fits = (size >= 5) & (size % 2 == 1)
    same = data.words[b.at[rows] + 1] == a.sub[rows]
    b.problems[rows] = np.where(fits, np.where(same, 0, _ECHO), _LENGTH)


def _fifo(data: Bytes, _a: Asked, b: Answered, rows: Index) -> None:
    at, size = b.at[rows], b.size[rows]
    given = data.words[at + 1].astype(np.int64)
    count = data.words[at + 3].astype(np.int64)
    fits = (given == 2 + 2 * count) & (size == 5 + 2 * count)
    found = np.where(fits, 0, _REPLY_LENGTH)
    found[count > FUNCTIONS[READ_FIFO].quantity_max] = _QUANTITY
    found[size < 5] = _LENGTH
    b.problems[rows] = found
    b.value_at[rows] = at + 5
    b.value_count[rows] = count * (found == 0)


def _bare(data: Bytes, a: Asked, b: Answered, rows: Index) -> None:
    """7 and 11: so many bytes; 12 and 17: a byte count, then the vendor's choice."""
    function, size = a.function[rows], b.size[rows]
    counted = (size >= 2) & (size == 2 + data.chars[b.at[rows] + 1].astype(np.int64))
    fixed = size == np.where(function == 7, 2, 5)
    fits = np.where(function < 12, fixed, counted)
    b.problems[rows] = np.where(fits, 0, _LENGTH)
    _scalar(data, a, b, rows[function == SERVER_ID])


def _scalar(data: Bytes, a: Asked, b: Answered, rows: Index) -> None:
    for row in rows.tolist():
        at, size = int(b.at[row]), int(b.size[row])
        request = parse_request(pdu_of(data, a, row))
        reply = parse_reply(request, data.chars[at : at + size].tobytes())
        b.problems[row] = reply.problems
        if reply.values and not reply.problems:
            b.values[row] = reply.values
            b.value_count[row] = len(reply.values)
        b.texts.extend((row, number, text) for number, text in reply.texts)


_REPLIES: Final[dict[int, Callable[[Bytes, Asked, Answered, Index], None]]] = {
    kinds.READ: _read, kinds.BOTH: _read, kinds.WRITE_ONE: _echo,
    kinds.WRITE_MANY: _echo, kinds.MASK: _echo, kinds.FIFO: _fifo,
    kinds.BARE: _bare, kinds.DIAGNOSTIC: _diagnostic, kinds.RARE: _scalar,
}  # fmt: skip
