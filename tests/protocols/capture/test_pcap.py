"""pcap and pcapng with CAN, against tshark; damaged and foreign files."""

from __future__ import annotations

import itertools
import json
import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.capture.columns import read_stream
from protocols.capture.pcap import PcapParser
from protocols.errors import WireError
from protocols.frames import FrameBatch, concat_frames

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000


def packet(
    ident: int, data: bytes, *, fd: int | None = None, size: int | None = None
) -> bytes:
    width = 8 if fd is None else 64
    length = len(data) if size is None else size
    return struct.pack(">IBBxx", ident, length, fd or 0) + data.ljust(width, b"\0")


def cooked(ident: int, data: bytes, protocol: int, order: str = "<") -> bytes:
    head = struct.pack(">HHH8sH", 1, 280, 0, bytes(8), protocol)
    flags = 5 if protocol == 13 else 0
    width = 64 if protocol == 13 else 8
    body = struct.pack(f"{order}IBBxx", ident, len(data), flags)
    return head + body + data.ljust(width, b"\0")


def pcap(
    packets: list[bytes], order: str = "<", *, ns: bool = False, link: int = 227
) -> bytes:
    magic = 0xA1B23C4D if ns else 0xA1B2C3D4
    out = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, link)]
    for n, body in enumerate(packets):
        head = struct.pack(
            f"{order}IIII", 1_700_000_000 + n, 123_456, len(body), len(body)
        )
        out += [head, body]
    return b"".join(out)


def block(kind: int, body: bytes, order: str) -> bytes:
    size = 12 + len(body) + -len(body) % 4
    edge = struct.pack(f"{order}I", size)
    return struct.pack(f"{order}I", kind) + edge + body + bytes(-len(body) % 4) + edge


def option(code: int, value: bytes, order: str) -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str) -> bytes:
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(
    order: str, link: int = 227, name: bytes = b"", resolution: int = 6
) -> bytes:
    body = struct.pack(f"{order}HHI", link, 0, 0) + option(
        9, bytes([resolution]), order
    )
    if name:
        body += option(2, name, order)
    return block(1, body + option(0, b"", order), order)


def enhanced(order: str, number: int, ticks: int, body: bytes) -> bytes:
    head = struct.pack(
        f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(body), len(body)
    )
    return block(6, head + body, order)


PACKETS = [
    packet(0x123, b"\xde\xad\xbe\xef"),
    packet(0x92345678, b"12345678"),
    packet(0x123, b"x" * 64, fd=5),
    packet(0x7FF, b"y" * 12, fd=4 | 2),
    packet(0x123, b"abc", fd=0),  # an older libpcap: only the structure tells FD
    packet(0x40000123, b"", size=8),
    packet(0x20000004, b"\0\x10\0\0\0\0\0\0"),
    packet(0x001, b""),
]
EXPECTED = [
    ("can0", 0x123, 4, 0, b"\xde\xad\xbe\xef"),
    ("can0", 0x92345678, 8, 0, b"12345678"),
    ("can0", 0x123, 64, 5, b"x" * 64),
    ("can0", 0x7FF, 12, 6, b"y" * 12),
    ("can0", 0x123, 3, 4, b"abc"),
    ("can0", 0x40000123, 8, 0, bytes(8)),
    ("can0", 0x20000004, 8, 0, b"\0\x10\0\0\0\0\0\0"),
    ("can0", 0x001, 0, 0, b""),
]


def rows(frames: FrameBatch, buses: list[str]) -> list[tuple]:
    return [
        (buses[b], int(i), int(s), int(f), bytes(p[:s]))
        for b, i, s, f, p in zip(
            frames.bus,
            frames.ident,
            frames.size,
            frames.flags,
            frames.payload,
            strict=True,
        )
    ]


def parse(*chunks: bytes) -> tuple[FrameBatch, PcapParser]:
    parser = PcapParser()
    return concat_frames(list(read_stream(parser, chunks))), parser


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("ns", [False, True])
def test_classic_pcap(order: str, ns: bool) -> None:
    frames, parser = parse(pcap(PACKETS, order, ns=ns))
    assert rows(frames, parser.buses) == EXPECTED
    start = 1_700_000_000 * SECOND + 123_456 * (1 if ns else 1000)
    assert frames.time_ns.tolist() == [start + n * SECOND for n in range(len(PACKETS))]


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_with_names_and_resolutions(order: str) -> None:
    raw = (
        section(order)
        + interface(order, name=b"vcan7")
        + interface(order, link=1)
        + interface(order, resolution=9)
        + interface(order, resolution=0x80 | 10)
        + block(4, b"names", order)
        + enhanced(order, 0, 1_700_000_000_000_001, PACKETS[0])
        + enhanced(order, 1, 5, b"ethernet")
        + enhanced(order, 2, 1_700_000_000_000_000_001, PACKETS[1])
        + enhanced(order, 3, 1024 * 3 + 512, PACKETS[2])
        + enhanced(order, 9, 5, PACKETS[2])
        + block(3, struct.pack(f"{order}I", 16) + PACKETS[0], order)
        + section(order)
        + interface(order, name=b"second")
        + enhanced(order, 0, 7, PACKETS[3])
    )
    frames, parser = parse(raw)
    assert [row[0] for row in rows(frames, parser.buses)] == [
        "vcan7",
        "can2",
        "can3",
        "second",
    ]
    assert frames.time_ns.tolist() == [
        1_700_000_000_000_001_000, 1_700_000_000_000_000_001, 3_500_000_000, 7000,
    ]  # fmt: skip
    assert parser.skipped == {
        "link type 1 (Ethernet)": 1,
        "packet of an unknown interface": 1,
        "pcapng packet without a time": 1,
    }


@pytest.mark.parametrize("order", ["<", ">"])
def test_cooked_packets(order: str) -> None:
    packets = [
        cooked(0x92345678, b"12345678", 0x0C, order),
        cooked(0x123, b"z" * 20, 0x0D, order),
        cooked(0x123, b"", 0x0800, order),
    ]
    frames, parser = parse(pcap(packets, order, link=113))
    assert rows(frames, parser.buses) == [
        ("can0", 0x92345678, 8, 0, b"12345678"),
        ("can0", 0x123, 20, 5, b"z" * 20),
    ]
    assert parser.skipped == {"cooked packet that is no CAN": 1}


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark not installed")
@pytest.mark.parametrize("link", [227, 113])
def test_tshark_reads_the_same(tmp_path: Path, link: int) -> None:
    rng = np.random.default_rng(3)
    packets = []
    for _ in range(60):
        extended = bool(rng.random() < 0.5)
        ident = int(rng.integers(0, 1 << (29 if extended else 11))) | extended << 31
        fd = bool(rng.random() < 0.3)
        data = rng.bytes(int(rng.choice([0, 3, 8, 12, 64] if fd else [0, 1, 5, 8])))
        if link == 113:
            packets.append(cooked(ident, data, 13 if fd else 12))
        else:
            packets.append(
                packet(ident, data, fd=4 | int(rng.integers(0, 4)) if fd else None)
            )
    file = tmp_path / "made.pcap"
    file.write_bytes(pcap(packets, link=link))
    fields = ["can.id", "can.flags.xtd", "can.len", "data.data", "frame.time_epoch"]
    command = [
        "tshark",
        "-r",
        str(file),
        "-T",
        "json",
        "-o",
        "can.try_heuristic_first:FALSE",
    ]
    command += [part for field in fields for part in ("-e", field)]
    shown = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    theirs = [p["_source"]["layers"] for p in shown]
    frames, parser = parse(file.read_bytes())
    assert len(theirs) == len(frames) == len(packets)
    for t, (_, ident, size, _, data), time in zip(
        theirs, rows(frames, parser.buses), frames.time_ns.tolist(), strict=True
    ):
        assert int(t["can.id"][0], 0) == ident & 0x1FFFFFFF
        assert t["can.flags.xtd"][0] in (
            {"1", "True", "true"} if ident >> 31 else {"0", "False", "false"}
        )
        assert int(t["can.len"][0]) == size
        assert bytes.fromhex(t.get("data.data", [""])[0].replace(":", "")) == data
        whole, part = t["frame.time_epoch"][0].split(".")
        assert int(whole) * SECOND + int(part.ljust(9, "0")[:9]) == time


MIXED = pcap(PACKETS)
MODERN = (
    section("<") + interface("<") + b"".join(enhanced("<", 0, 9, p) for p in PACKETS)
)


@given(st.sampled_from([MIXED, MODERN]), st.lists(st.integers(0, 900), max_size=8))
def test_any_cut_gives_the_same_frames(raw: bytes, places: list[int]) -> None:
    cuts = sorted([0, *(min(p, len(raw)) for p in places), len(raw)])
    frames, parser = parse(*(raw[a:b] for a, b in itertools.pairwise(cuts)))
    assert rows(frames, parser.buses) == EXPECTED


@given(st.sampled_from([MIXED, MODERN]), st.data())
def test_changed_bytes_give_frames_or_a_wire_error(
    raw: bytes, data: st.DataObject
) -> None:
    changed = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 5))):
        changed[data.draw(st.integers(0, len(raw) - 1))] = data.draw(
            st.integers(0, 255)
        )
    length = data.draw(st.integers(0, len(raw)))
    parser, got = PcapParser(), []
    try:
        got.extend(read_stream(parser, [bytes(changed[:length])]))
    except WireError as error:
        parser.error = error
    frames = concat_frames(got)
    assert (frames.size <= 64).all()
    assert len(frames) <= len(PACKETS) + 1


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (pcap([], link=1), "link type 1 \\(Ethernet\\) carries no CAN"),
        (pcap([], link=9999), "link type 9999 carries no CAN"),
        (b"", "pcap header at byte 0: file ends"),
        (bytes(24), "neither pcap nor pcapng"),
        (MIXED[:-3], "pcap record at byte [0-9]+: file ends inside it"),
        (MIXED + struct.pack("<IIII", 0, 0, 1 << 30, 0), "claims 1073741824 bytes"),
        (MODERN + struct.pack("<III", 6, 1 << 30, 0), "block claims 1073741824 bytes"),
        (section("<") + interface("<", link=1), "no CAN interface .* 1 \\(Ethernet\\)"),
        (section("<")[:8] + bytes(24), "unknown byte order"),
        (section("<") + interface("<", resolution=99), "resolution is out of range"),
    ],
)
def test_what_cannot_be_read_is_named(raw: bytes, reason: str) -> None:
    parser, got = PcapParser(), []
    with pytest.raises(WireError, match=reason):
        got.extend(read_stream(parser, [raw]))
    if raw.startswith((MIXED[:200], MODERN[:200])):
        assert len(concat_frames(got)) >= len(PACKETS) - 1


def test_packets_that_are_no_frames_are_counted() -> None:
    packets = [
        b"1234",
        packet(0x1, b"x" * 8, size=9),
        packet(0x1, b"x" * 64, fd=4, size=65),
        packet(0x1, b"x" * 8)[:12],
        struct.pack(">IBBH", 0x1, 0x81, 0, 100) + bytes(104),
        packet(0x1, b"good"),
    ]
    frames, parser = parse(pcap(packets))
    assert rows(frames, parser.buses) == [("can0", 1, 4, 0, b"good")]
    assert parser.skipped == {
        "short packet": 1,
        "CAN XL frame": 1,
        "length out of range": 2,
        "packet cut off by the snap length": 1,
    }
