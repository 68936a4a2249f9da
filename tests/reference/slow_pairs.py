"""Exchanges row by row through the scalar codec, as the columns must have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocols.modbus.exchanges import NO_SUB, Problem
from protocols.modbus.functions import NO_TABLE
from protocols.modbus.pairs import FRAMING, decode_pairs
from protocols.modbus.pdu import parse_request
from protocols.modbus.pdu_reply import parse_reply
from tests.support.pair_rows import Row, pair_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.modbus.exchanges import ExchangeBatch

P = Problem


def told(row: Row) -> dict[str, object]:
    """Return what the scalar codec says of one row."""
    request, reply = row.request, row.reply
    framing = row.problems & FRAMING
    problems, exception = row.problems, 0
    values: tuple[int, ...] = ()
    texts: tuple[tuple[int, bytes], ...] = ()
    if request is None:
        fields_ = (reply[0] & 0x7F if reply else 0, NO_SUB, NO_TABLE, 0, 0, 0, 0, False)
        malformed, written = False, ()
        if reply is not None:
            problems |= P.LENGTH if not 1 <= len(reply) <= 253 else 0
            if 1 <= len(reply) <= 253 and reply[0] > 0x7F:
                # Held against a request of the same function, well-formed or not.
                got = parse_reply(parse_request(bytes([reply[0] & 0x7F])), reply)
                problems, exception = problems | got.problems, got.exception
    else:
        one = parse_request(request)
        fields_ = (
            one.function, one.sub, one.table, one.address, one.count,
            one.write_address, one.write_count, one.is_write,
        )  # fmt: skip
        malformed = bool(one.problems) or bool(framing and reply is None)
        written = () if malformed else one.write_values
        problems |= one.problems
        if reply is not None:
            got = parse_reply(one, reply)
            problems, exception = problems | got.problems, got.exception
            values = () if framing else got.values
            texts = () if framing else got.texts
    return {
        "fields": fields_, "malformed": malformed, "written": written,
        "problems": int(problems), "exception": exception, "values": values,
        "texts": texts,
    }  # fmt: skip


def shown(batch: ExchangeBatch, row: int) -> dict[str, object]:
    """Return the same of a row in columns."""
    b = batch
    names = (
        "function", "sub", "table", "address", "count", "write_address", "write_count",
        "is_write",
    )  # fmt: skip
    return {
        "fields": tuple(getattr(b, name)[row].item() for name in names),
        "malformed": b.malformed[row].item(),
        "written": tuple(
            b.write_values[b.write_offset[row] : b.write_offset[row + 1]].tolist()
        ),
        "problems": b.problems[row].item(),
        "exception": b.exception[row].item(),
        "values": tuple(
            b.read_values[b.read_offset[row] : b.read_offset[row + 1]].tolist()
        ),
        "texts": tuple((number, text) for at, number, text in b.texts if at == row),
    }


def agree(rows: Sequence[Row]) -> ExchangeBatch:
    """Decode rows in columns and hold each against the scalar codec."""
    made = decode_pairs(pair_batch(rows))
    for index, row in enumerate(rows):
        assert shown(made, index) == told(row), row
    return made
