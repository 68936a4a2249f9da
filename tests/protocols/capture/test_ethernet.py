"""TCP segments of packets of every link type; whatever else comes is counted."""

from __future__ import annotations

import ipaddress
import itertools
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.capture.ethernet import (
    LINKS,
    SegmentBatch,
    SegmentParser,
    concat_segments,
    find_segments,
    packets_of_rows,
)
from protocols.capture.pcap_packets import TAIL, Packets
from protocols.errors import WireError
from tests.support.examples import upto

DATA = b"\0\1\0\0\0\6\1\3\0\0\0\2"
MACS = bytes(range(12))


def tcp(data: bytes = DATA, options: bytes = b"", flags: int = 0x18) -> bytes:
    head = struct.pack(
        ">HHIIBBHHH", 40_000, 502, 7, 9, (20 + len(options)) // 4 << 4, flags, 1, 0, 0
    )
    return head + options + data


def ipv4(
    body: bytes, *, options: bytes = b"", fragment: int = 0x4000, kind: int = 6
) -> bytes:
    size = 20 + len(options)
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x40 | size // 4, 0, size + len(body), 1, fragment, 64, kind,
        0, bytes((10, 0, 0, 7)), bytes((10, 0, 0, 20)),
    )  # fmt: skip
    return head + options + body


def ipv6(body: bytes, kind: int = 6) -> bytes:
    source, target = (
        ipaddress.ip_address(one).packed for one in ("fe80::7", "fe80::9")
    )
    return struct.pack(">IHBB", 6 << 28, len(body), kind, 64) + source + target + body


def ether(kind: int, body: bytes, tags: tuple[int, ...] = ()) -> bytes:
    head = MACS + b"".join(struct.pack(">HH", tag, 5) for tag in tags)
    return (head + struct.pack(">H", kind) + body).ljust(60, b"\0")


def cooked(kind: int, body: bytes) -> bytes:
    return struct.pack(">HHH8sH", 0, 1, 6, b"", kind) + body


def cooked2(kind: int, body: bytes) -> bytes:
    return struct.pack(">HHIHBB8s", kind, 0, 1, 1, 0, 6, b"") + body


def find(frames: list[bytes], link: int = 1) -> tuple[SegmentBatch, dict[str, int]]:
    sizes = np.array([len(frame) for frame in frames], np.int64)
    packets = Packets(
        np.frombuffer(b"".join(frames) + bytes(TAIL), np.uint8),
        np.cumsum(sizes) - sizes,
        sizes,
        np.arange(len(frames), dtype=np.int64),
        np.zeros(len(frames), np.uint8),
    )
    skipped: dict[str, int] = {}
    return find_segments(packets, link, skipped), skipped


def payloads(segments: SegmentBatch) -> list[bytes]:
    chars = segments.chars.tobytes()
    places = zip(segments.at.tolist(), segments.size.tolist(), strict=True)
    return [chars[at : at + size] for at, size in places]


PACKET4, PACKET6 = ipv4(tcp()), ipv6(tcp())
HOP = struct.pack(">BB6s", 6, 0, b"")  # hop-by-hop, then TCP
CHAIN = struct.pack(">BB6s", 60, 0, b"") + struct.pack(">BB14s", 6, 1, b"")


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (1, ether(0x0800, PACKET4)),
        (1, ether(0x86DD, PACKET6)),
        (1, ether(0x0800, PACKET4, (0x8100,))),
        (1, ether(0x86DD, PACKET6, (0x88A8, 0x8100))),
        (1, ether(0x0800, ipv4(tcp(), options=b"\1" * 8))),
        (1, ether(0x0800, ipv4(tcp(options=b"\1" * 12)))),
        (1, ether(0x86DD, ipv6(HOP + tcp(), kind=0))),
        (1, ether(0x86DD, ipv6(CHAIN + tcp(), kind=43))),
        (113, cooked(0x0800, PACKET4)),
        (113, cooked(0x8100, struct.pack(">HH", 5, 0x86DD) + PACKET6)),
        (276, cooked2(0x86DD, PACKET6)),
        (101, PACKET4),
        (101, PACKET6),
        (12, PACKET4),
        (228, PACKET4),
        (229, PACKET6),
        (0, struct.pack("<I", 2) + PACKET4),
        (0, struct.pack(">I", 30) + PACKET6),
        (108, struct.pack(">I", 2) + PACKET4),
    ],
)
def test_every_link_type(link: int, frame: bytes) -> None:
    segments, skipped = find([frame, frame], link)
    assert skipped == {}
    assert payloads(segments) == [DATA, DATA]
    assert segments.sequence.tolist() == [7, 7]
    assert segments.acknowledged.tolist() == [9, 9]
    assert segments.flags.tolist() == [0x18, 0x18]
    six = b"\xfe\x80" in frame
    source, target = ("fe80::7", "fe80::9") if six else ("10.0.0.7", "10.0.0.20")
    for column, address, port in (
        (segments.source, source, 40_000), (segments.target, target, 502),
    ):  # fmt: skip
        raw = column[0].tobytes()
        found = ipaddress.IPv6Address(raw[:16])
        assert str(found.ipv4_mapped or found) == address
        assert int.from_bytes(raw[16:], "big") == port


@pytest.mark.parametrize(
    ("frame", "cause"),
    [
        (ether(0x0806, bytes(28)), "not IP"),
        (ether(0x0800, ipv4(tcp(), kind=17)), "not TCP"),
        (ether(0x0800, ipv4(tcp(), fragment=0x2000)), "IPv4 fragment"),
        (ether(0x0800, ipv4(tcp(), fragment=0x0010)), "IPv4 fragment"),
        (ether(0x86DD, ipv6(HOP + tcp(), kind=44)), "IPv6 fragment"),
        (ether(0x86DD, ipv6(tcp(), kind=58)), "not TCP"),
        (ether(0x0800, PACKET6), "malformed IP header"),
        (ether(0x0800, b"\x42" + PACKET4[1:]), "malformed IP header"),
        (ether(0x0800, PACKET4)[:30], "short packet"),
        (ether(0x0800, PACKET4)[:50], "short packet"),
        (
            ether(0x0800, ipv4(tcp()[:12] + b"\x10" + tcp()[13:])),
            "malformed TCP header",
        ),
        (MACS, "short packet"),
        (ether(0x0800, b"", (0x8100,))[:18], "short packet"),
    ],
)
def test_what_is_no_segment_is_counted(frame: bytes, cause: str) -> None:
    good = ether(0x0800, PACKET4)
    segments, skipped = find([good, frame, good])
    assert payloads(segments) == [DATA, DATA]
    assert skipped == {cause: 1}
    assert segments.time_ns.tolist() == [0, 2]


def test_padding_is_no_payload_and_what_was_cut_off_is_not_there() -> None:
    acknowledgement = ether(0x0800, ipv4(tcp(b"", flags=0x10)))
    assert len(acknowledgement) == 60
    cut = ether(0x0800, PACKET4)[:-4]
    segments, _ = find([acknowledgement, cut])
    assert payloads(segments) == [b"", DATA[: len(cut) - 54]]


def test_offloaded_packets_have_no_length_of_their_own() -> None:
    large = bytearray(ether(0x0800, ipv4(tcp(DATA * 100))))
    large[16:18] = bytes(2)
    segments, _ = find([bytes(large)])
    assert payloads(segments) == [DATA * 100]


def test_rows_of_a_live_interface() -> None:
    data = np.zeros((3, 200), np.uint8)
    frame = ether(0x0800, PACKET4)
    for row in range(3):
        data[row, : len(frame)] = np.frombuffer(frame, np.uint8)
    length = np.array([len(frame), -1, len(frame)], np.int64)
    times = np.array([5, 6, 7], np.int64)
    packets = packets_of_rows(data, length, times)
    assert len(packets.chars) == 2 * len(frame) + TAIL
    segments = find_segments(packets, 1, {})
    assert payloads(segments) == [DATA, DATA]
    assert segments.time_ns.tolist() == [5, 7]
    assert not len(packets_of_rows(data[:0], length[:0], times[:0]).at)


def capture(frames: list[bytes], link: int = 1) -> bytes:
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, link)]
    for second, frame in enumerate(frames):
        out += [struct.pack("<IIII", second, 0, len(frame), len(frame)), frame]
    return b"".join(out)


@settings(max_examples=upto(40), deadline=None)
@given(cuts=st.lists(st.integers(0, 700), max_size=6))
def test_any_cut_of_a_file_gives_the_same_segments(cuts: list[int]) -> None:
    frames = [ether(0x0800, PACKET4), ether(0x86DD, PACKET6), ether(0x0806, b"")] * 3
    raw = capture(frames)
    parser = SegmentParser()
    places = [0, *sorted(cuts), len(raw)]
    parts = [parser.feed(raw[a:b]) for a, b in itertools.pairwise(places)]
    parser.finish()
    assert parser.error is None
    assert parser.skipped == {"not IP": 3}
    assert payloads(concat_segments(parts)) == [DATA] * 6


def test_a_file_of_another_kind_is_refused() -> None:
    parser = SegmentParser()
    assert not len(parser.feed(capture([], link=227)))
    assert str(parser.error) == (
        "pcap header at byte 20: link type 227 (SocketCAN) carries no Ethernet or IP"
        " frames"
    )
    with pytest.raises(WireError):
        parser.feed(b"")


@settings(max_examples=upto(40), deadline=None)
@given(
    frames=st.lists(
        st.one_of(
            st.binary(max_size=120),
            st.tuples(
                st.sampled_from(
                    [
                        ether(0x0800, PACKET4),
                        ether(0x86DD, ipv6(CHAIN + tcp(), kind=43)),
                    ]
                ),
                st.lists(
                    st.tuples(st.integers(0, 110), st.integers(0, 255)), max_size=4
                ),
                st.integers(0, 130),
            ).map(
                lambda drawn: bytes(
                    dict(drawn[1]).get(at, byte) for at, byte in enumerate(drawn[0])
                )[: drawn[2]]
            ),
        ),
        max_size=6,
    ),
    link=st.sampled_from(LINKS),
)
def test_any_packet_is_a_segment_or_counted(frames: list[bytes], link: int) -> None:
    segments, skipped = find(frames, link)
    assert len(segments) + sum(skipped.values()) == len(frames)
    assert (segments.size >= 0).all()
    assert (segments.at + segments.size <= len(segments.chars) - TAIL).all()
