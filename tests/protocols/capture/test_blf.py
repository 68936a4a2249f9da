"""BLF: against python-can's reader and writer; torn, damaged and hostile files."""

from __future__ import annotations

import io
import itertools
import struct
import zlib

import can
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.capture import blf
from protocols.capture.blf import BlfParser
from protocols.capture.columns import read_stream
from protocols.errors import WireError
from protocols.frames import FrameBatch, concat_frames
from tests.support.examples import upto

HEADER = struct.Struct("<4sIBBBBBBBBQQII8H8H72x")
FD_SIZES = (0, 1, 5, 8, 12, 16, 20, 24, 32, 48, 64)


class _Kept(io.BytesIO):
    """A file whose bytes outlive its close."""

    def close(self) -> None:
        """Stay open: python-can's writer closes what it wrote."""


def made(messages: list[can.Message], **options: int) -> bytes:
    file = _Kept()
    writer = can.BLFWriter(file, **options)
    for message in messages:
        writer.on_message_received(message)
    writer.stop()
    return file.getvalue()


def mixed(count: int, seed: int = 1) -> list[can.Message]:
    rng = np.random.default_rng(seed)
    out = []
    for n in range(count):
        kind = rng.integers(0, 12)
        extended = bool(rng.random() < 0.5)
        common = {
            "timestamp": 1_700_000_000.25 + n * 0.000_123,
            "arbitration_id": int(rng.integers(0, 1 << (29 if extended else 11))),
            "is_extended_id": extended,
            "channel": int(rng.integers(0, 3)),
            "is_rx": bool(rng.random() < 0.5),
        }
        if kind == 0:
            common = {"timestamp": common["timestamp"], "channel": common["channel"]}
            out.append(can.Message(is_error_frame=True, **common))
        elif kind == 1:
            dlc = int(rng.integers(0, 9))
            out.append(can.Message(is_remote_frame=True, dlc=dlc, **common))
        elif kind < 5:
            size = int(rng.choice(FD_SIZES))
            data = rng.integers(0, 256, size).astype("u1").tobytes()
            flags = {
                "bitrate_switch": bool(n & 1),
                "error_state_indicator": bool(n & 2),
            }
            out.append(can.Message(is_fd=True, data=data, **flags, **common))
        else:
            # The signature inside a payload must not be taken for an object.
            data = b"LOBJ LOB" if kind == 5 else rng.bytes(int(rng.integers(0, 9)))
            out.append(can.Message(data=data, **common))
    return out


def expected(raw: bytes) -> list[tuple]:
    out = []
    for m in can.BLFReader(io.BytesIO(raw)):
        if m.is_error_frame:
            row = (0x20000080, 0, 0, b"")
        else:
            ident = m.arbitration_id | m.is_extended_id << 31 | m.is_remote_frame << 30
            flags = 4 * m.is_fd | m.bitrate_switch | m.error_state_indicator << 1
            row = (ident, m.dlc, flags, bytes(m.data))
        out.append((round(m.timestamp * 1e6), f"can{m.channel}", *row))
    return out


def rows(frames: FrameBatch, buses: list[str]) -> list[tuple]:
    return [
        (
            round(t / 1e3), buses[b], int(i), int(s), int(f),
            bytes(p[: 0 if i >> 30 & 1 else s]),
        )
        for t, b, i, s, f, p in zip(
            frames.time_ns, frames.bus, frames.ident, frames.size, frames.flags,
            frames.payload, strict=True,
        )
    ]  # fmt: skip


def parse(*chunks: bytes) -> tuple[list[tuple], BlfParser]:
    parser = BlfParser()
    frames = concat_frames(list(read_stream(parser, chunks)))
    return rows(frames, parser.buses), parser


def read_until_broken(raw: bytes) -> tuple[list[tuple], WireError]:
    parser, got = BlfParser(), []
    with pytest.raises(WireError) as caught:
        got.extend(
            read_stream(parser, [raw[i : i + 999] for i in range(0, len(raw), 999)])
        )
    return rows(concat_frames(got), parser.buses), caught.value


@pytest.mark.parametrize("level", [-1, 0])
@pytest.mark.parametrize("container", [500, 128 * 1024])
def test_python_can_reads_the_same(level: int, container: int) -> None:
    raw = made(mixed(600), compression_level=level, max_container_size=container)
    got, _ = parse(*(raw[i : i + 4096] for i in range(0, len(raw), 4096)))
    assert got == expected(raw)
    assert len(got) == 600


SMALL = made(mixed(30), max_container_size=700)


@given(st.lists(st.integers(0, len(SMALL)), max_size=8))
def test_any_cut_gives_the_same_frames(places: list[int]) -> None:
    cuts = sorted([0, *places, len(SMALL)])
    got, _ = parse(*(SMALL[a:b] for a, b in itertools.pairwise(cuts)))
    assert got == expected(SMALL)


@given(st.integers(0, len(SMALL) - 1))
def test_half_a_file_gives_its_frames_and_then_the_place(length: int) -> None:
    parser, got = BlfParser(), []
    try:
        got.extend(read_stream(parser, [SMALL[:length]]))
    except WireError as error:
        broken = error.offset
    else:  # cut between containers, inside the padding behind one, or at an object
        broken = length
    frames = rows(concat_frames(got), parser.buses)
    assert frames == expected(SMALL)[: len(frames)]
    assert broken is not None


def test_a_torn_container_still_gives_the_frames_it_holds() -> None:
    raw = made(mixed(400), compression_level=0)
    got, error = read_until_broken(raw[: len(raw) // 2])
    assert 150 < len(got) < 250
    assert got == expected(raw)[: len(got)]
    assert str(error).startswith(
        "BLF container at byte 144: file ends inside it, after"
    )


@settings(max_examples=upto(200))
@given(st.data())
def test_changed_bytes_give_frames_or_a_wire_error(data: st.DataObject) -> None:
    raw = bytearray(STORED)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    parser, got = BlfParser(), []
    try:
        got.extend(read_stream(parser, [bytes(raw)]))
    except WireError as error:
        parser.error = error
    frames = concat_frames(got)
    assert (frames.size <= 64).all()
    assert len(frames) <= 30


STORED = made(mixed(30), compression_level=0)


def blf_file(
    *objects: bytes, start: tuple[int, ...] = (2024, 2, 4, 29, 12, 0, 1, 500)
) -> bytes:
    head = HEADER.pack(
        b"LOGG", 144, 0, 0, 0, 0, 2, 6, 8, 1, 0, 0, 0, 0, *start, *[0] * 8
    )
    return head + b"".join(objects)


def wrapped(
    kind: int, body: bytes, flags: int = 2, time: int = 7, version: int = 1
) -> bytes:
    if version == 1:
        head, rest = 32, struct.pack("<IHHQ", flags, 0, 0, time)
    else:
        head, rest = 40, struct.pack("<IBxHQQ", flags, 0, 0, time, 0)
    size = head + len(body)
    base = struct.pack("<4sHHII", b"LOBJ", head, version, size, kind)
    return base + rest + body + bytes(size % 4)


def container(data: bytes, method: int = 2, size: int | None = None) -> bytes:
    packed = zlib.compress(data) if method == 2 else data
    whole = 32 + len(packed)
    head = struct.pack("<4sHHII", b"LOBJ", 16, 1, size or whole, 10)
    return head + struct.pack("<H6xI4x", method, len(data)) + packed + bytes(whole % 4)


def classic(data: bytes, ident: int = 0x123, channel: int = 1, dlc: int = 8) -> bytes:
    return struct.pack("<HBBI8s", channel, 0, dlc, ident, data)


def fd_64(data: bytes, valid: int, flags: int = 0x7000, extension: int = 0) -> bytes:
    dlc = {12: 9, 64: 15, 0: 8}[valid]
    return struct.pack(
        "<BBBBLLLLLLLHBBL", 2, dlc, valid, 0, 0x80000123, 0, flags, 0, 0, 0, 0, 0, 0,
        extension, 0,
    ) + data  # fmt: skip


def test_objects_that_python_can_does_not_write() -> None:
    raw = blf_file(
        container(
            wrapped(86, classic(b"12345678") + bytes(8), version=2)
            + wrapped(1, classic(b"abcdefgh", dlc=15), flags=1, time=100_000)
            + wrapped(101, fd_64(b"x" * 64, 64))
            + wrapped(101, fd_64(b"y" * 10, 12))
            + wrapped(101, fd_64(b"z" * 12, 12, flags=0x1000, extension=32 + 40 + 4))
            + wrapped(101, fd_64(b"", 0, flags=0x10))
            + wrapped(2, struct.pack("<HH", 3, 0))
            + wrapped(65, b"some application text")
            + wrapped(1, classic(b"lastlast"))
        )
    )
    got, parser = parse(raw)
    start = 1_709_208_001_500_000  # 2024-02-29 12:00:01.5 UTC in us
    assert got == [
        (start, "can0", 0x123, 8, 0, b"12345678"),
        (start + 1_000_000, "can0", 0x123, 8, 0, b"abcdefgh"),
        (start, "can1", 0x80000123, 64, 7, b"x" * 64),
        (start, "can1", 0x80000123, 12, 7, b"y" * 10 + bytes(2)),
        (start, "can1", 0x80000123, 12, 4, b"zzzz" + bytes(8)),
        (start, "can1", 0xC0000123, 8, 0, b""),
        (start, "can2", 0x20000080, 0, 0, b""),
        (start, "can0", 0x123, 8, 0, b"lastlast"),
    ]
    assert parser.skipped == {"object type 65": 1}
    theirs = [row for row in expected(raw) if row[2] >> 30 != 3]
    ours = [r for r in got if r[1] != "can2" and r[2] >> 30 != 3]
    assert ours[:1] + ours[2:] == theirs[:1] + theirs[2:]  # they keep a raw DLC of 15


def test_objects_outside_containers_are_read() -> None:
    got, _ = parse(blf_file(wrapped(1, classic(b"12345678")), start=(0,) * 8))
    assert got == [(0, "can0", 0x123, 8, 0, b"12345678")]


@pytest.mark.parametrize(
    "start",
    [
        (9999, 1, 0, 1, 0, 0, 0, 0),
        (2024, 13, 0, 1, 0, 0, 0, 0),
        (1601, 1, 0, 1, 0, 0, 0, 0),
    ],
)
def test_an_impossible_start_counts_from_zero(start: tuple[int, ...]) -> None:
    got, _ = parse(blf_file(wrapped(1, classic(b"12345678"), time=5000), start=start))
    assert [row[0] for row in got] == [5]


def test_limits_and_damage_are_named_with_their_place() -> None:
    good = container(wrapped(1, classic(b"12345678")))
    at = 144 + len(good)
    flipped = bytearray(good)
    flipped[40] ^= 0xFF
    bomb = container(bytes(blf.INFLATED_BYTES_MAX + 1))
    for bad, what in [
        (bytes(flipped), f"BLF container at byte {at}: compressed data is damaged"),
        (bomb, f"BLF container at byte {at}: inflates to more than"),
        (b"JUNK" + good, f"BLF container at byte {at}: no LOBJ"),
        (container(b"", size=1 << 30), f"BLF container at byte {at}: claims 107374"),
        (container(b"JUNKJUNK"), "BLF object at byte 48: no object where one must"),
        (container(wrapped(1, b"short")), "BLF object at byte 48: too short for its"),
        (container(wrapped(1, classic(b""), time=1 << 63)), "object at byte 48: too"),
        (container(struct.pack("<4sHHII", b"LOBJ", 16, 1, 3, 65)), "shorter than its"),
        (container(wrapped(1, classic(b""))[:40]), "object at byte 48: stream ends"),
    ]:  # fmt: skip
        got, error = read_until_broken(blf_file(good, bad))
        assert got[0][-1] == b"12345678"
        assert what in str(error)


@pytest.mark.parametrize(
    "head", [b"", b"LO", b"LOGG", b"LOGG\xff\xff\xff\xff" + bytes(90), b"PK12"]
)
def test_what_is_no_blf_is_refused(head: bytes) -> None:
    with pytest.raises(WireError, match="BLF header"):
        list(read_stream(BlfParser(), [head]))


def test_an_unknown_compression_is_counted() -> None:
    _, parser = parse(blf_file(container(b"x", method=9)))
    assert parser.skipped == {"container with compression method 9": 1}


def test_an_object_that_spans_many_containers_is_found_once_it_is_whole() -> None:
    inner = wrapped(65, bytes(5000)) + wrapped(1, classic(b"12345678"))
    parts = [container(inner[i : i + 7]) for i in range(0, len(inner), 7)]
    got, parser = parse(blf_file(*parts))
    assert [row[-1] for row in got] == [b"12345678"]
    assert parser.skipped == {"object type 65": 1}
