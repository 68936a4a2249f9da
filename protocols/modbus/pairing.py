"""Requests and the replies to them: by connection, unit and transaction identifier.

Where requests and replies of one identifier take turns they are joined all at once;
only identifiers that repeat or lack one of the two are walked through one by one. What
is not answered waits, bounded, from batch to batch. Where bytes are known to be missing
nobody is accused: a request is UNANSWERED and a reply UNSOLICITED only as far as
everything was seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.modbus.adus import TAIL
from protocols.modbus.exchanges import (
    NO_REPLY,
    NO_REQUEST,
    PairBatch,
    Problem,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import TypeAlias

    from numpy.typing import NDArray

    from protocols.frames import I64, U8, U32, Bool
    from protocols.modbus.adus import Adus
    from protocols.modbus.connections import Connections
    from protocols.modbus.reassembly import StreamCounts

    Asks: TypeAlias = NDArray[np.void]

WAIT_NS: Final = 5_000_000_000  # for a reply; masters give up after 1 to 3 s
AGAIN_NS: Final = 250_000_000  # an identifier used again later: the first was given up
EARLY_NS: Final = 1_000_000_000  # a reply that was captured before its request
PENDING_MAX: Final = 32  # of one connection and unit
PENDING_TOTAL_MAX: Final = 8192
_NO_RULE: Final = -1
_UNANSWERED: Final = int(Problem.UNANSWERED)
_UNSOLICITED: Final = int(Problem.UNSOLICITED)
_REPEATED: Final = int(Problem.REPEATED)
# One ADU: its connection (row in the table, serial), who, what, and where it lies.
_ASK: Final = np.dtype(
    [
        ("row", "i8"), ("serial", "i8"), ("asks", "?"), ("client", "u2"),
        ("server", "u2"), ("link", "u1"), ("unit", "u1"), ("tid", "u2"),
        ("problems", "u4"), ("time", "i8"), ("order", "i8"), ("until", "i8"),
        ("acked", "i8"), ("at", "i8"), ("size", "i8"),
    ]
)  # fmt: skip


class Pairing:
    """Joins requests and replies; holds requests that wait for theirs."""

    def __init__(self, connections: Connections, counts: StreamCounts) -> None:
        """Begin with nothing that waits."""
        self._table = connections
        self._counts = counts
        self._open = np.empty(0, _ASK)
        self._open_chars: U8 = np.empty(0, np.uint8)

    @property
    def pending(self) -> int:
        """Return how many ADUs wait for their counterpart."""
        return len(self._open)

    def feed(
        self, adus: Adus, now_ns: int, *, restarted: Collection[int], is_last: bool
    ) -> PairBatch:
        """Return what is complete, or will not be any more, in order of time.

        ``restarted``: serials of connections whose endpoints opened another one.
        ``is_last``: nothing more will come.
        """
        asks, chars = self._all(adus)
        order = np.argsort(asks["order"], kind="stable")
        key = asks["serial"] << 24 | asks["unit"].astype(np.int64) << 16 | asks["tid"]
        order = order[np.argsort(key[order], kind="stable")]
        asks, key = asks[order], key[order]
        partner, problems, is_over, given_up = _join(asks, key)
        self._counts.overdue += given_up
        request = np.flatnonzero(asks["asks"])
        reply = partner[request]
        alone = np.flatnonzero(partner < 0)
        waits = self._waits(asks[alone], is_over[alone], now_ns)
        if is_last:
            late = now_ns - asks["time"][alone] < WAIT_NS
            is_seen = ~(late & waits & asks["asks"][alone])
            waits[:] = False
        else:
            is_seen = np.ones(len(alone), np.bool_)
        is_seen &= self._is_seen(asks[alone], restarted)
        lacks = np.where(asks["asks"][alone], _UNANSWERED, _UNSOLICITED)
        problems[alone] |= np.where(is_seen & ~waits, lacks, 0).astype(np.uint32)
        self._keep(asks[alone[waits]], problems[alone[waits]], chars)
        goes = np.ones(len(asks), np.bool_)
        goes[alone[waits]] = False
        goes_reply = goes & ~asks["asks"] & (partner < 0)
        kept = goes[request]
        first = np.concatenate([request[kept], np.flatnonzero(goes_reply)])
        second = np.concatenate([reply[kept], np.full(int(goes_reply.sum()), -1)])
        return _batch(asks, chars, first, second, problems)

    def _all(self, adus: Adus) -> tuple[Asks, U8]:
        """Return what waits and what is new, and the bytes of both."""
        table, slot = self._table, adus.slot
        row = slot >> 1
        asks = (slot & 1) == table.client_side[row]
        client = np.where(asks, slot, slot ^ 1)
        made = np.empty(len(adus), _ASK)
        made["row"], made["serial"], made["asks"] = row, table.serial[row], asks
        made["client"], made["server"] = table.number[client], table.number[client ^ 1]
        made["link"] = table.link_of[client ^ 1]
        made["unit"], made["tid"], made["problems"] = adus.unit, adus.tid, adus.problems
        made["time"], made["order"] = adus.time_ns, adus.order
        made["until"], made["acked"] = adus.until, adus.acked
        made["at"], made["size"] = adus.at, adus.size
        if not len(self._open):
            return made, adus.chars
        self._open["at"] += len(adus.chars)
        chars = np.concatenate([adus.chars, self._open_chars, np.zeros(TAIL, np.uint8)])
        return np.concatenate([self._open, made]), chars

    def _waits(self, alone: Asks, is_over: Bool, now_ns: int) -> Bool:
        """Tell [N] ADUs whose counterpart may still come."""
        table, row = self._table, alone["row"]
        is_request = alone["asks"]
        is_there = table.serial[row] == alone["serial"]
        ended = table.ended[2 * row] & table.ended[2 * row + 1]
        waited = now_ns - alone["time"]
        waits: Bool = is_request & ~is_over & is_there & ~ended & (waited < WAIT_NS)
        # A reply to bytes that were not seen yet: captured in another order.
        client = 2 * row + table.client_side[row]
        ahead = _distance(alone["acked"], table.next[client]) > 0
        ahead &= (alone["acked"] >= 0) & table.known[client]
        waits |= ~is_request & is_there & ahead & (waited < EARLY_NS)
        if not waits.any():
            return waits
        held = np.flatnonzero(waits)
        newest = held[
            np.lexsort(
                (-alone["time"][held], alone["unit"][held], alone["serial"][held])
            )
        ]
        place = alone["serial"][newest] << 8 | alone["unit"][newest]
        begins = np.flatnonzero(np.append(True, place[1:] != place[:-1]))
        rank = np.arange(len(newest)) - np.repeat(
            begins, np.diff(np.append(begins, len(newest)))
        )
        waits[newest[rank >= PENDING_MAX]] = False
        held = np.flatnonzero(waits)
        if len(held) > PENDING_TOTAL_MAX:
            oldest = np.argsort(alone["time"][held], kind="stable")
            waits[held[oldest[: len(held) - PENDING_TOTAL_MAX]]] = False
        self._counts.overdue += len(newest) - int(np.count_nonzero(waits))
        return waits

    def _is_seen(self, alone: Asks, restarted: Collection[int]) -> Bool:
        """Tell [N] ADUs whose counterpart would have been seen, had it been there."""
        table, row = self._table, alone["row"]
        is_there = table.serial[row] == alone["serial"]
        if restarted:
            old = np.isin(alone["serial"], np.array(sorted(restarted), np.int64))
        else:
            old = np.zeros(len(alone), np.bool_)
        side = table.client_side[row]
        other = 2 * row + np.where(alone["asks"], 1 - side, side)
        lost = table.lost_ns[other]
        clean = np.where(
            alone["asks"], lost < alone["time"], lost < alone["time"] - WAIT_NS
        )
        ahead = _distance(alone["acked"], table.next[other]) > 0
        clean |= lost < 0
        clean &= alone["asks"] | ~ahead | (alone["acked"] < 0)
        seen: Bool = (is_there & table.known[other] & clean) | old
        return seen

    def _keep(self, asks: Asks, problems: U32, chars: U8) -> None:
        """Hold ADUs, with bytes of their own, until the next batch."""
        size = asks["size"]
        start = np.cumsum(size) - size
        place = np.repeat(asks["at"] - start, size) + np.arange(int(size.sum()))
        self._open_chars = chars[place]
        held = asks.copy()
        held["at"], held["problems"] = start, problems
        held["order"] = -1
        self._open = held[np.argsort(held["time"], kind="stable")]


def _join(asks: Asks, key: I64) -> tuple[I64, U32, Bool, int]:
    """Return partners [N] (-1 none), problems [N], requests [N] that were given up.

    And how many of those for want of room. Rows are sorted by key, and then by when
    they came.
    """
    count = len(asks)
    partner = np.full(count, -1, np.int64)
    problems = asks["problems"].copy()
    is_over = np.zeros(count, np.bool_)
    given_up = 0
    if not count:
        return partner, problems, is_over, given_up
    first = np.append(True, key[1:] != key[:-1])
    begin = np.flatnonzero(first)
    size = np.diff(np.append(begin, count))
    place = np.arange(count) - np.repeat(begin, size)
    turns = np.logical_and.reduceat(asks["asks"] == (place % 2 == 0), begin)
    regular = np.repeat(turns, size)
    replies = np.flatnonzero(regular & ~asks["asks"])
    partner[replies], partner[replies - 1] = replies - 1, replies
    for group in np.flatnonzero(~turns).tolist():
        rows = range(int(begin[group]), int(begin[group] + size[group]))
        given_up += _walk(asks, rows, partner, problems, is_over)
    return partner, problems, is_over, given_up


def _walk(asks: Asks, rows: range, partner: I64, problems: U32, is_over: Bool) -> int:
    """Join the ADUs of one identifier, which do not take turns.

    Who repeats one identifier without end must not make us look back without end: at
    most ``PENDING_MAX`` wait. Return how many requests were given up for that.
    """
    is_request = asks["asks"][rows.start : rows.stop].tolist()
    times = asks["time"][rows.start : rows.stop].tolist()
    until = asks["until"][rows.start : rows.stop].tolist()
    acked = asks["acked"][rows.start : rows.stop].tolist()
    pending: list[int] = []
    early: list[int] = []
    given_up = 0
    for at in range(len(rows)):
        if not is_request[at]:
            if pending:
                request = pending.pop(0)
                partner[rows[request]], partner[rows[at]] = rows[at], rows[request]
            elif acked[at] >= 0:
                early.append(at)
                del early[:-PENDING_MAX]
            continue
        for reply in early:  # captured before what it answers
            if _signed(acked[reply] - until[at]) >= 0:
                partner[rows[at]], partner[rows[reply]] = rows[reply], rows[at]
                early.remove(reply)
                break
        else:
            for request in pending:
                is_over[rows[request]] |= times[at] - times[request] > AGAIN_NS
            pending = [one for one in pending if not is_over[rows[one]]]
            if pending:
                problems[rows[at]] |= _REPEATED
            if len(pending) >= PENDING_MAX:
                is_over[rows[pending.pop(0)]] = True
                given_up += 1
            pending.append(at)
    return given_up


def _batch(asks: Asks, chars: U8, first: I64, second: I64, problems: U32) -> PairBatch:
    """Return the rows: ``first`` a request, or a reply alone; ``second`` -1 or it."""
    order = np.argsort(asks["time"][first], kind="stable")
    first, second = first[order], second[order]
    lead = asks[first]
    asked = lead["asks"]
    answered = second >= 0
    told = asks[second]  # of any row where there is none
    told_at = np.where(asked, told["at"], lead["at"])
    has_reply = answered | ~asked
    count = len(first)
    return PairBatch(
        chars=chars,
        time_ns=lead["time"].copy(),
        reply_ns=np.where(asked, np.where(answered, told["time"], 0), lead["time"]),
        client=lead["client"].copy(),
        server=lead["server"].copy(),
        link=lead["link"].copy(),
        unit=lead["unit"].copy(),
        tid=lead["tid"].copy(),
        request_at=np.where(asked, lead["at"], NO_REQUEST),
        request_size=np.where(asked, lead["size"], 0).astype(np.uint16),
        reply_at=np.where(has_reply, told_at, NO_REPLY),
        reply_size=np.where(
            has_reply, np.where(asked, told["size"], lead["size"]), 0
        ).astype(np.uint16),
        problems=problems[first] | np.where(answered, problems[second], 0).astype("u4"),
        verdict=np.full(count, int(Verdict.UNJUDGED), np.uint8),
        rule=np.full(count, _NO_RULE, np.int16),
        reason=np.zeros(count, np.uint8),
    )


def _distance(sequence: I64, base: I64) -> I64:
    distance: I64 = (sequence - base + (1 << 31)) % (1 << 32) - (1 << 31)
    return distance


def _signed(distance: int) -> int:
    return (distance + (1 << 31)) % (1 << 32) - (1 << 31)
