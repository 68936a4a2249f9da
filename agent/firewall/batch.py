"""Judges exchanges in columns: what a tap saw, and what an ``alert`` rule tells of all.

Rows of one kind (master, device, function, addresses) are judged once; only those that
a limit decides are judged one by one, in order of time, with what was learnt by then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from agent.firewall.decision import Caller
from protocols.modbus.exchanges import UNLISTED, Problem, Verdict
from protocols.modbus.pdu import Request
from protocols.modbus.pdu_reply import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from agent.firewall.judge import Judge
    from protocols.frames import I64, U64, Bool
    from protocols.modbus.exchanges import ExchangeBatch

# Found on the request itself; what concerns the reply is not the master's fault.
_REPLY: Final = int(
    Problem.FUNCTION
    | Problem.ECHO
    | Problem.REPLY_LENGTH
    | Problem.UNANSWERED
    | Problem.EXCEPTION
)
_FRAMING: Final = int(Problem.PROTOCOL | Problem.CHECKSUM)
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)  # odd, of the golden ratio


def judge_batch(
    judge: Judge,
    exchanges: ExchangeBatch,
    names: Sequence[str],
    *,
    clock_ok: bool,
) -> ExchangeBatch:
    """Return the exchanges with verdict, rule and reason, and with ``alert``.

    ``names``: of masters, by number. Rows that a proxy has judged keep its verdict, and
    get ``alert``. Replies that no request is known of are not judged.
    """
    if not len(exchanges):
        return exchanges
    verdict, rule = exchanges.verdict.copy(), exchanges.rule.copy()
    reason, alert = exchanges.reason.copy(), exchanges.alert.copy()
    asked = (exchanges.problems & np.uint32(Problem.UNSOLICITED)) == 0
    mine = asked & (exchanges.verdict == Verdict.UNJUDGED)
    kinds = _Kinds.of(judge, exchanges, names)
    of_kind = kinds.decided[kinds.group]
    decided = mine & ~kinds.is_single[kinds.group]
    verdict[decided] = of_kind[decided, 0].astype(np.uint8)
    rule[decided] = of_kind[decided, 1]
    reason[decided] = of_kind[decided, 2].astype(np.uint8)
    alert[asked] = of_kind[asked, 3]
    compares = _compared(exchanges, kinds)
    single = mine & (kinds.is_single[kinds.group] | (compares & exchanges.is_write))
    for row in _in_turn(judge, exchanges, single, compares, kinds.group):
        decision = judge.judge(
            kinds.callers[int(exchanges.client[row])], _link_of(exchanges, row),
            int(exchanges.unit[row]), request_of(exchanges, row),
            int(exchanges.time_ns[row]), clock_ok=clock_ok,
        )  # fmt: skip
        verdict[row], rule[row] = decision.verdict, decision.rule
        reason[row] = decision.reason
    return replace(exchanges, verdict=verdict, rule=rule, reason=reason, alert=alert)


@dataclass(frozen=True, slots=True)
class _Kinds:
    """K kinds of rows, judged as far as their kind tells."""

    group: I64  # [N] each row's kind
    decided: NDArray[np.int16]  # [K, 4]: verdict, rule, reason, first alert or -1
    is_single: Bool  # [K] limits decide
    compares: Bool  # [K] with what came before, or is compared with
    callers: dict[int, Caller]

    @classmethod
    def of(cls, judge: Judge, exchanges: ExchangeBatch, names: Sequence[str]) -> _Kinds:
        """Judge one row of each kind."""
        first, group = _grouped(exchanges)
        numbers = np.unique(exchanges.client[first]).tolist()
        callers = {number: Caller(names[number], number) for number in numbers}
        decided = np.full((len(first), 4), -1, np.int16)
        single = np.zeros(len(first), np.bool_)
        compares = np.zeros(len(first), np.bool_)
        for kind, row in enumerate(first.tolist()):
            link, unit = _link_of(exchanges, row), int(exchanges.unit[row])
            request = request_of(exchanges, row)
            caller = callers[int(exchanges.client[row])]
            fixed, alerts = judge.known(caller, link, unit, request)
            compares[kind] = judge.past.meets(link, unit, request)
            single[kind] = fixed is None
            if fixed is not None:
                decided[kind, :3] = fixed.verdict, fixed.rule, fixed.reason
            decided[kind, 3] = alerts[0] if alerts else -1
        return cls(group, decided, single, compares, callers)


def _link_of(exchanges: ExchangeBatch, row: int) -> int:
    """Return a number of the device's own also where no link is known for it."""
    link = int(exchanges.link[row])
    return link if link != UNLISTED else UNLISTED + 1 + int(exchanges.server[row])


def _grouped(exchanges: ExchangeBatch) -> tuple[I64, I64]:
    """Return the first row of each kind, and each row's kind."""
    one = exchanges
    unlisted = np.where(one.link == UNLISTED, one.server, np.uint16(0))
    keys = (
        _packed((one.client, one.link, one.unit, one.function, unlisted)),
        _packed((one.sub, one.address, one.count, _is_wrong(one))),
        _packed((one.write_address, one.write_count)),
    )
    mixed = np.zeros(len(one), np.uint64)
    for key in keys:
        mixed = (mixed ^ key) * _MIX
        mixed ^= mixed >> np.uint64(32)
    first, group = _runs((mixed,))
    if any((key != key[first[group]]).any() for key in keys):
        return _runs(keys)  # two kinds that mix to the same: someone looked for them
    return first, group


def _packed(columns: tuple[NDArray[np.generic], ...]) -> U64:
    """Return columns side by side in 64 bits: 8 or 16 each."""
    out = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        out <<= np.uint64(8 * column.itemsize)
        out |= column.astype(np.uint64)
    return out


def _runs(keys: tuple[U64, ...]) -> tuple[I64, I64]:
    """Return the first row of each distinct key, and each row's number of it."""
    order = np.lexsort(keys) if len(keys) > 1 else np.argsort(keys[0])
    new = np.zeros(len(order), np.bool_)
    new[0] = True
    for key in keys:
        in_order = key[order]
        new[1:] |= in_order[1:] != in_order[:-1]
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(new) - 1
    return order[new], group


def _is_wrong(exchanges: ExchangeBatch) -> Bool:
    """Tell which requests are malformed; a vendor's function alone is not."""
    unknown = (exchanges.problems & np.uint32(Problem.UNKNOWN)) != 0
    framing = (exchanges.problems & np.uint32(_FRAMING)) != 0
    wrong: Bool = exchanges.malformed & (~unknown | framing)
    return wrong


def _in_turn(
    judge: Judge, exchanges: ExchangeBatch, wanted: Bool, compares: Bool, group: I64
) -> Iterator[int]:
    """Yield rows to judge in order of time; what came back before is learnt first."""
    rows = np.flatnonzero(wanted)
    # An answer comes after its request, whatever the clock of a capture resolves.
    answered = np.maximum(exchanges.reply_ns, exchanges.time_ns + 1)
    taught = _telling(judge, exchanges, rows, np.flatnonzero(compares), answered, group)
    when = np.concatenate([exchanges.time_ns[rows], answered[taught]])
    what = np.concatenate([rows, taught])
    is_reply = np.arange(len(what)) >= len(rows)
    for at in np.lexsort((what, ~is_reply, when)).tolist():
        row = int(what[at])
        if is_reply[at]:
            judge.answered(
                _link_of(exchanges, row), int(exchanges.unit[row]),
                request_of(exchanges, row), _reply_of(exchanges, row),
            )  # fmt: skip
        else:
            yield row


def _telling(
    judge: Judge,
    exchanges: ExchangeBatch,
    rows: I64,
    taught: I64,
    answered: I64,
    group: I64,
) -> I64:
    """Return which answers are worth learning: a poll repeats itself for ever.

    Of reads of the same between two judged requests the last one tells; of those that
    read nothing that is judged in this batch, the last one of all.
    """
    is_read = exchanges.write_count[taught] == 0
    reads = taught[is_read]
    if not len(reads):
        return taught
    times = np.sort(exchanges.time_ns[rows])
    # Answers come before requests of the same time.
    turn = np.searchsorted(times, answered[reads], "left")
    if not judge.past.is_scaled:
        turn[~_meets_written(exchanges, rows, reads)] = 0
    order = np.lexsort((reads, answered[reads], turn, group[reads]))
    reads, turn = reads[order], turn[order]
    is_last = np.ones(len(reads), np.bool_)
    is_last[:-1] = (group[reads][1:] != group[reads][:-1]) | (turn[1:] != turn[:-1])
    return np.concatenate([taught[~is_read], reads[is_last]])


def _meets_written(exchanges: ExchangeBatch, rows: I64, reads: I64) -> Bool:
    """Tell which reads lie between the first and last address judged there."""
    one = exchanges
    server = np.where(one.link == UNLISTED, one.server, np.uint16(0))
    place = _packed((one.link, one.unit, one.table, server))
    if not len(rows):
        return np.zeros(len(reads), np.bool_)
    order = rows[np.argsort(place[rows])]
    places, starts = np.unique(place[order], return_index=True)
    start = one.write_address.astype(np.int64)
    low = np.minimum.reduceat(start[order], starts)
    high = np.maximum.reduceat((start + one.write_count)[order], starts)
    at = np.minimum(np.searchsorted(places, place[reads]), len(places) - 1)
    first = one.address[reads].astype(np.int64)
    meets = (first < high[at]) & (first + one.count[reads] > low[at])
    meets &= places[at] == place[reads]
    return meets


def _compared(exchanges: ExchangeBatch, kinds: _Kinds) -> Bool:
    """Tell which rows read or write what a rule compares with: few of them."""
    one = exchanges
    came = ((one.reply_ns > 0) & (one.exception == 0)) | (one.write_count > 0)
    came &= ~one.malformed & (one.problems & np.uint32(Problem.UNSOLICITED) == 0)
    wanted: Bool = kinds.compares[kinds.group] & came
    return wanted


def request_of(exchanges: ExchangeBatch, row: int) -> Request:
    """Return one row's request as the scalar codec gives it, without file records."""
    one = exchanges
    at, end = int(one.write_offset[row]), int(one.write_offset[row + 1])
    problems = int(one.problems[row]) & ~_REPLY if one.malformed[row] else 0
    if one.malformed[row] and not problems:
        problems = int(Problem.LENGTH)
    return Request(
        int(one.function[row]), int(one.sub[row]), int(one.table[row]),
        int(one.address[row]), int(one.count[row]), int(one.write_address[row]),
        int(one.write_count[row]), tuple(one.write_values[at:end].tolist()),
        problems, bool(one.is_write[row]),
    )  # fmt: skip


def _reply_of(exchanges: ExchangeBatch, row: int) -> Reply | None:
    one = exchanges
    if not one.reply_ns[row]:
        return None
    at, end = int(one.read_offset[row]), int(one.read_offset[row + 1])
    problems = int(one.problems[row]) & (_REPLY | int(Problem.LENGTH))
    return Reply(
        int(one.exception[row]), tuple(one.read_values[at:end].tolist()), problems
    )
