"""Exchanges of a capture: real ones against Zeek's and Suricata's own accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from protocols.capture.ethernet import SegmentParser
from protocols.modbus.exchanges import ExchangeBatch, Problem
from protocols.modbus.pairs import concat_pairs, decode_pairs
from protocols.modbus.streams import Streams

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
