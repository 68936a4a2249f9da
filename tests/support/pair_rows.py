"""A ``PairBatch`` from PDUs written down one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from protocols.modbus.exchanges import NO_REPLY, NO_REQUEST, PairBatch
from protocols.modbus.pair_rows import TAIL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

K = TypeVar("K", bound=np.generic)


@dataclass(frozen=True)
class Row:
    """One exchange: PDUs, or None where there is none."""

    request: bytes | None
    reply: bytes | None
    problems: int = 0
    time_ns: int = 0
    unit: int = 1
    link: int = 0
    client: int = 1
    server: int = 2
    tid: int = 0
    verdict: int = 0
    rule: int = -1
    reason: int = 0


def pair_batch(rows: Sequence[Row]) -> PairBatch:
    """Return the rows in columns; a reply comes 1 ms after its request."""
    parts = [part or b"" for row in rows for part in (row.request, row.reply)]
    size = np.array([len(part) for part in parts], np.int64)
    at = (np.cumsum(size) - size).reshape(-1, 2)
    size = size.reshape(-1, 2)
    asked = np.array([row.request is not None for row in rows], np.bool_)
    told = np.array([row.reply is not None for row in rows], np.bool_)
    time_ns = _column(rows, "time_ns", np.int64)
    return PairBatch(
        chars=np.frombuffer(b"".join(parts) + bytes(TAIL), np.uint8),
        time_ns=time_ns,
        reply_ns=np.where(told, time_ns + 1_000_000, 0),
        client=_column(rows, "client", np.uint16),
        server=_column(rows, "server", np.uint16),
        link=_column(rows, "link", np.uint8),
        unit=_column(rows, "unit", np.uint8),
        tid=_column(rows, "tid", np.uint16),
        request_at=np.where(asked, at[:, 0], NO_REQUEST),
        request_size=size[:, 0].astype(np.uint16),
        reply_at=np.where(told, at[:, 1], NO_REPLY),
        reply_size=size[:, 1].astype(np.uint16),
        problems=_column(rows, "problems", np.uint32),
        verdict=_column(rows, "verdict", np.uint8),
        rule=_column(rows, "rule", np.int16),
        reason=_column(rows, "reason", np.uint8),
    )


def _column(rows: Sequence[Row], name: str, kind: type[K]) -> NDArray[K]:
    return np.array([int(getattr(row, name)) for row in rows], kind)
