"""RTU over TCP in a capture: any order, loss or start gives the exchanges."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from protocols.modbus import rtu_pairing
from protocols.modbus.exchanges import Problem
from protocols.modbus.pairs import concat_pairs, empty_pairs
from protocols.modbus.peers import Peers
from protocols.modbus.rtu import build_rtu
from protocols.modbus.rtu_streams import RtuStreams
from tests.support.examples import upto
from tests.support.pair_told import Told, told
from tests.support.segments import ACK, MS, Seg, Talk, batch

if TYPE_CHECKING:
    from random import Random

P = Problem
GATE, MASTER, OTHER = ("10.0.0.20", 4001), ("10.0.0.7", 40_000), ("10.0.0.8", 40_000)


class Poll(Talk):
    """One connection to the gateway."""

    def __init__(self, client: tuple[str, int] = MASTER, start_ns: int = 0) -> None:
        super().__init__(client, GATE, start_ns)

    def poll(self, value: int, cut: int = 99) -> Told:
        request = b"\x03" + struct.pack(">HH", value, 1)
        reply = b"\x03\x02" + struct.pack(">H", value)
        for side, pdu in enumerate((request, reply)):
            frame = build_rtu(7, pdu)
            for at in range(0, len(frame), cut):
                self.send(side, frame[at : at + cut])
        return Told(request, reply, 7, 0)


def heard(rows: list[Seg], step: int = 0) -> tuple[list[Told], RtuStreams]:
    streams = RtuStreams({GATE: 3}, Peers())
    step = step or len(rows)
    found = [streams.feed(batch(rows[i : i + step])) for i in range(0, len(rows), step)]
    return told(concat_pairs([*found, streams.finish()])), streams


@given(st.randoms(use_true_random=True))
@settings(max_examples=upto(15), phases=[Phase.generate])
def test_any_cut_batch_and_repetition_gives_the_same(pick: Random) -> None:
    talk = Poll()
    wanted = [talk.poll(value, pick.choice([2, 5, 99])) for value in range(8)]
    rows = list(talk.rows)
    for at in sorted(pick.sample(range(2, len(rows)), 4), reverse=True):
        rows.insert(at + 1, rows[at])  # a retransmission
    for at in range(2, len(rows) - 1):
        same = rows[at].source == rows[at + 1].source
        if same and pick.random() < 0.2:  # captured in another order
            rows[at], rows[at + 1] = rows[at + 1], rows[at]
    found, streams = heard(rows, pick.choice([0, 1, 3]))
    assert [row for row in found if not row.problems] == wanted
    assert streams.statistics.skipped == streams.statistics.crowded == 0


def test_two_masters_in_order_of_time_with_their_numbers() -> None:
    one, two = Poll(MASTER), Poll(OTHER, start_ns=MS // 2)
    wanted = [(one.poll(v), two.poll(v + 50)) for v in range(3)]
    rows = sorted(one.rows + two.rows)
    streams, peers = None, Peers()
    streams = RtuStreams({GATE: 3}, peers)
    pairs = streams.feed(batch(rows))
    assert told(pairs) == [row for both in wanted for row in both]
    assert set(pairs.link.tolist()) == {3}
    assert [peers.name(n) for n in pairs.client.tolist()[:2]] == [MASTER[0], OTHER[0]]
    assert {peers.name(n) for n in pairs.server.tolist()} == {GATE[0]}
    assert np.all(np.diff(pairs.time_ns) >= 0)


@pytest.mark.parametrize("lost", range(2, 14))
def test_a_loss_is_told_and_confuses_nothing_behind_it(lost: int) -> None:
    """Wherever a segment is missing, no reply becomes that of another request."""
    talk = Poll()
    wanted = []
    for value in range(9):
        wanted.append(talk.poll(value, 5))
        talk.now_ns += 3_000 * MS
    streams = RtuStreams({GATE: 3}, Peers())
    rows = [row for at, row in enumerate(talk.rows) if at != lost]
    found = [streams.feed(batch([row])) for row in rows]
    made = told(concat_pairs([*found, streams.flush(rows[-1].time_ns + 6_000 * MS)]))
    assert streams.statistics.gaps == 1
    assert any(row.problems for row in made)
    good = [row for row in made if row.request and row.reply and not row.problems]
    assert set(good) <= set(wanted)
    assert good[-1] == wanted[-1]


def test_a_start_in_the_middle() -> None:
    talk = Poll()
    wanted = [talk.poll(value) for value in range(3)]
    found, _ = heard(talk.rows[3:])
    assert found[0].problems == P.UNSOLICITED
    assert found[1:] == wanted[1:]


def test_only_named_places_are_heard_and_others_left() -> None:
    talk = Poll()
    talk.poll(1)
    streams = RtuStreams({("10.0.0.20", 4002): 1}, Peers())
    segments = batch(talk.rows)
    assert not streams.wanted(segments).any()
    assert len(streams.feed(segments)) == 0
    assert RtuStreams({GATE: 0}, Peers()).wanted(segments).all()
    with pytest.raises(ValueError, match="address"):
        RtuStreams({("plc1.example", 502): 0}, Peers())


def test_a_silent_connection_is_forgotten_and_what_it_left_is_told() -> None:
    talk = Poll()
    talk.send(0, build_rtu(7, b"\x03\0\0\0\1"), ACK)
    streams = RtuStreams({GATE: 3}, Peers())
    assert told(streams.feed(batch(talk.rows))) == []
    (row,) = told(streams.flush(talk.now_ns + 301_000 * MS))
    assert row.problems == P.UNANSWERED
    assert told(streams.flush(talk.now_ns + 602_000 * MS)) == told(empty_pairs())


def test_exchanges_beyond_a_batch_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtu_pairing, "ROWS_MAX", 3)
    talk = Poll()
    wanted = [talk.poll(value) for value in range(5)]
    found, streams = heard(talk.rows)
    assert found == wanted[:3]
    assert streams.statistics.crowded == 2
    streams.flush(talk.now_ns + 301_000 * MS)  # also where the connection is gone
    assert streams.statistics.crowded == 2


def test_the_end_of_a_capture_is_no_silence() -> None:
    talk = Poll()
    talk.send(0, build_rtu(7, b"\x03\0\0\0\1"), ACK)
    found, _ = heard(talk.rows)
    assert found == [Told(b"\x03\0\0\0\1", None, 7, 0)]
