"""However segments come, the exchanges are the same; and any segments give some."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.capture.ethernet import SegmentParser
from protocols.modbus.exchanges import ExchangeBatch, Problem
from protocols.modbus.mbap import build_adu
from protocols.modbus.pairs import concat_pairs, decode_pairs
from protocols.modbus.streams import Streams
from tests.support.examples import upto
from tests.support.tapped import (
    CLIENT,
    MS,
    SERVER,
    Row,
    Seg,
    Talk,
    batch,
    read,
    registers,
    rows_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from protocols.capture.ethernet import SegmentBatch


def segments_of(raw: bytes) -> SegmentBatch:
    parser = SegmentParser()
    segments = parser.feed(raw)
    parser.finish()
    assert parser.error is None
    return segments


def exchanges_of(segments: SegmentBatch, streams: Streams) -> ExchangeBatch:
    return decode_pairs(concat_pairs([streams.feed(segments), streams.finish()]))


def test_every_request_of_a_real_capture_has_its_reply(data: Path) -> None:
    path = data / "modbus-icsnpp" / "modbus_example.pcap"
    streams = Streams(links={("127.0.0.1", 502): 3})
    found = exchanges_of(segments_of(path.read_bytes()), streams)
    assert len(found) == 24
    # Requests of 20 and 21 are shorter than any can be; the capture's maker knew.
    odd = (found.function == 20) | (found.function == 21)
    assert (found.problems == np.where(odd, int(Problem.LENGTH), 0)).all()
    assert (found.reply_ns > found.time_ns).all()
    assert found.link.tolist() == [3] * 23 + [255]
    names = [streams.peers.name(number) for number in found.server]
    assert names == ["127.0.0.1"] * 23 + ["3.15.227.20"]


def test_requests_without_reply_are_told_where_the_capture_shows_all(
    data: Path,
) -> None:
    path = data / "modbus-suricata" / "modbus.pcap"
    found = exchanges_of(segments_of(path.read_bytes()), Streams())
    unanswered = (found.problems & int(Problem.UNANSWERED)) != 0
    assert found.function[unanswered].tolist() == [43, 43, 7]


def written(tid: int, count: int) -> tuple[bytes, bytes]:
    head = bytes((16, 0, tid, 0, count))
    return head + bytes((2 * count,)) + bytes(range(2 * count)), head


def conversation(rng: Random) -> tuple[list[Seg], list[Row]]:
    """Return requests and replies, some in flight at once, cut into segments."""
    count = rng.randint(1, 10)
    expected = []
    for tid in range(count):
        size = rng.randint(0, 120)
        pdus = written(tid, size) if size % 3 else (read(tid), registers(tid, size))
        expected.append(Row(rng.randint(1, 2), tid, *pdus))
    talk = Talk(next=rng.choice([[1000, 2000], [2**32 - 30, 2**32 - 5]])).open()
    asked = answered = 0
    while answered < count:
        more = rng.randint(0, min(4, count - asked))
        said = expected[asked : asked + more]
        cut_up(rng, talk, CLIENT, [(row.tid, row.unit, row.request) for row in said])
        asked += more
        more = rng.randint(0, asked - answered)
        said = expected[answered : answered + more]
        cut_up(rng, talk, SERVER, [(row.tid, row.unit, row.reply) for row in said])
        answered += more
    return talk.rows, expected


def cut_up(
    rng: Random, talk: Talk, side: int, said: list[tuple[int, int, bytes]]
) -> None:
    data = b"".join(build_adu(*one) for one in said)
    cuts = [rng.randint(0, len(data)) for _ in range(rng.randint(0, 4))]
    for begin, end in pairwise([0, *sorted(cuts), len(data)]):
        if begin < end:
            talk.send(side, data[begin:end])


def disturbed(rng: Random) -> tuple[list[Seg], list[Row]]:
    """Return a conversation of which segments come twice, overlap, change places."""
    rows, expected = conversation(rng)
    opening, rows = rows[:3], rows[3:]
    for at in [rng.randrange(len(rows)) for _ in range(rng.randint(0, 4))]:
        row = rows[at]
        before = [
            one
            for one in rows
            if one.source == row.source
            and (one.sequence + len(one.data)) % 2**32 == row.sequence
        ]
        if before:  # as a sender that cuts its bytes anew
            row = row._replace(
                sequence=before[0].sequence, data=before[0].data + row.data
            )
        rows.insert(rng.randint(at + 1, len(rows)), row)
    far = rng.choice([0, 2, 6])
    rank = {at: at + rng.randint(0, far) for at in range(len(rows))}
    begin = opening[-1].time_ns
    shuffled = [
        rows[at]._replace(time_ns=begin + (place + 1) * MS)
        for place, at in enumerate(sorted(rank, key=lambda at: rank[at]))
    ]
    return opening + shuffled, expected


@settings(max_examples=upto(40), deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_however_segments_come_the_exchanges_are_the_same(seed: int) -> None:
    rng = Random(seed)
    rows, expected = disturbed(rng)
    cuts = sorted(rng.randint(0, len(rows)) for _ in range(rng.randint(0, 5)))
    streams = Streams()
    found = [
        streams.feed(batch(rows[begin:end]))
        for begin, end in pairwise([0, *cuts, len(rows)])
        if begin < end
    ]
    found.append(streams.finish())
    assert sorted(rows_of(concat_pairs(found))) == sorted(expected)
    counts = streams.statistics
    assert (counts.gaps, counts.missed, counts.skipped, counts.strays) == (0, 0, 0, 0)


_WORDS = st.one_of(st.integers(0, 400), st.integers(0, 2**32 - 1), st.just(2**32 - 1))
_DATA = st.one_of(
    st.binary(max_size=30),
    st.builds(build_adu, st.integers(0, 3), st.integers(0, 2), st.just(read(1))),
)


@settings(max_examples=upto(30), deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 20), st.integers(0, 5), st.booleans(), _WORDS, _WORDS,
            st.integers(0, 63), _DATA,
        ),
        max_size=40,
    ),
    st.lists(st.integers(0, 40), max_size=4),
)  # fmt: skip
def test_any_segments_give_exchanges_whose_bytes_are_there(
    drawn: list[tuple[int, int, bool, int, int, int, bytes]], cuts: list[int]
) -> None:
    rows = []
    for time, port, back, sequence, acked, flags, data in drawn:
        ends = [("10.0.0.7", 502 - port), ("10.0.0.8", 502)]
        if back:
            ends.reverse()
        rows.append(Seg(time * 10**9, ends[0], ends[1], sequence, acked, flags, data))
    streams = Streams()
    found = []
    for begin, end in pairwise(
        [0, *sorted(min(c, len(rows)) for c in cuts), len(rows)]
    ):
        if begin < end:
            found.append(streams.feed(batch(rows[begin:end])))
        found.append(streams.flush(end * 10**9))
    found.append(streams.finish())
    for pairs in found:
        assert (np.diff(pairs.time_ns) >= 0).all()
        for at, size in (
            (pairs.request_at, pairs.request_size), (pairs.reply_at, pairs.reply_size),
        ):  # fmt: skip
            assert (at >= -1).all()
            assert (at + size + 200 <= len(pairs.chars)).all()
            assert (size <= 253).all()
        assert ((pairs.request_at >= 0) | (pairs.reply_at >= 0)).all()
        decode_pairs(pairs)
    assert streams._reassembly._total == 0
    assert streams._pairing.pending == 0
