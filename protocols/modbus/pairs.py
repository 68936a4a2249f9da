"""Requests with their replies, decoded in columns.

The same fields and the same findings as the scalar codec (``pdu``, ``pdu_reply``),
which decides one request at a time in the proxy. No loop over rows but for functions
17, 20, 21 and 43.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.modbus.exchanges import ExchangeBatch, PairBatch, Problem
from protocols.modbus.functions import FUNCTION_MAX, WRITE_COIL, WRITE_COILS
from protocols.modbus.pair_rows import NO_RULE, TAIL
from protocols.modbus.pairs_reply import Answered, answer
from protocols.modbus.pairs_request import ask
from protocols.modbus.ragged import Bytes, bytes_of, gather, offsets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TypeAlias

    from numpy.typing import NDArray

    from protocols.frames import I64, U16, Bool

FRAMING: Final = int(Problem.PROTOCOL | Problem.LENGTH | Problem.CHECKSUM)


def decode_pairs(pairs: PairBatch) -> ExchangeBatch:
    """Return every field of every exchange, and what does not fit; never raises.

    Row i is row i of ``pairs``. Values that do not fit are not there: the written ones
    of a malformed request, the read ones of a malformed reply. UNSOLICITED and
    UNANSWERED are for who pairs to say: a row without a request or reply gets neither
    here. A row without a request has no place and writes nothing.
    """
    if not len(pairs):
        return empty_exchanges()
    data = bytes_of(pairs.chars)
    has_request, has_reply = pairs.request_at >= 0, pairs.reply_at >= 0
    asked = ask(data, pairs.request_at, pairs.request_size)
    told = answer(data, asked, has_request, pairs.reply_at, pairs.reply_size)
    framing = (pairs.problems & FRAMING) != 0
    malformed = (asked.problems != 0) | (framing & has_request & ~has_reply)
    written = np.where(malformed, 0, asked.value_count)
    coils = (asked.function == WRITE_COIL) | (asked.function == WRITE_COILS)
    write_offset = offsets(written)
    came = np.where(framing, 0, told.value_count)
    read_offset = offsets(came)
    alone = ~has_request & (told.size > 0)
    return ExchangeBatch(
        time_ns=pairs.time_ns, reply_ns=pairs.reply_ns,
        client=pairs.client, server=pairs.server,
        link=pairs.link, unit=pairs.unit, tid=pairs.tid,
        function=np.where(
            alone, data.chars[pairs.reply_at] & FUNCTION_MAX, asked.function
        ),
        sub=asked.sub, table=asked.table, address=asked.address, count=asked.count,
        write_address=asked.write_address, write_count=asked.write_count,
        is_write=asked.is_write, malformed=malformed, exception=told.exception,
        problems=pairs.problems | asked.problems | told.problems,
        verdict=pairs.verdict, rule=pairs.rule, reason=pairs.reason,
        alert=np.full(len(pairs), NO_RULE, np.int16),
        read_offset=read_offset,
        read_values=_read_values(data, told, asked.table <= 1, came, read_offset),
        write_offset=write_offset,
        write_values=gather(data, asked.value_at, written, coils, write_offset),
        texts=tuple(text for text in told.texts if not framing[text[0]]),
    )  # fmt: skip


def _read_values(
    data: Bytes, told: Answered, coils: Bool, counts: I64, offset: I64
) -> U16:
    values = gather(data, told.value_at, counts, coils, offset)
    for row, found in told.values.items():
        if counts[row]:
            values[offset[row] : offset[row + 1]] = found
    return values


# --- Joining --------------------------------------------------------------------------

if TYPE_CHECKING:
    Columns: TypeAlias = dict[str, NDArray[Any]]

_PAIR_TYPES: Final = {
    "time_ns": np.int64, "reply_ns": np.int64, "client": np.uint16,
    "server": np.uint16, "link": np.uint8, "unit": np.uint8, "tid": np.uint16,
    "request_at": np.int64, "request_size": np.uint16, "reply_at": np.int64,
    "reply_size": np.uint16, "problems": np.uint32, "verdict": np.uint8,
    "rule": np.int16, "reason": np.uint8,
}  # fmt: skip
_EXCHANGE_TYPES: Final = {
    "time_ns": np.int64, "reply_ns": np.int64, "client": np.uint16,
    "server": np.uint16, "link": np.uint8, "unit": np.uint8, "tid": np.uint16,
    "function": np.uint8, "sub": np.uint16, "table": np.uint8, "address": np.uint16,
    "count": np.uint16, "write_address": np.uint16, "write_count": np.uint16,
    "is_write": np.bool_, "malformed": np.bool_, "exception": np.uint8,
    "problems": np.uint32, "verdict": np.uint8, "rule": np.int16, "reason": np.uint8,
    "alert": np.int16, "read_values": np.uint16, "write_values": np.uint16,
}  # fmt: skip


def empty_pairs() -> PairBatch:
    """Return a batch of no exchanges."""
    columns: Columns = {n: np.empty(0, kind) for n, kind in _PAIR_TYPES.items()}
    return PairBatch(chars=np.zeros(TAIL, np.uint8), **columns)


def empty_exchanges() -> ExchangeBatch:
    """Return a batch of no exchanges."""
    columns: Columns = {n: np.empty(0, kind) for n, kind in _EXCHANGE_TYPES.items()}
    columns |= {
        "read_offset": np.zeros(1, np.int64),
        "write_offset": np.zeros(1, np.int64),
    }
    return ExchangeBatch(texts=(), **columns)


def take_pairs(pairs: PairBatch, rows: Bool) -> PairBatch:
    """Return the rows that ``rows`` [N] tells, in the same bytes."""
    return replace(pairs, **{name: getattr(pairs, name)[rows] for name in _PAIR_TYPES})


def concat_pairs(batches: Sequence[PairBatch]) -> PairBatch:
    """Join batches in order."""
    if not batches:
        return empty_pairs()
    if len(batches) == 1:
        return batches[0]
    before = offsets(np.array([len(batch.chars) for batch in batches], np.int64))
    columns: Columns = {
        name: np.concatenate([getattr(batch, name) for batch in batches])
        for name in _PAIR_TYPES
    }
    shift = np.repeat(before[:-1], [len(batch) for batch in batches])
    for name in ("request_at", "reply_at"):
        columns[name] = np.where(columns[name] < 0, -1, columns[name] + shift)
    return PairBatch(
        chars=np.concatenate([batch.chars for batch in batches]), **columns
    )


def concat_exchanges(batches: Sequence[ExchangeBatch]) -> ExchangeBatch:
    """Join batches in order."""
    if not batches:
        return empty_exchanges()
    if len(batches) == 1:
        return batches[0]
    columns: Columns = {
        name: np.concatenate([getattr(batch, name) for batch in batches])
        for name in _EXCHANGE_TYPES
    }
    for name in ("read_offset", "write_offset"):
        counts = [np.diff(getattr(batch, name)) for batch in batches]
        columns[name] = offsets(np.concatenate(counts))
    first = offsets(np.array([len(batch) for batch in batches], np.int64)).tolist()
    texts = tuple(
        (row + start, number, text)
        for start, batch in zip(first[:-1], batches, strict=True)
        for row, number, text in batch.texts
    )
    return ExchangeBatch(texts=texts, **columns)


assert len(fields(PairBatch)) == len(_PAIR_TYPES) + 1
assert len(fields(ExchangeBatch)) == len(_EXCHANGE_TYPES) + 3
