"""TCP as it is: what comes twice, late, never, in the middle, or over the edge."""

from __future__ import annotations

import pytest

from protocols.capture.ethernet import ACK, SYN
from protocols.modbus.mbap import build_adu
from protocols.modbus.streams import Streams
from tests.support.tapped import (
    CLIENT,
    MS,
    SECOND,
    SERVER,
    Row,
    Seg,
    Talk,
    batch,
    read,
    registers,
    rows_of,
    told,
)


def again(row: Seg, after_ns: int = 200 * MS) -> Seg:
    return row._replace(time_ns=row.time_ns + after_ns)


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_what_comes_twice_counts_once(cut: int) -> None:
    talk = Talk().open()
    expected = [talk.poll(tid) for tid in range(4)]
    doubled = [one for row in talk.rows for one in (row, again(row, 1000))]
    streams = Streams()
    assert told(streams, doubled, cut=cut) == expected
    assert streams.statistics.repeated == 8
    assert streams.statistics.gaps == 0


def test_a_segment_that_repeats_a_part_brings_the_rest() -> None:
    talk = Talk().open()
    first = talk.ask(1, read(1))
    second = talk.ask(2, read(2))
    joined = first._replace(
        data=first.data + second.data, time_ns=second.time_ns, flags=ACK
    )
    talk.rows[-1] = joined
    talk.answer(1, registers(1))
    talk.answer(2, registers(2))
    streams = Streams()
    found = told(streams, talk.rows)
    assert [row.tid for row in found] == [1, 2]
    assert all(row.problems == 0 and row.reply for row in found)
    assert streams.statistics.overlaps == 1


def test_sequence_numbers_begin_again_at_zero() -> None:
    talk = Talk(next=[2**32 - 20, 2**32 - 7]).open()
    expected = [talk.poll(tid) for tid in range(6)]
    assert told(Streams(), talk.rows, cut=3) == expected


@pytest.mark.parametrize("cut", [0, 1, 3])
def test_segments_in_another_order_are_put_in_theirs(cut: int) -> None:
    talk = Talk().open()
    pdu = bytes((16, 0, 0, 0, 100, 200)) + bytes(range(200))
    whole = build_adu(7, 1, pdu)
    for at in range(0, len(whole), 50):
        talk.send(CLIENT, whole[at : at + 50])
    talk.answer(7, pdu[:5])
    opening, parts, end = talk.rows[:3], talk.rows[3:-1], talk.rows[-1:]
    streams = Streams()
    found = told(streams, opening + parts[::-1] + end, cut=cut)
    assert found == [Row(1, 7, pdu, pdu[:5])]
    assert streams.statistics.reordered >= 3
    assert streams.statistics.gaps == 0


def test_a_hole_that_was_acknowledged_is_given_up_and_nobody_is_accused() -> None:
    talk = Talk().open()
    first = talk.poll(1)
    talk.ask(2, read(2), lost=True)
    talk.answer(2, registers(2))
    third = [talk.poll(tid) for tid in (3, 4)]
    talk.now_ns += SECOND
    talk.send(CLIENT)
    streams = Streams()
    found = told(streams, talk.rows, cut=1)
    assert [row for row in found if row.request] == [first, *third]
    assert [row for row in found if not row.request] == [
        Row(1, 2, b"", registers(2))  # and not UNSOLICITED
    ]
    assert streams.statistics.gaps == 1
    assert streams.statistics.missed == 12


def test_a_lost_reply_makes_no_unanswered_request() -> None:
    talk = Talk().open()
    talk.ask(1, read(1))
    talk.answer(1, registers(1), lost=True)
    expected = [talk.poll(tid) for tid in (2, 3)]
    talk.now_ns += 10 * SECOND
    expected.append(talk.poll(4))
    found = told(Streams(), talk.rows, cut=1)
    assert sorted(found) == sorted([Row(1, 1, read(1), b""), *expected])


def test_a_hole_that_nobody_acknowledges_waits_five_seconds() -> None:
    talk = Talk().open()
    talk.ask(1, read(1), lost=True)
    talk.send(CLIENT, build_adu(2, 1, read(2)))
    streams = Streams()
    assert not len(streams.feed(batch(talk.rows)))
    streams.flush(talk.now_ns + 4 * SECOND)
    assert streams.statistics.gaps == 0
    streams.flush(talk.now_ns + 5 * SECOND)
    assert streams.statistics.gaps == 1


def test_what_waits_behind_a_hole_is_bounded() -> None:
    talk = Talk().open()
    talk.send(CLIENT, build_adu(0, 1, read(0)), lost=True)
    pdu = bytes((16, 0, 0, 0, 100, 200)) + bytes(200)
    for tid in range(1, 400):
        talk.ask(tid, pdu)
    streams = Streams()
    streams.feed(batch(talk.rows))
    counts = streams.statistics
    assert (counts.gaps, counts.missed, counts.reordered) == (1, 12, 257)
    assert streams._reassembly._total == 0


def test_the_middle_of_a_connection_is_a_beginning() -> None:
    talk = Talk().open()
    for tid in range(3):
        talk.poll(tid)
    half = talk.ask(9, read(9))
    talk.rows[-1] = half._replace(
        data=half.data[5:], sequence=half.sequence + 5
    )  # the tap begins within an ADU
    talk.answer(9, registers(9))
    expected = [talk.poll(tid) for tid in range(20, 24)]
    streams = Streams()
    found = told(streams, talk.rows[-10:])
    assert [row for row in found if row.request] == expected
    assert [row.problems for row in found] == [0] * 5
    assert streams.statistics.skipped == 7


def test_a_segment_from_nowhere_does_not_move_a_connection() -> None:
    talk = Talk().open()
    first = talk.poll(1)
    spoofed = talk.rows[-2]._replace(
        sequence=(talk.next[CLIENT] + 2**30) % 2**32, data=build_adu(66, 1, read(6))
    )
    talk.rows.append(spoofed)
    second = [talk.poll(tid) for tid in (2, 3)]
    streams = Streams()
    assert told(streams, talk.rows, cut=1) == [first, *second]
    assert streams.statistics.strays == 1


def test_far_away_counts_where_the_other_side_is_there_too() -> None:
    """The tap was blind for a long time; the connection went on."""
    talk = Talk().open()
    first = talk.poll(1)
    for side in (CLIENT, SERVER):
        talk.next[side] += 2**30
    talk.send(SERVER)
    talk.send(CLIENT)
    second = [talk.poll(tid) for tid in (2, 3, 4)]
    streams = Streams()
    assert told(streams, talk.rows, cut=1) == [first, *second]
    assert streams.statistics.gaps == 2
    assert streams.statistics.strays == 0


def test_keepalives_say_nothing() -> None:
    talk = Talk().open()
    first = talk.poll(1)
    kept = talk.send(CLIENT)
    talk.rows[-1] = kept._replace(sequence=kept.sequence - 1, data=b"\0")
    second = talk.poll(2)
    assert told(Streams(), talk.rows) == [first, second]


def test_bytes_in_a_syn_are_bytes() -> None:
    talk = Talk()
    pdu = read(4)
    talk.send(CLIENT, build_adu(4, 1, pdu), flags=SYN)
    talk.send(SERVER, flags=SYN | ACK)
    talk.answer(4, registers(4))
    assert told(Streams(), talk.rows) == [Row(1, 4, pdu, registers(4))]


def test_a_reply_captured_before_its_request_is_still_its_reply() -> None:
    talk = Talk().open()
    expected = [talk.poll(tid) for tid in (1, 2)]
    rows = talk.rows
    rows[3], rows[4] = rows[4], rows[3]
    for cut in (0, 1, 4):
        assert told(Streams(), rows, cut=cut) == expected


def test_batches_of_nothing_give_nothing() -> None:
    streams = Streams()
    assert rows_of(streams.feed(batch([Talk().send(0)]))) == []
    assert not len(streams.flush(0))
    assert not len(streams.finish())


@pytest.mark.parametrize("cut", [0, 1, 7])
def test_a_hole_delays_only_what_is_behind_it_however_large_a_batch_is(
    cut: int,
) -> None:
    talk = Talk().open()
    expected = []
    for tid in range(60):
        talk.now_ns += SECOND
        talk.ask(tid, read(tid), lost=tid == 5)
        talk.answer(tid, registers(tid), lost=tid == 9)
        talk.send(CLIENT)
        asked = b"" if tid == 5 else read(tid)
        expected.append(Row(1, tid, asked, b"" if tid == 9 else registers(tid)))
    streams = Streams()
    assert sorted(told(streams, talk.rows, cut=cut)) == sorted(expected)
    counts = streams.statistics
    assert (counts.gaps, counts.overdue) == (2, 0)
    assert counts.reordered <= 4


def test_what_waited_behind_a_hole_keeps_its_time() -> None:
    talk = Talk().open()
    talk.poll(1)
    talk.ask(2, read(2), lost=True)
    asked = talk.ask(3, read(3))
    answered = talk.answer(3, registers(3))
    talk.now_ns += SECOND
    talk.poll(4)
    pairs = Streams().feed(batch(talk.rows))
    at = pairs.tid.tolist().index(3)
    assert int(pairs.time_ns[at]) == asked.time_ns
    assert int(pairs.reply_ns[at]) == answered.time_ns
