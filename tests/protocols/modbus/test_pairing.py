"""Which reply answers which request."""

from __future__ import annotations

from protocols.modbus.exchanges import Problem
from protocols.modbus.mbap import build_adu
from protocols.modbus.pairing import PENDING_MAX, PENDING_TOTAL_MAX
from protocols.modbus.pairs import concat_pairs
from protocols.modbus.streams import Streams
from tests.support.tapped import (
    CLIENT,
    MS,
    SECOND,
    SERVER,
    Row,
    Talk,
    batch,
    read,
    registers,
    rows_of,
    told,
)

UNANSWERED, REPEATED = int(Problem.UNANSWERED), int(Problem.REPEATED)
UNSOLICITED = int(Problem.UNSOLICITED)


def test_several_in_flight_are_joined_by_their_identifier() -> None:
    talk = Talk().open()
    for tid in range(20):
        talk.ask(tid, read(tid))
    for tid in reversed(range(20)):
        talk.answer(tid, registers(tid))
    expected = [Row(1, tid, read(tid), registers(tid)) for tid in range(20)]
    for cut in (0, 1, 6):
        assert sorted(told(Streams(), talk.rows, cut=cut)) == expected


def test_units_and_connections_have_identifiers_of_their_own() -> None:
    talks = [Talk(client=("10.0.0.7", port)).open() for port in (4000, 4001)]
    for talk in talks:
        for unit in (1, 2):
            talk.ask(9, read(unit), unit)
    for talk in talks:
        for unit in (2, 1):
            talk.answer(9, registers(unit), unit)
    rows = [row for talk in talks for row in talk.rows]
    expected = [Row(unit, 9, read(unit), registers(unit)) for unit in (1, 2)] * 2
    assert sorted(told(Streams(), rows)) == sorted(expected)


def test_an_identifier_in_flight_twice_is_repeated() -> None:
    talk = Talk().open()
    talk.ask(7, read(1))
    talk.ask(7, read(2))
    talk.answer(7, registers(1))
    talk.answer(7, registers(2))
    expected = [
        Row(1, 7, read(1), registers(1)),
        Row(1, 7, read(2), registers(2), REPEATED),
    ]
    for cut in (0, 1):
        assert told(Streams(), talk.rows, cut=cut) == expected


def test_who_asks_again_later_has_given_up_before() -> None:
    talk = Talk().open()
    talk.ask(0, read(1))
    talk.now_ns += SECOND
    talk.ask(0, read(1))
    talk.answer(0, registers(1))
    expected = [
        Row(1, 0, read(1), b"", UNANSWERED), Row(1, 0, read(1), registers(1)),
    ]  # fmt: skip
    for cut in (0, 1):
        assert told(Streams(), talk.rows, cut=cut) == expected


def test_a_reply_to_nothing_is_unsolicited() -> None:
    talk = Talk().open()
    first = talk.poll(1)
    talk.now_ns += 6 * SECOND
    talk.answer(2, registers(2))
    assert told(Streams(), talk.rows) == [
        first, Row(1, 2, b"", registers(2), UNSOLICITED),
    ]  # fmt: skip


def test_five_seconds_without_reply() -> None:
    talk = Talk().open()
    talk.ask(1, read(1))
    streams = Streams()
    assert not len(streams.feed(batch(talk.rows)))
    assert not len(streams.flush(talk.now_ns + 4999 * MS))
    assert streams._pairing.pending == 1
    assert rows_of(streams.flush(talk.now_ns + 5 * SECOND)) == [
        Row(1, 1, read(1), b"", UNANSWERED)
    ]
    assert streams._pairing.pending == 0


def test_at_the_end_of_a_capture_what_is_young_is_not_accused() -> None:
    talk = Talk().open()
    talk.ask(1, read(1))
    assert told(Streams(), talk.rows) == [Row(1, 1, read(1), b"")]


def test_one_side_alone_accuses_nobody() -> None:
    talk = Talk().open()
    for tid in range(3):
        talk.poll(tid)
    for side in (0, 1):
        ends = talk.client if side == 0 else talk.server
        found = told(Streams(), [row for row in talk.rows if row.source == ends])
        assert len(found) == 3
        assert all(row.problems == 0 for row in found)


def test_thirty_two_of_a_unit_may_wait() -> None:
    talk = Talk().open()
    for tid in range(40):
        talk.ask(tid, read(tid))
    streams = Streams()
    found = rows_of(streams.feed(batch(talk.rows)))
    assert [row.tid for row in found] == list(range(8))
    assert {row.problems for row in found} == {UNANSWERED}
    assert streams.statistics.overdue == 8


def test_who_repeats_an_identifier_without_end_waits_no_more_than_others() -> None:
    talk = Talk().open()
    for _ in range(50):
        talk.send(CLIENT, b"".join(build_adu(7, 1, read(1)) for _ in range(100)))
    streams = Streams()
    found = rows_of(streams.feed(batch(talk.rows)))
    assert len(found) == streams.statistics.overdue == 5000 - PENDING_MAX
    assert streams._pairing.pending == PENDING_MAX
    talk.rows.clear()
    for _ in range(PENDING_MAX):
        talk.answer(7, registers(1))
    answered = rows_of(streams.feed(batch(talk.rows)))
    assert [row.reply for row in answered] == [registers(1)] * PENDING_MAX


def test_what_waits_is_bounded_over_all() -> None:
    rows = []
    for number in range(300):
        talk = Talk(client=("10.0.0.7", 2000 + number)).open()
        for tid in range(32):
            talk.ask(tid, read(tid))
        rows += talk.rows
    streams = Streams()
    found = [streams.feed(batch(rows))]
    assert streams._pairing.pending == PENDING_TOTAL_MAX
    assert len(concat_pairs(found)) == 300 * 32 - PENDING_TOTAL_MAX


def test_a_request_keeps_its_bytes_over_many_batches() -> None:
    talk = Talk().open()
    talk.ask(1, read(1))
    streams = Streams()
    streams.feed(batch(talk.rows))
    for tid in range(2, 9):
        del talk.rows[:]
        expected = talk.poll(tid)
        assert rows_of(streams.feed(batch(talk.rows))) == [expected]
    del talk.rows[:]
    talk.answer(1, registers(1))
    assert rows_of(streams.feed(batch(talk.rows))) == [Row(1, 1, read(1), registers(1))]


def test_times_are_those_of_the_last_byte() -> None:
    talk = Talk().open()
    whole = talk.ask(1, read(1))
    talk.rows[-1:] = [
        whole._replace(data=whole.data[:4]),
        whole._replace(
            data=whole.data[4:], sequence=whole.sequence + 4,
            time_ns=whole.time_ns + 500,
        ),
    ]  # fmt: skip
    reply = talk.send(SERVER, b"\0\1\0\0\0\7\1" + registers(1))
    pairs = Streams().feed(batch(talk.rows))
    assert pairs.time_ns.tolist() == [whole.time_ns + 500]
    assert pairs.reply_ns.tolist() == [reply.time_ns]
