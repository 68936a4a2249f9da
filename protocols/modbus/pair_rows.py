"""A ``PairBatch`` of exchanges that were found one by one, as on serial lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from protocols.modbus.exchanges import NO_REPLY, NO_REQUEST, PairBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.frames import I64

TAIL: Final = 260  # zeros behind ``PairBatch.chars``
UNJUDGED: Final = 0
NO_RULE: Final = -1


class PairRow(NamedTuple):
    """One exchange: PDUs, None where there is none."""

    request: bytes | None
    reply: bytes | None
    time_ns: int
    reply_ns: int  # 0 where no reply came
    unit: int
    client: int
    server: int
    link: int
    problems: int = 0
    tid: int = 0


def batch_of(rows: Sequence[PairRow]) -> PairBatch:
    """Return the rows in columns, in order of time; nobody has judged them."""
    rows = sorted(rows, key=lambda row: row.time_ns)
    parts = [part or b"" for row in rows for part in (row.request, row.reply)]
    sizes = np.array([len(part) for part in parts], np.int64)
    at = (np.cumsum(sizes) - sizes).reshape(-1, 2)
    size = sizes.astype(np.uint16).reshape(-1, 2)
    asked = np.array([row.request is not None for row in rows], np.bool_)
    told = np.array([row.reply is not None for row in rows], np.bool_)
    return PairBatch(
        chars=np.frombuffer(b"".join(parts) + bytes(TAIL), np.uint8),
        time_ns=_column([row.time_ns for row in rows]),
        reply_ns=_column([row.reply_ns for row in rows]),
        client=_column([row.client for row in rows]).astype(np.uint16),
        server=_column([row.server for row in rows]).astype(np.uint16),
        link=_column([row.link for row in rows]).astype(np.uint8),
        unit=_column([row.unit for row in rows]).astype(np.uint8),
        tid=_column([row.tid for row in rows]).astype(np.uint16),
        request_at=np.where(asked, at[:, 0], NO_REQUEST),
        request_size=size[:, 0],
        reply_at=np.where(told, at[:, 1], NO_REPLY),
        reply_size=size[:, 1],
        problems=_column([row.problems for row in rows]).astype(np.uint32),
        verdict=np.full(len(rows), UNJUDGED, np.uint8),
        rule=np.full(len(rows), NO_RULE, np.int16),
        reason=np.zeros(len(rows), np.uint8),
    )


def _column(values: list[int]) -> I64:
    return np.array(values, np.int64)
