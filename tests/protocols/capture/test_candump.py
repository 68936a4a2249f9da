"""Candump log: against python-can and can-utils, and under any cut of the bytes."""

from __future__ import annotations

import io
import itertools
import shutil
import subprocess
from typing import TYPE_CHECKING

import can
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.capture.candump import CandumpParser, encode_candump
from protocols.capture.candump_lines import LINE_BYTES_MAX, REASONS
from protocols.capture.columns import read_stream
from protocols.errors import WireError
from protocols.frames import FrameBatch, concat_frames

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = (
    b"""\
(1436509052.249713) can0 123#DEADBEEF
(1436509052.249714) can0 12345678#DEADBEEF0102 R
(0000000003.5) vcan_long-name.7 123##1DEADBEEF
(3.000000001) can0 123#R8 T
(3.1) can0 7FF#R
(3.2) can0 20000080#0000000000000000
(3.3) can0 123#1122334455667788_C
(3.4) can1 00000001##3"""
    + b"A5" * 64
    + b"\r\n\n(4.0) can0 001#\n"
)


def rows(frames: FrameBatch, buses: list[str]) -> list[tuple]:
    return [
        (
            int(t), buses[b], int(i), int(s), int(f),
            p[:s].tobytes() if not i & 0x40000000 else b"",
        )
        for t, b, i, s, f, p in zip(
            frames.time_ns, frames.bus, frames.ident, frames.size, frames.flags,
            frames.payload, strict=True,
        )
    ]  # fmt: skip


def parse(*chunks: bytes, strict: bool = True) -> tuple[FrameBatch, CandumpParser]:
    parser = CandumpParser(strict=strict)
    return concat_frames(list(read_stream(parser, chunks))), parser


def reasons(text: bytes) -> dict[str, int]:
    return parse(text, strict=False)[1].skipped


def test_every_kind_of_line() -> None:
    frames, parser = parse(EXAMPLES)
    got = rows(frames, parser.buses)
    second = 1_000_000_000
    assert got == [
        (1436509052249713000, "can0", 0x123, 4, 0, bytes.fromhex("DEADBEEF")),
        (1436509052249714000, "can0", 0x92345678, 6, 0, b"\xde\xad\xbe\xef\1\2"),
        (
            3 * second + second // 2,
            "vcan_long-name.7",
            0x123,
            4,
            5,
            b"\xde\xad\xbe\xef",
        ),
        (3 * second + 1, "can0", 0x40000123, 8, 0, b""),
        (31 * second // 10, "can0", 0x400007FF, 0, 0, b""),
        (32 * second // 10, "can0", 0x20000080, 8, 0, bytes(8)),
        (33 * second // 10, "can0", 0x123, 8, 0, bytes.fromhex("1122334455667788")),
        (34 * second // 10, "can1", 0x80000001, 64, 7, b"\xa5" * 64),
        (4 * second, "can0", 0x001, 0, 0, b""),
    ]
    assert frames.width == 64
    assert not frames.payload[:7, 8:].any()


@given(st.data())
def test_any_cut_gives_the_same_frames(data: st.DataObject) -> None:
    places = st.lists(st.integers(0, len(EXAMPLES)), max_size=8)
    cuts = sorted([0, *data.draw(places), len(EXAMPLES)])
    chunks = [EXAMPLES[a:b] for a, b in itertools.pairwise(cuts)]
    frames, parser = parse(*chunks)
    whole, once = parse(EXAMPLES)
    assert rows(frames, parser.buses) == rows(whole, once.buses)
    assert parser.lines == once.lines


@given(
    st.binary(max_size=300)
    | st.text("(1.) can0#3ARrT_\n\r", max_size=300).map(str.encode)
)
def test_any_bytes_give_frames_or_a_wire_error(text: bytes) -> None:
    try:
        frames, _ = parse(text)
    except WireError:
        frames = concat_frames([])
    assert frames.payload.shape == (len(frames), frames.width)
    lenient, parser = parse(text, strict=False)
    written = sum(bool(line.rstrip(b"\r ")) for line in text.split(b"\n"))
    assert len(lenient) + sum(parser.skipped.values()) == written


@given(st.data())
def test_a_changed_byte_never_gives_a_foreign_exception(data: st.DataObject) -> None:
    text = bytearray(EXAMPLES)
    for _ in range(data.draw(st.integers(1, 6))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    lenient, parser = parse(bytes(text), strict=False)
    assert (lenient.size <= 64).all()
    assert (lenient.bus < max(1, len(parser.buses))).all()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"hello", "not `(time) bus frame`"),
        (b"(1.0) can0  123   [2]  11 22", "no `#`"),
        (b"(1.0) can0 123#00 X", "neither R nor T"),
        (b"(1.0) can0 123#00 R R", "neither R nor T"),
        (b"1.0 can0 123#00", "time is not"),
        (b"(1) can0 123#00", "time is not"),
        (b"(.5) can0 123#00", "time is not"),
        (b"(1.0a) can0 123#00", "time is not"),
        (b"(99999999999.0) can0 123#00", "time is not"),
        (b"(9999999999.0) can0 123#00", "time is not"),
        (b"(1.0123456789) can0 123#00", "time is not"),
        (b"(1.0) can0 1234#00", "neither 3 nor 8"),
        (b"(1.0) can0 12G#00", "neither 3 nor 8"),
        (b"(1.0) can0 800#00", "out of range"),
        (b"(1.0) can0 80000000#00", "out of range"),
        (b"(1.0)  123#00", "bus name"),
        (b"(1.0) " + b"x" * 65 + b" 123#00", "bus name"),
        (b"(1.0) c\x07n0 123#00", "bus name"),
        (b"(1.0) can0 123#0", "whole hexadecimal"),
        (b"(1.0) can0 123#0g", "whole hexadecimal"),
        (b"(1.0) can0 123#1122_C", "whole hexadecimal"),
        (b"(1.0) can0 123#112233445566778899", "longer than"),
        (b"(1.0) can0 123##1" + b"00" * 65, "longer than"),
        (b"(1.0) can0 123##", "CAN FD flags"),
        (b"(1.0) can0 123##x00", "CAN FD flags"),
        (b"(1.0) can0 123#R9", "malformed length"),
        (b"(1.0) can0 123#R88", "malformed length"),
        (b"(1.0) can0 123#" + b"0" * LINE_BYTES_MAX, "too long"),
    ],
)
def test_a_malformed_line_is_named_with_its_number(line: bytes, reason: str) -> None:
    good = b"(1.0) can0 123#00\n"
    parser = CandumpParser()
    frames = []
    with pytest.raises(WireError, match=r"^line 4: ") as caught:
        frames.extend(read_stream(parser, [good + b"\n" + good, line + b"\n" + good]))
    assert reason in caught.value.reason
    frames_before = caught.value
    assert parser.error is frames_before
    with pytest.raises(WireError):
        parser.feed(good)
    assert list(reasons(good + line + b"\n" + good)) == [caught.value.reason]


def test_frames_before_a_malformed_line_are_delivered() -> None:
    got: list[FrameBatch] = []
    text = b"(1.0) can0 123#00\n" * 5 + b"(1.0) can0 12\n" + b"(1.0) can0 123#00\n"
    with pytest.raises(WireError, match="line 6"):
        got.extend(read_stream(CandumpParser(), [text]))
    assert sum(map(len, got)) == 5


def test_a_line_without_end_is_refused_in_bounded_memory() -> None:
    parser = CandumpParser(strict=False)
    for _ in range(50):
        parser.feed(b"x" * 1000)
    assert len(parser._torn) <= LINE_BYTES_MAX + 1
    assert len(parser.feed(b"\n(1.0) can0 123#00\n")) == 1
    assert parser.skipped == {"line is too long": 1}
    with pytest.raises(WireError, match="line 1: line is too long"):
        list(read_stream(CandumpParser(), [b"x" * 5000]))


def test_the_257th_bus_is_refused() -> None:
    text = b"".join(b"(1.0) can%d 123#00\n" % n for n in range(258))
    frames, parser = parse(text, strict=False)
    assert len(frames) == len(parser.buses) == 256
    assert parser.skipped == {REASONS[-1]: 2}


def python_can(text: str) -> list[tuple]:
    out = []
    for m in can.CanutilsLogReader(io.StringIO(text)):
        ident = m.arbitration_id | (m.is_extended_id << 31) | (m.is_remote_frame << 30)
        flags = 4 * m.is_fd | m.bitrate_switch | m.error_state_indicator << 1
        out.append(
            (round(m.timestamp * 1e6), m.channel, ident, m.dlc, flags, bytes(m.data))
        )
    return out


def test_real_capture_equals_python_can(data: Path) -> None:
    raw = (data / "can-comma2k19-rav4" / "rav4_5s.candump.log").read_bytes()
    frames, parser = parse(*(raw[i : i + 65_536] for i in range(0, len(raw), 65_536)))
    assert len(frames) == 8233
    ours = [(r[0] // 1000, *r[1:]) for r in rows(frames, parser.buses)]
    assert ours == python_can(raw.decode())


@st.composite
def batches(draw: st.DrawFn, fd: bool = True) -> tuple[FrameBatch, list[str]]:
    count = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    width = draw(st.sampled_from([8, 64])) if fd else 8
    extended = rng.random(count) < 0.5
    ident = np.where(
        extended,
        rng.integers(0, 1 << 29, count) | 0x80000000,
        rng.integers(0, 0x800, count),
    ).astype(np.uint32)
    is_fd = (rng.random(count) < 0.5) & (width == 64)
    remote = (rng.random(count) < 0.2) & ~is_fd
    ident[remote] |= np.uint32(0x40000000)
    fd_sizes = np.array([0, 1, 7, 8, 12, 16, 20, 24, 32, 48, 64])
    size = np.where(is_fd, rng.choice(fd_sizes, count), rng.integers(0, 9, count))
    flags = np.where(is_fd, 4 | rng.integers(0, 4, count), 0)
    payload = rng.integers(0, 256, (count, width)).astype(np.uint8)
    payload[np.arange(width) >= (size * ~remote)[:, None]] = 0
    step = draw(st.sampled_from([1, 1000]))
    time = rng.integers(0, 2**61, count) // step * step
    buses = ["can0", "vcan1", "a-very.long_bus#name", "x"]
    return FrameBatch(
        time, rng.integers(0, 4, count).astype(np.uint8), ident, size.astype(np.uint8),
        flags.astype(np.uint8), payload,
    ), buses  # fmt: skip


@given(batches())
def test_what_is_written_is_read_back(made: tuple[FrameBatch, list[str]]) -> None:
    frames, buses = made
    again, parser = parse(encode_candump(frames, buses))
    assert rows(again, parser.buses) == rows(frames, buses)


@given(batches())
def test_python_can_reads_what_is_written(made: tuple[FrameBatch, list[str]]) -> None:
    frames, buses = made
    theirs = python_can(encode_candump(frames, buses).decode())
    ours = rows(frames, buses)
    assert [t[1:] for t in theirs] == [o[1:] for o in ours]


@pytest.mark.parametrize("name", ["", "a b", "tab\t", "ü", "x" * 65])
def test_a_bus_name_that_the_format_cannot_hold_is_refused(name: str) -> None:
    frames, _ = parse(b"(1.0) can0 123#00\n")
    with pytest.raises(WireError, match="bus name"):
        encode_candump(frames, [name])


@pytest.mark.skipif(shutil.which("log2asc") is None, reason="can-utils not installed")
@given(made=batches(fd=False))
def test_can_utils_reads_what_is_written(made: tuple[FrameBatch, list[str]]) -> None:
    frames, _ = made
    frames = FrameBatch(
        np.sort(frames.time_ns % 10**18 // 1000 * 1000), frames.bus * np.uint8(0),
        frames.ident, frames.size, frames.flags, frames.payload,
    )  # fmt: skip
    text = encode_candump(frames, ["can0"])
    asc = subprocess.run(
        ["log2asc", "can0"], input=text, capture_output=True, check=True
    )
    lines = [x.split() for x in asc.stdout.decode().splitlines() if " Rx " in x]
    assert len(lines) == len(frames)
    for line, (_, _, ident, size, _, payload) in zip(
        lines, rows(frames, ["can0"]), strict=True
    ):
        shown = f"{ident & 0x1FFFFFFF:X}" + ("x" if ident >> 31 else "")
        assert line[2] == shown
        if ident & 0x40000000:
            assert line[4] == "r"
        else:
            assert line[4:6] == ["d", str(size)]
            assert bytes.fromhex("".join(line[6 : 6 + size])) == payload
