"""What passed through the proxies, on its way to the flow: bounded, two threads.

The proxies' thread appends what it has at hand, the flow's makes columns of it. A
deque's ``append`` and ``popleft`` are atomic, so neither waits for the other.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from protocols.modbus.exchanges import NO_REPLY, NO_REQUEST, PairBatch, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.adapters.modbus.proxy_master import Asked
    from protocols.frames import I64

ROWS_MAX: Final = 65_536  # some 60 MB at the very worst; taken every 100 ms
ROWS_A_BATCH_MAX: Final = 8192
TAIL: Final = bytes(260)  # PairBatch: so that a gather of a whole PDU never overruns
UNJUDGED: Final = (int(Verdict.UNJUDGED), -1, 0)


class Place(NamedTuple):
    """Which device an exchange belongs to."""

    link: int  # number of the link
    server: int  # of its device in ``Peers``


class Told(NamedTuple):
    """One exchange, as the core has it. ``reply``: what the device itself said."""

    asked: Asked
    place: Place
    problems: int  # of the reply, and of pairing
    reply_ns: int  # 0 where none came
    reply: bytes  # PDU, b"" where none came


class ProxyLog:
    """The queue between the two threads."""

    def __init__(self, rows_max: int = ROWS_MAX) -> None:
        """Keep at most ``rows_max`` rows; ``lost`` counts those beyond."""
        self.lost = 0
        self.wake: Callable[[], None] | None = None
        self._rows: deque[Told] = deque()
        self._max = rows_max

    def append(self, told: Told) -> None:
        """Add a row, and wake the flow where it is the first; the proxies' thread."""
        rows = self._rows
        if len(rows) >= self._max:
            self.lost += 1
            return
        rows.append(told)
        if len(rows) == 1 and self.wake is not None:
            with contextlib.suppress(RuntimeError):  # the flow's loop has ended
                self.wake()

    def __len__(self) -> int:
        """Return the rows that wait."""
        return len(self._rows)

    def take(self) -> PairBatch | None:
        """Return what waits, in order of time, at most ``ROWS_A_BATCH_MAX`` rows."""
        waiting = self._rows
        rows = [waiting.popleft() for _ in range(min(len(waiting), ROWS_A_BATCH_MAX))]
        if not rows:
            return None
        if waiting and self.wake is not None:
            self.wake()  # more than a batch: come again
        rows.sort(key=lambda told: told.asked.time_ns)
        return _batch(rows)


def _batch(rows: list[Told]) -> PairBatch:
    asked = [told.asked for told in rows]
    requests, replies = [one.pdu for one in asked], [told.reply for told in rows]
    sizes = np.array([*map(len, requests), *map(len, replies)], np.int64)
    starts = np.cumsum(sizes) - sizes
    judged = [
        UNJUDGED
        if (made := one.decision) is None
        else (made.verdict, made.rule, made.reason)
        for one in asked
    ]
    verdict, rule, reason = np.array(judged, np.int64).T
    problems = [
        told.problems | one.problems | (one.request.problems if one.request else 0)
        for told, one in zip(rows, asked, strict=True)
    ]
    half = len(rows)
    return PairBatch(
        chars=np.frombuffer(b"".join([*requests, *replies, TAIL]), np.uint8),
        time_ns=_column([one.time_ns for one in asked]),
        reply_ns=_column([told.reply_ns for told in rows]),
        client=_column([one.master.caller.number for one in asked]).astype(np.uint16),
        server=_column([told.place.server for told in rows]).astype(np.uint16),
        link=_column([told.place.link for told in rows]).astype(np.uint8),
        unit=_column([one.unit for one in asked]).astype(np.uint8),
        tid=_column([one.tid for one in asked]).astype(np.uint16),
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
