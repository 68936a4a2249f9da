"""The short way does what the long way does, whatever comes in whatever order."""

from __future__ import annotations

import dataclasses
import struct
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.adapters.modbus.proxy_core import LinkCore
from agent.adapters.modbus.proxy_express import ExpressCore
from agent.adapters.modbus.proxy_log import ProxyLog
from agent.adapters.modbus.proxy_master import Master
from agent.adapters.modbus.proxy_rules import Rules
from agent.adapters.modbus.proxy_wire import wire_of
from agent.firewall.decision import Caller
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

MASTERS = 3
FAULTY, FORBIDDEN, TOLD = 666, 100, 7


class Side:
    """A core with its masters and its device."""

    def __init__(self, kind: type[LinkCore], in_flight: int) -> None:
        self.now_ns = 1_000_000_000_000
        self.log, self.rules = ProxyLog(), Rules()
        self.judge = Asking(self._decide)
        self.rules.judge = self.judge
        link = link_to(1, timeout_s=1.0, in_flight=in_flight)
        clocks = (self.clock, self.clock)
        self.core = kind(link, self.rules, self.log, wire_of(link.device), clocks)
        self.device: list[bytes] = []
        self.alarms: list[int] = []
        self.core.alarm = self.alarms.append
        self.core.reset = self.broken
        self.heard: list[list[bytes]] = [[] for _ in range(MASTERS)]
        self.masters = [
            Master(Caller(f"10.0.0.{n}", n), self.heard[n].append, lambda _: None)
            for n in range(MASTERS)
        ]
        self.answers: list[bool] = []
        self.connect()

    def clock(self) -> int:
        return self.now_ns

    def connect(self) -> None:
        self.core.to_device = self.device.append
        self.core.up()

    def broken(self) -> None:
        self.core.down(retrying=True)
        self.connect()

    def _decide(self, caller: Caller, unit: int, request: object) -> Decision:
        del caller, unit
        address = getattr(request, "address", 0)
        if address == FAULTY:
            raise KeyError(address)
        if address == TOLD:
            return dataclasses.replace(ALLOW, alerts=(3,))
        return DENY if address == FORBIDDEN else ALLOW

    def step(self, kind: str, number: int, data: bytes) -> None:
        self.now_ns += number * 40_000_000
        match kind:
            case "asks":
                self.answers.append(self.core.heard(self.masters[number], data))
            case "replies" if self.device:
                sent = self.device[-1 - number % min(len(self.device), 3)]
                tid, _, _, unit = struct.unpack_from(">HHHB", sent)
                good = adu(tid, unit, registers(sent[7:]))
                self.answers.append(self.core.said(good))
            case "lies" if self.device:
                tid, _, _, unit = struct.unpack_from(">HHHB", self.device[-1])
                wrong = adu(tid, unit ^ (number == 2), data or b"\x03")
                self.answers.append(self.core.said(wrong))
            case "drips":
                self.answers.append(self.core.said(data))
            case "waits":
                self.now_ns += 700_000_000
                self.core.tick()
            case "breaks":
                self.broken()
            case "no policy":
                self.rules.judge = None if self.rules.judge else self.judge

    def told(self) -> tuple[object, ...]:
        batch = self.log.take()
        columns = [] if batch is None else dataclasses.astuple(batch)
        return (
            self.device, self.heard, self.answers, self.alarms[-1:],
            dataclasses.asdict(self.core.counts), [*self.judge.judged],
            [*self.judge.learnt], self.core.queued, [*self.core.in_flight],
            [np.asarray(column).tolist() for column in columns],
        )  # fmt: skip


PDUS = st.one_of(
    st.builds(read, st.sampled_from([0, TOLD, FORBIDDEN, FAULTY]), st.integers(0, 3)),
    st.builds(write, st.sampled_from([0, FORBIDDEN]), st.integers(0, 9)),
    st.binary(min_size=1, max_size=6),
)
REQUESTS = st.builds(adu, st.integers(0, 2), st.integers(0, 2), PDUS)
ASKS = st.one_of(
    REQUESTS,
    st.lists(REQUESTS, max_size=3).map(b"".join),
    REQUESTS.map(lambda whole: whole[:5]),
    st.binary(min_size=1, max_size=9),
)
STEPS = st.one_of(
    st.tuples(st.just("asks"), st.integers(0, MASTERS - 1), REQUESTS),
    st.tuples(st.just("asks"), st.integers(0, MASTERS - 1), ASKS),
    st.tuples(st.just("replies"), st.integers(0, 2), st.just(b"")),
    st.tuples(st.just("replies"), st.just(0), st.just(b"")),
    st.tuples(st.just("lies"), st.integers(0, 2), st.binary(max_size=6)),
    st.tuples(st.just("drips"), st.just(0), st.binary(min_size=1, max_size=9)),
    st.tuples(
        st.sampled_from(["waits", "breaks", "no policy"]), st.just(0), st.just(b"")
    ),
)


ONE, TWO = adu(1, 1, read(0)), adu(2, 1, read(1))
WRITE = adu(1, 1, write(0, 5))
SILENCE = [("asks", 0, ONE), ("waits", 0, b""), ("waits", 0, b"")]
ANSWERED = [("asks", 0, ONE), ("replies", 0, b"")]
# What chance finds too seldom.
NOBODY_OVERTAKES_A_WRITE = [("asks", 0, WRITE), ("asks", 1, TWO)]
ANOTHER_UNIT = [("asks", 0, ONE), ("lies", 2, registers(read(0)))]
NOT_IN_A_ROW = [*SILENCE, *SILENCE, *ANSWERED, *SILENCE, *ANSWERED]
HALF_BEFORE = [("asks", 0, ONE[:5]), ("asks", 0, ONE), ("asks", 0, TWO)]
ONLY_TOLD = [("asks", 0, adu(1, 1, read(TOLD))), ("replies", 0, b"")]
TWICE = [("asks", 0, ONE), ("asks", 0, ONE), ("replies", 0, b"")]
FAILS = [("asks", 0, adu(1, 1, read(FAULTY)))]


@example(NOBODY_OVERTAKES_A_WRITE, 4)
@example(ANOTHER_UNIT, 1)
@example(NOT_IN_A_ROW, 1)
@example(HALF_BEFORE, 1)
@example(ONLY_TOLD, 1)
@example(TWICE, 4)
@example(FAILS, 1)
@settings(max_examples=upto(40), deadline=None)
@given(st.lists(STEPS, max_size=25), st.sampled_from([1, 1, 4]))
def test_the_short_way_is_the_long_way(
    steps: list[tuple[str, int, bytes]], in_flight: int
) -> None:
    long, short = Side(LinkCore, in_flight), Side(ExpressCore, in_flight)
    for step in steps:
        long.step(*step)
        short.step(*step)
    assert short.told() == long.told()
