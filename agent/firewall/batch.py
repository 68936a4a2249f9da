"""Judges exchanges in columns: what a tap saw, and what an ``alert`` rule tells of all.

Rows of one kind (master, device, function, addresses) are judged once; only those that
a limit decides are judged one by one, in order of time, with what was learnt by then.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from agent.firewall.decision import Caller
from protocols.modbus.exchanges import Problem, Verdict
from protocols.modbus.functions import NO_TABLE
from protocols.modbus.pdu import Request
from protocols.modbus.pdu_reply import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    first, group = _kinds(exchanges)
    callers: dict[int, Caller] = {}
    single = np.zeros(len(first), np.bool_)
    table = np.zeros((len(first), 4), np.int16)
    for number, row in enumerate(first.tolist()):
        client = int(exchanges.client[row])
        caller = callers.setdefault(client, Caller(names[client], client))
        fixed, alerts = judge.known(
            caller, int(exchanges.link[row]), int(exchanges.unit[row]),
            request_of(exchanges, row),
        )  # fmt: skip
        told = alerts[0] if alerts else -1
        single[number] = fixed is None
        if fixed is not None:
            table[number] = (fixed.verdict, fixed.rule, fixed.reason, told)
        else:
            table[number, 3] = told
    decided = mine & ~single[group]
    of_kind = table[group]
    verdict[decided] = of_kind[decided, 0].astype(np.uint8)
    rule[decided] = of_kind[decided, 1]
    reason[decided] = of_kind[decided, 2].astype(np.uint8)
    alert[asked] = of_kind[asked, 3]
    for row in _in_turn(judge, exchanges, mine & single[group]):
        client = int(exchanges.client[row])
        decision = judge.judge(
            callers[client], int(exchanges.link[row]), int(exchanges.unit[row]),
            request_of(exchanges, row), int(exchanges.time_ns[row]),
            clock_ok=clock_ok,
        )  # fmt: skip
        verdict[row], rule[row] = decision.verdict, decision.rule
        reason[row] = decision.reason
    return replace(exchanges, verdict=verdict, rule=rule, reason=reason, alert=alert)


def _kinds(exchanges: ExchangeBatch) -> tuple[I64, I64]:
    """Return the first row of each kind, and each row's kind."""
    one = exchanges
    wide = [
        column.astype(np.uint64)
        for column in (
            one.client, one.link, one.unit, one.function,
            one.sub, one.address, one.count, one.malformed,
            one.write_address, one.write_count,
        )
    ]  # fmt: skip
    shift = np.uint64(16)
    keys: list[U64] = [
        (wide[0] << np.uint64(24)) | (wide[1] << shift) | (wide[2] << np.uint64(8))
        | wide[3],
        (wide[4] << np.uint64(48)) | (wide[5] << np.uint64(32)) | (wide[6] << shift)
        | wide[7],
        (wide[8] << shift) | wide[9],
    ]  # fmt: skip
    order = np.lexsort(keys)
    new = np.ones(len(order), np.bool_)
    new[1:] = False
    for key in keys:
        in_order = key[order]
        new[1:] |= in_order[1:] != in_order[:-1]
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(new) - 1
    return order[new], group


def _in_turn(judge: Judge, exchanges: ExchangeBatch, wanted: Bool) -> Iterator[int]:
    """Yield rows to judge in order of time; what came back before is learnt first."""
    learns = _learning(judge, exchanges)
    rows = np.flatnonzero(wanted)
    taught = np.flatnonzero(learns)
    when = np.concatenate([exchanges.time_ns[rows], exchanges.reply_ns[taught]])
    what = np.concatenate([rows, taught])
    is_reply = np.arange(len(what)) >= len(rows)
    for at in np.lexsort((what, ~is_reply, when)).tolist():
        row = int(what[at])
        if is_reply[at]:
            judge.answered(
                int(exchanges.link[row]), int(exchanges.unit[row]),
                request_of(exchanges, row), _reply_of(exchanges, row),
            )  # fmt: skip
        else:
            yield row


def _learning(judge: Judge, exchanges: ExchangeBatch) -> Bool:
    """Tell which replies hold what a rule compares with: few of them."""
    out = np.zeros(len(exchanges), np.bool_)
    if not judge.learns:
        return out
    one = exchanges
    came = (one.reply_ns > 0) & (one.exception == 0) & ~one.malformed
    first, last = one.address.astype(np.int64), one.address.astype(np.int64) + one.count
    put = one.write_address.astype(np.int64)
    put_end = put + one.write_count
    for place, low, high in judge.compared:
        link, unit, table = place
        here = came.copy()
        if link is not None:
            here &= one.link == link
        if unit is not None:
            here &= one.unit == unit
        if table is not None:
            here &= one.table == table
        else:
            here &= one.table != NO_TABLE
        read = (first <= high) & (last > low)
        out |= here & (read | ((put <= high) & (put_end > low)))
    return out


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


def _reply_of(exchanges: ExchangeBatch, row: int) -> Reply:
    one = exchanges
    at, end = int(one.read_offset[row]), int(one.read_offset[row + 1])
    problems = int(one.problems[row]) & (_REPLY | int(Problem.LENGTH))
    return Reply(
        int(one.exception[row]), tuple(one.read_values[at:end].tolist()), problems
    )
