"""ADUs however TCP cut them, and the way back after what is none."""

from __future__ import annotations

import pytest

from protocols.modbus.exchanges import Problem
from protocols.modbus.mbap import build_adu
from protocols.modbus.streams import Streams
from tests.support.tapped import CLIENT, SERVER, Row, Talk, read, registers, told

PROTOCOL, LENGTH = int(Problem.PROTOCOL), int(Problem.LENGTH)


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 11, 12, 13, 24, 100])
def test_any_cut_gives_the_same(size: int) -> None:
    talk = Talk().open()
    asked = b"".join(build_adu(tid, 1, read(tid)) for tid in range(8))
    said = b"".join(build_adu(tid, 1, registers(tid)) for tid in range(8))
    for side, data in ((CLIENT, asked), (SERVER, said)):
        for at in range(0, len(data), size):
            talk.send(side, data[at : at + size])
    expected = [Row(1, tid, read(tid), registers(tid)) for tid in range(8)]
    for cut in (0, 1, 7):
        assert told(Streams(), talk.rows, cut=cut) == expected


def test_another_protocol_is_told_and_the_next_adu_found() -> None:
    talk = Talk().open()
    odd = bytearray(build_adu(5, 1, read(5)))
    odd[2:4] = b"MB"
    talk.send(CLIENT, bytes(odd))
    expected = [
        Row(1, 5, read(5), b"", PROTOCOL), *map(talk.poll, (6, 7)),
    ]  # fmt: skip
    streams = Streams()
    assert sorted(told(streams, talk.rows)) == sorted(expected)
    assert streams.statistics.skipped == 0


@pytest.mark.parametrize("length", [0, 1, 255, 300, 65535])
def test_a_length_that_lies_is_told_and_the_next_adu_found(length: int) -> None:
    talk = Talk().open()
    first = talk.poll(4)
    lying = (
        bytes((0, 5, 0, 0)) + length.to_bytes(2, "big") + b"\x01\x03\x00\x00\x00\x02"
    )
    talk.send(CLIENT, lying)
    expected = [first, talk.poll(6), talk.poll(7)]
    streams = Streams()
    found = told(streams, talk.rows, cut=1)
    assert [row for row in found if not row.problems] == expected
    odd = [row for row in found if row.problems]
    assert odd == [Row(1, 5, lying[7:], b"", LENGTH)]
    assert streams.statistics.skipped == len(lying)
    assert streams.statistics.resyncs == 1


def test_another_protocol_altogether_gives_few_rows_and_counts_its_bytes() -> None:
    talk = Talk().open()
    page = b"GET / HTTP/1.1\r\nHost: plc\r\n\r\n" * 40
    for _ in range(50):
        talk.send(CLIENT, page)
        talk.send(SERVER, page[::-1])
    streams = Streams()
    found = told(streams, talk.rows)
    assert len(found) <= 2
    assert streams.statistics.skipped == 100 * len(page)


def test_vendor_functions_are_found_from_the_middle_on() -> None:
    talk = Talk()
    pdus = [bytes((90, 0, tid, 1, 2, 3)) for tid in range(4)]
    for tid, pdu in enumerate(pdus):
        talk.ask(tid, pdu)
        talk.answer(tid, pdu)
    assert told(Streams(), talk.rows) == [
        Row(1, tid, pdu, pdu) for tid, pdu in enumerate(pdus)
    ]


def test_what_is_not_whole_at_the_end_is_counted() -> None:
    talk = Talk().open()
    talk.send(CLIENT, build_adu(1, 1, read(1))[:9])
    streams = Streams()
    assert told(streams, talk.rows) == []
    assert streams.statistics.skipped == 9


def test_a_stream_of_zeros_ends() -> None:
    talk = Talk().open()
    for _ in range(60):
        talk.send(CLIENT, bytes(1400))
    streams = Streams()
    assert len(told(streams, talk.rows)) <= 1
    assert streams.statistics.skipped == 60 * 1400
