"""Who is the server, and who is forgotten first."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.capture.ethernet import ACK, RST, SYN
from protocols.modbus import connections
from protocols.modbus.connections import Connections, address_text
from protocols.modbus.exchanges import UNLISTED
from protocols.modbus.peers import Peers
from protocols.modbus.streams import Streams
from tests.support.tapped import CLIENT, SECOND, SERVER, Talk, batch, endpoint, told


def sides(streams: Streams, talk: Talk) -> list[tuple[str, str, int]]:
    pairs = streams.feed(batch(talk.rows))
    name = streams.peers.name
    return [
        (name(int(c)), name(int(s)), int(link))
        for c, s, link in zip(pairs.client, pairs.server, pairs.link, strict=True)
    ]


LOW, HIGH = "10.0.0.7", "10.0.0.20"


@pytest.mark.parametrize("client", [(LOW, 40_000), ("192.168.0.1", 40_000)])
def test_the_server_has_the_port(client: tuple[str, int]) -> None:
    talk = Talk(client=client)
    talk.poll(1)
    assert sides(Streams(), talk) == [(client[0], HIGH, UNLISTED)]


def test_where_both_have_it_the_server_got_the_syn() -> None:
    talk = Talk(client=(HIGH, 502), server=(LOW, 502)).open()
    talk.poll(1)
    assert sides(Streams(), talk) == [(HIGH, LOW, UNLISTED)]


def test_where_both_have_it_and_no_syn_was_seen_the_client_speaks_first() -> None:
    talk = Talk(client=(HIGH, 502), server=(LOW, 502))
    talk.poll(1)
    assert sides(Streams(), talk) == [(HIGH, LOW, UNLISTED)]


def test_without_ports_every_connection_is_read() -> None:
    talk = Talk(server=(HIGH, 8502)).open()
    talk.poll(1)
    assert sides(Streams(ports=()), talk) == [(LOW, HIGH, UNLISTED)]
    streams = Streams()
    assert sides(streams, talk) == []
    assert streams.statistics.other == len(talk.rows)


def test_a_listed_device_is_the_server_on_its_own_port() -> None:
    talk = Talk(client=(LOW, 502), server=(HIGH, 8502))
    talk.poll(1)
    assert sides(Streams(links={(HIGH, 8502): 4}), talk) == [(LOW, HIGH, 4)]


def test_addresses_of_both_families_are_named_as_people_write_them() -> None:
    talk = Talk(client=("fe80::1", 9), server=("fe80::2", 502))
    talk.poll(1)
    assert sides(Streams(links={("fe80::2", 502): 1}), talk) == [
        ("fe80::1", "fe80::2", 1)
    ]
    assert address_text(endpoint(("10.1.2.3", 5))[:16]) == "10.1.2.3"


def test_keys_with_one_sum_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sum is a short cut: whoever forges one gains nothing."""
    monkeypatch.setattr(connections, "_MIXERS", (0,) * 6)
    talks = [Talk(client=("10.0.0.7", 1000 + n)) for n in range(5)]
    expected = [talk.poll(n) for n, talk in enumerate(talks)]
    rows = [row for talk in talks for row in talk.rows]
    assert sorted(told(Streams(), rows)) == sorted(expected)


def test_the_table_is_bounded_and_forgets_the_oldest() -> None:
    table = Connections((502,), {}, Peers(), rows_max=2048)
    forgotten: list[int] = []
    table.told.append(forgotten.append)
    talks = [
        Talk(client=("10.0.0.7", 1000 + n), now_ns=n * SECOND) for n in range(3000)
    ]
    rows = [talk.send(CLIENT, flags=SYN) for talk in talks]
    for at in range(0, len(rows), 500):
        table.rows_of(batch(rows[at : at + 500]))
    assert len(table) == 3000 - 1024
    assert len(forgotten) == 1024
    assert int(table.seen_ns[table.serial > 0].min()) > 1000 * SECOND


def test_what_was_forgotten_is_counted_and_its_requests_are_told() -> None:
    streams = Streams()
    streams._table = table = Connections((502,), {}, streams.peers, rows_max=2048)
    table.told += [streams._reassembly.forget, streams._framing.forget]
    for part in (streams._reassembly, streams._framing, streams._pairing):
        part._table = table
    first = Talk().open()
    first.ask(1, b"\x03\x00\x00\x00\x02")
    assert not len(streams.feed(batch(first.rows)))
    found = 0
    for at in range(5):
        rows = [
            Talk(client=("10.0.0.8", 1000 + at * 500 + n), now_ns=first.now_ns).send(
                CLIENT, flags=SYN
            )
            for n in range(500)
        ]
        pairs = streams.feed(batch(rows))
        found += len(pairs)
        assert not pairs.problems.any()  # nobody looked any more: not UNANSWERED
    assert found == 1
    assert streams.statistics.evicted == 1024


def test_silence_frees_rows() -> None:
    streams = Streams()
    talk = Talk().open()
    talk.poll(1)
    streams.feed(batch(talk.rows))
    streams.flush(talk.now_ns + 299 * SECOND)
    assert len(streams._table) == 1
    streams.flush(talk.now_ns + 301 * SECOND)
    assert len(streams._table) == 0
    assert np.count_nonzero(streams._table.serial) == 0


def test_what_has_ended_goes_first_and_is_no_loss() -> None:
    streams = Streams()
    live = Talk().open()
    expected = [live.poll(1)]
    streams.feed(batch(live.rows))
    rows = []
    for port in range(17_000):
        talk = Talk(client=("10.0.0.8", 1024 + port), now_ns=live.now_ns)
        talk.send(CLIENT, flags=SYN)
        talk.send(SERVER, flags=RST | ACK)
        rows += talk.rows
    assert told(streams, rows, cut=8000) == []
    assert streams.statistics.evicted == 0
    del live.rows[:]
    expected.append(live.poll(2))
    assert told(streams, live.rows) == expected[1:]
