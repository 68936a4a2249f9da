"""One tap, both kinds of Modbus over TCP: the links say which is which."""

from __future__ import annotations

import numpy as np

from agent.adapters.modbus.tap_streams import TapStreams
from agent.config import Modbus
from protocols.modbus.exchanges import Problem
from protocols.modbus.mbap import build_adu
from protocols.modbus.pairs import decode_pairs
from protocols.modbus.peers import Peers
from protocols.modbus.rtu import build_rtu
from tests.support.segments import ACK, Talk, batch

PLC, GATE = ("10.0.0.11", 502), ("10.0.0.20", 4001)
LINKS = [
    Modbus(name="plc1", mode="watch", host=PLC[0]),
    Modbus(name="gate", mode="watch", kind="rtu-tcp", host=GATE[0], port=GATE[1]),
]
READ, DATA = b"\x03\0\5\0\1", b"\x03\2\0\7"


def heard(ports: list[int]) -> tuple[TapStreams, list[Talk]]:
    streams = TapStreams(ports, {PLC: 0, GATE: 1}, LINKS, Peers())
    tcp, rtu = Talk(server=PLC), Talk(server=GATE, start_ns=500)
    tcp.send(0, build_adu(1, 1, READ))
    tcp.send(1, build_adu(1, 1, DATA))
    rtu.send(0, build_rtu(2, READ))
    rtu.send(1, build_rtu(2, DATA))
    return streams, [tcp, rtu]


def test_each_link_is_read_as_what_it_is() -> None:
    streams, talks = heard([502, 4001])
    rows = sorted(row for talk in talks for row in talk.rows)
    x = decode_pairs(streams.feed(batch(rows)))
    by_link = np.argsort(x.link)
    assert x.link[by_link].tolist() == [0, 1]
    assert x.unit[by_link].tolist() == [1, 2]
    assert x.address.tolist() == [5, 5]
    assert x.read_values.tolist() == [7, 7]
    assert not x.problems.any()
    assert streams.count("skipped") == 0


def test_what_is_open_is_given_up_and_counted_by_either() -> None:
    streams, (tcp, rtu) = heard([502, 4001])
    rtu.send(0, build_rtu(2, READ), ACK)
    rtu.send(0, b"\x01\x02\x03", ACK)
    assert len(streams.feed(batch(tcp.rows))) == 1
    assert len(streams.feed(batch(rtu.rows))) == 1
    late = streams.flush(rtu.now_ns + 301_000_000_000)
    assert late.problems.tolist() == [Problem.UNANSWERED]
    assert streams.count("skipped") == 3
