"""A serial line: silences that are hidden or invented change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from protocols.modbus.exchanges import UNLISTED, Problem
from protocols.modbus.rtu import build_rtu
from protocols.modbus.rtu_line import HELD_MAX, JOIN_NS, RtuLine, silence_ns
from protocols.modbus.rtu_pairing import Ends
from tests.support.examples import upto
from tests.support.pair_told import told

if TYPE_CHECKING:
    from random import Random

P = Problem
ENDS = Ends(1, 1, UNLISTED)
MS = 1_000_000
BAUD = 19_200
BYTE_NS = int(11e9 / BAUD)


def h(text: str) -> bytes:
    return bytes.fromhex(text)


def a_line() -> RtuLine:
    return RtuLine(BAUD, ENDS)


# What real masters and devices say, one exchange after the other.
TALK = [
    (1, "03 0000 0002", "03 04 0001 0002"), (1, "06 0001 0003", "06 0001 0003"),
    (2, "01 0000 0011", "01 03 ffff01"), (2, "10 0001 0001 02 0007", "10 0001 0001"),
    (3, "2b 0e 01 00", "2b 0e 01 01 00 00 01 00 03 414243"),
    (9, "08 0000 a537", "08 0000 a537"),
    (1, "03 0000 0002", "83 02"), (3, "17 0000 0001 0001 0001 02 0009", "17 02 0001"),
    (4, "11", "11 03 5347ff"), (4, "18 0004", "18 0004 0001 0009"),
    (0, "05 0001 ff00", ""), (7, "14 07 06 0001 0000 0001", "14 04 03 06 0007"),
]  # fmt: skip
FRAMES = [
    (unit, h(pdu)) for unit, ask, reply in TALK for pdu in (ask, reply) if pdu
]  # fmt: skip
WANTED = [(u, h(ask), h(reply) if reply else None, 0) for u, ask, reply in TALK]


def shown(line: RtuLine) -> list[tuple[int, bytes | None, bytes | None, int]]:
    return [
        (one.unit, one.request, one.reply, one.problems) for one in told(line.take())
    ]


def test_silence_by_baud_rate() -> None:
    """Clause 2.5.1.1: 3.5 characters; above 19,200 baud 1.750 ms."""
    assert silence_ns(9_600) == pytest.approx(4.01e6, rel=0.01)
    assert silence_ns(115_200) == 1_750_000
    with pytest.raises(ValueError, match="baud"):
        RtuLine(0, ENDS)


def test_frames_between_silences() -> None:
    line, now = a_line(), 0
    for unit, pdu in FRAMES:
        frame = build_rtu(unit, pdu)
        now += 5 * MS + len(frame) * BYTE_NS
        line.feed(frame, now)
    line.idle(now + 5 * MS)
    assert shown(line) == WANTED
    assert line.statistics.frames == len(FRAMES)
    assert (line.statistics.broken, line.statistics.skipped) == (0, 0)


@given(st.randoms(use_true_random=True))
@settings(max_examples=upto(40), phases=[Phase.generate])
def test_any_cut_and_any_silence_give_the_same(pick: Random) -> None:
    """Chunks of any size; pauses within frames, none between them."""
    bytes_ = b"".join(build_rtu(unit, pdu) for unit, pdu in FRAMES)
    line, now, at = a_line(), 0, 0
    while at < len(bytes_):
        size = pick.choice([1, 2, 3, 7, 8, 16, 40, 90])
        chunk = bytes_[at : at + size]
        pause = pick.choice([0, 0, MS, 3 * MS, JOIN_NS - 5 * MS])
        now += pause + len(chunk) * BYTE_NS
        line.feed(chunk, now)
        if pick.random() < 0.2:
            line.idle(now + 3 * MS)
        at += size
    line.idle(now + JOIN_NS)
    assert shown(line) == WANTED
    assert line.due_ns is None


def test_noise_and_broken_frames_are_told_and_the_next_one_is_found() -> None:
    read, data = build_rtu(1, h("03 0000 0001")), build_rtu(1, h("03 02 0007"))
    broken = data[:-1] + bytes([data[-1] ^ 1])
    line = a_line()
    for at, chunk in enumerate(
        (b"\xff", read, broken, read + data, b"\x00\x00" + read)
    ):
        line.feed(chunk, (at + 1) * 100 * MS)
    line.close()
    asked = h("03 0000 0001")
    assert shown(line) == [
        (1, asked, broken[1:-2], P.CHECKSUM), (1, asked, h("03 02 0007"), 0),
        (1, asked, None, P.UNANSWERED),
    ]  # fmt: skip
    statistics = line.statistics
    assert (statistics.frames, statistics.broken, statistics.skipped) == (4, 1, 3)


def test_times_are_those_of_the_frames_last_byte() -> None:
    read, data = build_rtu(1, h("03 0000 0001")), build_rtu(1, h("03 02 0007"))
    line = a_line()
    line.feed(read + data, 100 * MS)
    assert line.due_ns == 100 * MS + silence_ns(BAUD)
    line.idle(110 * MS)
    batch = line.take()
    assert batch is not None
    assert batch.time_ns.tolist() == [100 * MS - len(data) * BYTE_NS]
    assert batch.reply_ns.tolist() == [100 * MS]


def test_an_unanswered_request_is_told_when_its_time_is_over() -> None:
    line = a_line()
    line.feed(build_rtu(1, h("03 0000 0001")), 100 * MS)
    line.idle(200 * MS)
    assert line.take() is None
    assert line.due_ns == 5_100 * MS
    line.idle(5_101 * MS)
    assert shown(line) == [(1, h("03 0000 0001"), None, P.UNANSWERED)]


@given(st.lists(st.binary(max_size=300), max_size=6), st.lists(st.integers(0, 100)))
@settings(max_examples=upto(30))
def test_any_bytes_are_told_or_counted(chunks: list[bytes], pauses: list[int]) -> None:
    line, now = a_line(), 0
    for index, chunk in enumerate(chunks):
        now += (pauses[index] if index < len(pauses) else 1) * MS + len(chunk) * BYTE_NS
        line.feed(chunk, now)
    line.close()
    rows = shown(line)
    assert line.statistics.frames + line.statistics.broken >= len(rows)
    assert bool(rows) or sum(map(len, chunks)) == line.statistics.skipped


def test_a_line_without_silence_is_held_in_bounds() -> None:
    frame, line = build_rtu(1, h("06 0001 0003")), a_line()
    for at in range(1000):
        line.feed(frame[:5] if at == 501 else frame, at * len(frame) * BYTE_NS)
        assert len(line._held) <= HELD_MAX + len(frame)
    line.close()
    assert len(shown(line)) == 500  # the broken one is a reply
    assert line.statistics.broken == 1
