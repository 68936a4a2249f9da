"""Endpoints that connect again, and those who only pretend to."""

from __future__ import annotations

import pytest

from protocols.capture.ethernet import ACK, RST, SYN
from protocols.modbus.exchanges import Problem
from protocols.modbus.restarts import PASSES_MAX
from protocols.modbus.streams import Streams
from tests.support.tapped import CLIENT, SERVER, Row, Talk, read, told

UNANSWERED = int(Problem.UNANSWERED)


def reopened(talk: Talk, begins: list[int]) -> Talk:
    """Return another connection of the same endpoints, on the same tape."""
    return Talk(now_ns=talk.now_ns, rows=talk.rows, next=begins).open()


@pytest.mark.parametrize("cut", [0, 1, 5])
@pytest.mark.parametrize("ends", [True, False])
def test_a_port_that_is_used_again_is_another_connection(cut: int, ends: bool) -> None:
    talk = Talk().open()
    expected = [talk.poll(1)]
    talk.ask(2, read(2))
    if ends:
        talk.close()
    again = reopened(talk, [77, 88])
    expected += [Row(1, 2, read(2), b"", UNANSWERED), again.poll(2)]
    assert sorted(told(Streams(), talk.rows, cut=cut)) == sorted(expected)


def test_a_reset_ends_what_waits() -> None:
    talk = Talk().open()
    talk.ask(2, read(2))
    talk.send(SERVER, flags=RST | ACK)
    again = reopened(talk, [5, 6])
    expected = [Row(1, 2, read(2), b"", UNANSWERED), again.poll(1)]
    assert sorted(told(Streams(), talk.rows)) == sorted(expected)


def test_a_syn_into_a_live_connection_changes_nothing() -> None:
    talk = Talk().open()
    expected = [talk.poll(1)]
    forged = Talk(now_ns=talk.now_ns, next=[4_000_000, 1])
    talk.rows.append(forged.send(CLIENT, flags=SYN))
    expected.append(talk.poll(2))
    for cut in (0, 1):
        assert told(Streams(), talk.rows, cut=cut) == expected


def test_data_of_a_syn_that_is_not_believed_is_counted() -> None:
    talk = Talk().open()
    expected = [talk.poll(1)]
    forged = Talk(now_ns=talk.now_ns, next=[4_000_000, 1])
    talk.rows.append(forged.send(CLIENT, read(2), SYN))
    streams = Streams()
    assert told(streams, talk.rows) == expected
    assert streams.statistics.strays == 1


def test_bytes_behind_a_forged_reset_are_still_read() -> None:
    talk = Talk().open()
    expected = [talk.poll(1)]
    talk.rows.append(talk.send(CLIENT, flags=RST | ACK, lost=True))
    expected += [talk.poll(2), talk.poll(3)]
    for cut in (0, 1):
        assert told(Streams(), talk.rows, cut=cut) == expected


def test_a_handshake_that_is_repeated_is_one() -> None:
    talk = Talk().open()
    talk.rows[1:1] = talk.rows[:1]
    talk.rows[3:3] = talk.rows[2:3]
    expected = [talk.poll(1)]
    for cut in (0, 1):
        assert told(Streams(), talk.rows, cut=cut) == expected


def test_the_end_of_an_older_connection_may_come_first() -> None:
    old = Talk(next=[10, 20])
    old.close()
    talk = Talk(now_ns=old.now_ns).open()
    expected = [talk.poll(1)]
    for cut in (0, 1):
        assert told(Streams(), old.rows + talk.rows, cut=cut) == expected


def test_many_connections_of_the_same_endpoints_in_one_batch() -> None:
    talk = Talk()
    count = PASSES_MAX + 1
    expected = []
    for number in range(count):
        again = reopened(talk, [1000 * number, 5_000_000 - 1000 * number])
        talk.now_ns = again.now_ns
        expected.append(again.poll(number))
        again.send(CLIENT, flags=RST | ACK)
        talk.now_ns = again.now_ns
    assert told(Streams(), talk.rows) == expected


def test_half_open_probes_leave_no_exchange() -> None:
    rows = []
    for port in range(2000, 2100):
        scan = Talk(client=("10.9.9.9", port))
        scan.send(CLIENT, flags=SYN)
        scan.send(SERVER, flags=RST | ACK)
        rows += scan.rows
    streams = Streams()
    assert told(streams, rows, cut=30) == []
    assert streams.statistics.evicted == 0
