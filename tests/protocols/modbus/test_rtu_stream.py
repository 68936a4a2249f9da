"""RTU over TCP: any split, any start, any loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from protocols.modbus.exchanges import Problem
from protocols.modbus.rtu import build_rtu
from protocols.modbus.rtu_pairing import Ends
from protocols.modbus.rtu_stream import RtuStream
from tests.support.examples import upto
from tests.support.pair_told import told

if TYPE_CHECKING:
    from random import Random

ENDS = Ends(4, 5, 1)


def h(text: str) -> bytes:
    return bytes.fromhex(text)


TALK = [
    (1, h("03 0000 0002"), h("03 04 0001 0002")), (1, h("06 0001 0003"), h("86 02")),
    (2, h("10 0001 0001 02 0007"), h("10 0001 0001")),
    (2, h("01 0000 0003"), h("01 01 05")),
    (3, h("16 0004 00f2 0025"), h("16 0004 00f2 0025")), (1, h("07"), h("07 6d")),
]  # fmt: skip
WANTED = [(request, reply, unit, 0) for unit, request, reply in TALK]


def pieces(pick: Random, data: bytes) -> list[bytes]:
    made = []
    while data:
        size = pick.randint(1, 12)
        made.append(data[:size])
        data = data[size:]
    return made


@given(st.randoms(use_true_random=True))
@settings(max_examples=upto(30), phases=[Phase.generate])
def test_any_split_gives_the_same_exchanges(pick: Random) -> None:
    stream, now = RtuStream(ENDS), 0
    for unit, *both in TALK:
        for replies, pdu in enumerate(both):
            for piece in pieces(pick, build_rtu(unit, pdu)):
                now += 1
                stream.feed(piece, now, replies=bool(replies))
    assert told(stream.take()) == WANTED
    assert (stream.skipped, stream.lost, stream.due_ns) == (0, 0, None)


def test_a_start_in_the_middle_and_a_loss_are_found_out_of() -> None:
    stream = RtuStream(ENDS)
    unit, request, reply = TALK[0]
    asked, answered = build_rtu(unit, request), build_rtu(unit, reply)
    stream.feed(answered[5:] + answered, 1, replies=True)
    stream.feed(asked, 2, replies=False)
    stream.feed(answered[:4], 3, replies=True)
    stream.gap(replies=True)  # the rest was lost
    stream.feed(answered, 4, replies=True)
    stream.feed(asked, 5, replies=False)
    stream.close()
    assert told(stream.take()) == [
        (None, reply, unit, Problem.UNSOLICITED), (request, None, unit, 0),
        (None, reply, unit, Problem.UNSOLICITED),  # whose it is, is not sure
        (request, None, unit, Problem.UNANSWERED),
    ]  # fmt: skip
    assert stream.skipped == len(answered[5:]) + 4


def test_an_open_request_is_given_up() -> None:
    stream = RtuStream(ENDS, reply_ns_max=10)
    unit, request, _ = TALK[0]
    stream.feed(build_rtu(unit, request), 5, replies=False)
    assert stream.due_ns == 15
    stream.expire(16)
    assert told(stream.take()) == [(request, None, unit, Problem.UNANSWERED)]
    assert stream.take() is None
