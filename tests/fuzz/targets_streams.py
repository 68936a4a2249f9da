"""Fuzzing target of what a tap sees: packets of any bytes, at any time."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.capture.ethernet import LINKS, find_segments
from protocols.capture.pcap_packets import TAIL, Packets
from protocols.modbus.pairs import decode_pairs
from protocols.modbus.streams import Streams

if TYPE_CHECKING:
    from protocols.modbus.exchanges import PairBatch

PACKETS_MAX: Final = 200
_RECORD: Final = struct.Struct(">BHH")  # how, milliseconds since the last, bytes
BATCH: Final = 1 << 4  # in ``how``: a batch ends before this packet


def record(frame: bytes, ms: int = 1, link: int = 1, *, begins: bool = False) -> bytes:
    """Return what the target reads as one packet."""
    how = LINKS.index(link) | (BATCH if begins else 0)
    return _RECORD.pack(how, ms, len(frame)) + frame


def modbus_packets(data: bytes) -> None:
    """Packets: each is a segment or counted, and what comes out has its bytes."""
    streams, skipped = Streams(), dict[str, int]()
    now_ns, at, packets, segments = 0, 0, 0, 0
    held: list[tuple[int, int, bytes]] = []
    for _ in range(PACKETS_MAX):
        if len(data) - at < _RECORD.size:
            break
        how, ms, size = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        frame = data[at : at + size]
        at += size
        now_ns += ms * 1_000_000
        link = LINKS[(how & 15) % len(LINKS)]
        if held and (how & BATCH or held[0][0] != link):
            segments += _fed(streams, held, skipped)
            held = []
        held.append((link, now_ns, frame))
        packets += 1
    if held:
        segments += _fed(streams, held, skipped)
    _checked(streams.flush(now_ns))
    _checked(streams.finish())
    assert segments + sum(skipped.values()) == packets
    assert streams._pairing.pending == 0
    assert streams._reassembly._total == 0
    counts = streams.statistics
    assert counts.skipped <= len(data)


def _fed(
    streams: Streams, held: list[tuple[int, int, bytes]], skipped: dict[str, int]
) -> int:
    sizes = np.array([len(frame) for _, _, frame in held], np.int64)
    packets = Packets(
        np.frombuffer(b"".join(frame for _, _, frame in held) + bytes(TAIL), np.uint8),
        np.cumsum(sizes) - sizes,
        sizes,
        np.array([time_ns for _, time_ns, _ in held], np.int64),
        np.zeros(len(held), np.uint8),
    )
    segments = find_segments(packets, held[0][0], skipped)
    _checked(streams.feed(segments))
    return len(segments)


def _checked(pairs: PairBatch) -> None:
    assert (np.diff(pairs.time_ns) >= 0).all()
    for at, size in (
        (pairs.request_at, pairs.request_size), (pairs.reply_at, pairs.reply_size),
    ):  # fmt: skip
        assert (at >= -1).all()
        assert (at + size <= len(pairs.chars) - TAIL).all()
        assert (size <= 253).all()
    assert ((pairs.request_at >= 0) | (pairs.reply_at >= 0)).all()
    decode_pairs(pairs)
