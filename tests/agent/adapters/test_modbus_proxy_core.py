"""The core without sockets, with a clock of the test's: turns, limits, the books."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.adapters.modbus.proxy_core import LinkCore
from agent.adapters.modbus.proxy_log import ProxyLog
from agent.adapters.modbus.proxy_master import UNANSWERED_MAX, Master
from agent.adapters.modbus.proxy_rules import Rules
from agent.adapters.modbus.proxy_wire import wire_of
from agent.firewall.decision import Caller
from protocols.modbus.exchanges import Problem, Verdict
from tests.support.examples import upto
from tests.support.proxying import (
    ALLOW,
    DENY,
    Asking,
    adu,
    link_to,
    read,
    registers,
    write,
)

if TYPE_CHECKING:
    from agent.firewall.decision import Decision
    from protocols.modbus.pdu import Request

SECOND = 1_000_000_000


class Bench:
    """A core with everything around it in reach of the test."""

    def __init__(self, **settings: object) -> None:
        self.now_ns = 1_000 * SECOND
        self.log = ProxyLog()
        self.rules = Rules()
        self.judge = Asking(lambda *_: ALLOW)
        self.rules.judge = self.judge
        link = link_to(1, **{"timeout_s": 1.0} | settings)
        self.core = LinkCore(
            link, self.rules, self.log, wire_of(link.device), (self.clock, self.clock)
        )
        self.device: list[bytes] = []
        self.resets = 0
        self.core.to_device = self.device.append
        self.core.reset = self._reset
        self.core.up()

    def clock(self) -> int:
        return self.now_ns

    def _reset(self) -> None:
        self.resets += 1
        self.core.down(retrying=True)
        self.core.to_device = self.device.append
        self.core.up()

    def master(self, number: int = 1) -> tuple[Master, list[bytes]]:
        heard: list[bytes] = []
        caller = Caller(f"10.0.0.{number}", number)
        return Master(caller, heard.append, lambda _: None), heard

    def reply(self, request: bytes) -> None:
        """Answer one ADU as the device of ``registers`` does."""
        tid, _, _, unit = struct.unpack_from(">HHHB", request)
        self.core.said(adu(tid, unit, registers(request[7:])))

    def pdus(self) -> list[bytes]:
        return [sent[7:] for sent in self.device]


def test_masters_take_turns() -> None:
    bench = Bench()
    one, _ = bench.master(1)
    two, _ = bench.master(2)
    bench.core.heard(one, b"".join(adu(n, 1, read(n)) for n in range(4)))
    bench.core.heard(two, b"".join(adu(n, 1, read(100 + n)) for n in range(2)))
    for _ in range(6):
        bench.reply(bench.device[-1])
    assert bench.pdus() == [read(n) for n in (0, 1, 100, 2, 101, 3)]


def test_one_request_at_a_time_unless_told_otherwise() -> None:
    for in_flight in (1, 4, 16):
        bench = Bench(in_flight=in_flight, limits={"queued_a_client": 32})
        master, heard = bench.master()
        bench.core.heard(master, b"".join(adu(n, 1, read(n)) for n in range(20)))
        assert len(bench.device) == in_flight
        done = 0
        while done < len(bench.device):
            bench.reply(bench.device[done])
            done += 1
        assert len(heard) == done == 20


def test_a_write_travels_alone_and_nobody_overtakes_it() -> None:
    bench = Bench(in_flight=8)
    master, _ = bench.master()
    asked = [read(0), read(1), write(2, 2), read(3), read(4)]
    bench.core.heard(master, b"".join(adu(n, 1, p) for n, p in enumerate(asked)))
    assert bench.pdus() == asked[:2]
    bench.reply(bench.device[0])
    assert bench.pdus() == asked[:2]
    bench.reply(bench.device[1])
    assert bench.pdus() == asked[:3]
    bench.reply(bench.device[2])
    assert bench.pdus() == asked


def test_pipelined_replies_out_of_order_are_answered_in_order() -> None:
    bench = Bench(in_flight=4)
    master, heard = bench.master()
    bench.core.heard(master, b"".join(adu(50 + n, 1, read(n)) for n in range(3)))
    for place in (2, 0, 1):
        bench.reply(bench.device[place])
    assert b"".join(heard) == b"".join(
        adu(50 + n, 1, registers(read(n))) for n in range(3)
    )


def test_a_stricter_policy_holds_for_what_still_waits() -> None:
    bench = Bench()
    master, heard = bench.master()
    bench.core.heard(master, adu(1, 1, read(1)) + adu(2, 1, write(1, 2)))
    bench.rules.judge = Asking(lambda *_: DENY)
    bench.reply(bench.device[0])
    assert bench.pdus() == [read(1)]
    assert heard[-1] == adu(2, 1, b"\x86\1")


def test_a_request_that_waited_too_long_is_not_sent() -> None:
    bench = Bench(limits={"stale_s": 2.0}, timeout_s=5.0)
    master, heard = bench.master()
    bench.core.heard(master, adu(1, 1, read(1)) + adu(2, 1, write(1, 2)))
    bench.now_ns += 3 * SECOND
    bench.reply(bench.device[0])
    assert bench.pdus() == [read(1)]
    assert heard[-1] == adu(2, 1, b"\x86\6")
    assert bench.core.counts.stale == 1


def test_what_a_master_asked_that_is_gone_is_not_sent() -> None:
    bench = Bench()
    one, _ = bench.master(1)
    two, heard = bench.master(2)
    bench.core.heard(one, adu(1, 1, read(1)) + adu(2, 1, write(1, 2)))
    bench.core.heard(two, adu(3, 1, read(3)))
    bench.core.left(one)
    bench.reply(bench.device[0])
    bench.reply(bench.device[1])
    assert bench.pdus() == [read(1), read(3)]
    assert heard == [adu(3, 1, registers(read(3)))]
    assert bench.core.counts.abandoned == 1


def test_silences_in_a_row_give_up_the_connection() -> None:
    bench = Bench(limits={"silences": 2})
    master, heard = bench.master()
    for number in range(2):
        bench.core.heard(master, adu(number, 1, read(number)))
        bench.now_ns += SECOND
        bench.core.tick()
    assert heard == [adu(n, 1, b"\x83\x0b") for n in range(2)]
    assert bench.resets == 1
    assert [*bench.judge.learnt] == [None, None]


def test_a_tick_before_its_time_changes_nothing() -> None:
    bench = Bench()
    master, heard = bench.master()
    bench.core.heard(master, adu(1, 1, read(1)))
    bench.now_ns += SECOND - 1
    bench.core.tick()
    assert not heard


def test_requests_wait_for_a_first_attempt_and_not_for_the_next() -> None:
    bench = Bench()
    master, heard = bench.master()
    bench.core.down(retrying=True)
    bench.core.heard(master, adu(1, 1, read(1)))
    assert not heard
    bench.core.down(retrying=False)
    assert heard == [adu(1, 1, b"\x83\x0a")]
    bench.core.heard(master, adu(2, 1, read(1)))
    assert heard[-1] == adu(2, 1, b"\x83\x0a")


def test_a_flood_is_not_read_until_half_is_answered() -> None:
    bench = Bench()
    held: list[bool] = []
    master = Master(Caller("10.0.0.1", 1), lambda _: None, held.append)
    bench.core.heard(master, b"".join(adu(n, 1, read(n)) for n in range(300)))
    assert held == [True]
    assert len(master.order) == 300
    done = 0
    while done < len(bench.device):
        bench.reply(bench.device[done])
        done += 1
    assert held == [True, False]
    assert done == 16
    assert bench.core.counts.busy == 300 - 16 > UNANSWERED_MAX


def test_the_same_identifier_twice_is_told_and_answered_twice() -> None:
    bench = Bench()
    master, heard = bench.master()
    bench.core.heard(master, adu(9, 1, read(1)) + adu(9, 1, read(2)))
    bench.reply(bench.device[0])
    bench.reply(bench.device[1])
    assert heard == [adu(9, 1, registers(read(n))) for n in (1, 2)]
    batch = bench.log.take()
    assert batch is not None
    assert batch.problems.tolist() == [0, Problem.REPEATED]


def test_the_judge_learns_what_was_answered_and_what_was_not() -> None:
    bench = Bench()
    master, _ = bench.master()
    bench.core.heard(master, adu(1, 1, write(1, 2)))
    bench.reply(bench.device[0])
    bench.core.heard(master, adu(2, 1, write(1, 3)))
    bench.now_ns += SECOND
    bench.core.tick()
    assert [reply is None for reply in bench.judge.learnt] == [False, True]


def test_rows_beyond_the_bound_are_counted() -> None:
    log = ProxyLog(rows_max=2)
    bench = Bench()
    bench.core._log = log
    master, _ = bench.master()
    for number in range(3):
        bench.core.heard(master, adu(number, 1, read(number)))
        bench.reply(bench.device[number])
    batch = log.take()
    assert batch is not None
    assert len(batch) == 2
    assert log.lost == 1


@pytest.mark.parametrize("in_flight", [1, 5])
@settings(max_examples=upto(60), deadline=None)
@given(data=st.data())
def test_every_request_ends_in_one_book_and_every_answer_in_order(
    data: st.DataObject, in_flight: int
) -> None:
    """Whatever happens in whatever order, the numbers add up."""
    bench = Bench(in_flight=in_flight, limits={"queued_a_client": 3, "queued": 5})

    def even(_: Caller, __: int, request: object) -> Decision:
        return DENY if cast("Request", request).address % 2 else ALLOW

    bench.rules.judge = Asking(even)
    masters = [bench.master(n) for n in (1, 2, 3)]
    gone = set[int]()
    asked = [0, 0, 0]
    replied = 0
    for step in data.draw(st.lists(st.integers(0, 9), max_size=40)):
        if step < 6:
            who = step % 3
            pdu = write(asked[who], 1) if step < 3 else read(asked[who])
            if who not in gone:
                bench.core.heard(masters[who][0], adu(asked[who], 1, pdu))
                asked[who] += 1
        elif step == 6 and replied < len(bench.device):
            bench.reply(bench.device[replied])
            replied += 1
        elif step == 7:
            bench.now_ns += SECOND
            bench.core.tick()
        elif step == 8:
            bench.core.down(retrying=False)
            bench.core.to_device = bench.device.append
            bench.core.up()
        elif len(gone) < 2:
            bench.core.left(masters[len(gone)][0])
            gone.add(len(gone))
    bench.core.down(retrying=False)
    now = bench.core.counts
    ended = (
        now.answered + now.refused + now.busy + now.stale + now.unreachable
        + now.unanswered + now.abandoned
    )  # fmt: skip
    assert ended == now.requests == sum(asked)
    assert bench.core.queued == 0
    for who, (_, heard) in enumerate(masters):
        tids = [struct.unpack_from(">H", part)[0] for part in _adus(b"".join(heard))]
        assert tids == [*range(len(tids))]
        assert who in gone or len(tids) == asked[who]
    batch = bench.log.take()
    rows = 0 if batch is None else int((batch.request_size > 0).sum())
    assert rows == sum(asked)
    if batch is not None:
        assert (batch.verdict == Verdict.REFUSED).sum() == now.refused
    assert all(pdu[2] % 2 == 0 for pdu in bench.pdus())


def _adus(data: bytes) -> list[bytes]:
    found = []
    while data:
        size = 6 + struct.unpack_from(">H", data, 4)[0]
        found.append(data[:size])
        data = data[size:]
    return found
