"""What passed through the proxies, on its way to the flow: bounded, two threads.

The proxies' thread appends what it has at hand, the flow's makes columns of it. A
deque's ``append`` and ``popleft`` are atomic, so neither waits for the other.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.modbus.exchanges import NO_REPLY, NO_REQUEST, PairBatch, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.adapters.modbus.proxy_master import Asked
    from agent.adapters.modbus.proxy_rules import Judging
    from protocols.frames import I64

ROWS_MAX: Final = 65_536  # some 60 MB at the very worst; taken every 100 ms
ROWS_A_BATCH_MAX: Final = 8192
TAIL: Final = bytes(260)  # PairBatch: so that a gather of a whole PDU never overruns
UNJUDGED: Final = (int(Verdict.UNJUDGED), -1, 0)


class ProxyLog:
    """The queue between the two threads."""

    def __init__(self, rows_max: int = ROWS_MAX) -> None:
        """Keep at most ``rows_max`` rows; ``lost`` counts those beyond."""
        self.lost = 0
        self.wake: Callable[[], None] | None = None
        self._rows: deque[Asked] = deque()
        self._max = rows_max

    def append(self, row: Asked) -> None:
        """Add a row, and wake the flow where it is the first; the proxies' thread."""
        rows = self._rows
        if len(rows) >= self._max:
            self.lost += 1
            return
        rows.append(row)
        if len(rows) == 1 and self.wake is not None:
            with contextlib.suppress(RuntimeError):  # the flow's loop has ended
                self.wake()

    def __len__(self) -> int:
        """Return the rows that wait."""
        return len(self._rows)

    def take(self) -> PairBatch | None:
        """Return what waits, in order of time, at most ``ROWS_A_BATCH_MAX`` rows."""
        rows = self._taken()
        return _batch(rows) if rows else None

    def take_by_judge(self) -> list[tuple[Judging | None, PairBatch]]:
        """Return the same, by whose rules ``rule`` numbers: mostly one batch."""
        rows = self._taken()
        judges = {id(row.judge): row.judge for row in rows}
        return [
            (judge, _batch([row for row in rows if row.judge is judge]))
            for judge in judges.values()
        ]

    def _taken(self) -> list[Asked]:
        waiting = self._rows
        rows = [waiting.popleft() for _ in range(min(len(waiting), ROWS_A_BATCH_MAX))]
        if waiting and self.wake is not None:
            self.wake()  # more than a batch: come again
        rows.sort(key=lambda row: row.time_ns)
        return rows


def _batch(rows: list[Asked]) -> PairBatch:
    requests, replies = [row.pdu for row in rows], [row.reply for row in rows]
    sizes = np.array([*map(len, requests), *map(len, replies)], np.int64)
    starts = np.cumsum(sizes) - sizes
    judged = [
        UNJUDGED
        if (made := row.decision) is None
        else (made.verdict, made.rule, made.reason)
        for row in rows
    ]
    verdict, rule, reason = np.array(judged, np.int64).T
    problems = [
        row.problems | (row.request.problems if row.request else 0) for row in rows
    ]
    half = len(rows)
    return PairBatch(
        chars=np.frombuffer(b"".join([*requests, *replies, TAIL]), np.uint8),
        time_ns=_column([row.time_ns for row in rows]),
        reply_ns=_column([row.reply_ns for row in rows]),
        client=_column([row.master.caller.number for row in rows]).astype(np.uint16),
        server=_column([row.place.server for row in rows]).astype(np.uint16),
        link=_column([row.place.link for row in rows]).astype(np.uint8),
        unit=_column([row.unit for row in rows]).astype(np.uint8),
        tid=_column([row.tid for row in rows]).astype(np.uint16),
        request_at=np.where(sizes[:half] > 0, starts[:half], NO_REQUEST),
        request_size=sizes[:half].astype(np.uint16),
        reply_at=np.where(sizes[half:] > 0, starts[half:], NO_REPLY),
        reply_size=sizes[half:].astype(np.uint16),
        problems=_column(problems).astype(np.uint32),
        verdict=verdict.astype(np.uint8),
        rule=rule.astype(np.int16),
        reason=reason.astype(np.uint8),
    )


def _column(values: list[int]) -> I64:
    return np.array(values, np.int64)
