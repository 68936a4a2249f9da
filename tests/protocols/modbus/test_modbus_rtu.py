"""RTU frames: published CRCs, pymodbus as oracle, any cut, any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.framer.rtu import FramerRTU

from protocols.modbus.exchanges import Problem
from protocols.modbus.mbap import Adu
from protocols.modbus.rtu import (
    RTU_BYTES_MAX,
    RtuFramer,
    build_rtu,
    crc16,
    parse_rtu,
)
from tests.support.examples import upto

# Clause 6.21's example; "Product code XX" has 15 bytes, where the text prints 0D.
IDENTIFICATION = (
    "2B0E01010000030016436F6D70616E79206964656E74696669636174696F6E"
    "010F50726F6475637420636F6465205858020556322E3131"
)
# The examples of V1.1b3, clause 6, where the length follows from the bytes.
REQUESTS = [
    "0100130013", "0200C40016", "03006B0003", "0400080001", "0500ACFF00", "0600010003",
    "07", "080000A537", "0B", "0C", "0F0013000A02CD01", "100001000204000A0102", "11",
    "140E0600040001000206000300090002", "150D0600040007000306AF04BE100D",
    "16000400F20025", "1700030006000E00030600FF00FF00FF", "1804DE", "2B0E0100",
]  # fmt: skip
REPLIES = [
    "0103CD6B05", "0203ACDB35", "0306022B00000064", "0402000A", "0500ACFF00",
    "0600010003", "076D", "080000A537", "0BFFFF0108", "0C080000010801212000",
    "0F0013000A", "1000010002", "140C05060DFE0020050633CD0040",
    "150D0600040007000306AF04BE100D", "16000400F20025",
    "170C00FE0ACD00010003000D00FF", "180006000201B81284", "8302",
    IDENTIFICATION,
]  # fmt: skip


def test_crc_is_the_published_one() -> None:
    assert crc16(b"123456789") == 0x4B37  # the CRC catalogue's check value
    assert crc16(b"\x02\x07") == 0x1241  # Serial Line V1.02, appendix B


@given(st.binary(max_size=64))
@settings(max_examples=upto(40))
def test_crc_is_that_of_pymodbus(data: bytes) -> None:
    ours = crc16(data)
    assert FramerRTU.compute_CRC(data) in {ours, (ours & 0xFF) << 8 | ours >> 8}
    assert crc16(data + ours.to_bytes(2, "little")) == 0


@pytest.mark.parametrize(("replies", "texts"), [(False, REQUESTS), (True, REPLIES)])
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_examples_are_framed_however_they_are_cut(
    replies: bool, texts: list[str], step: int
) -> None:
    pdus = [bytes.fromhex(text) for text in texts]
    stream = b"".join(build_rtu(17, pdu) for pdu in pdus)
    framer = RtuFramer(replies=replies)
    found = [
        adu
        for at in range(0, len(stream), step)
        for adu in framer.feed(stream[at : at + step])
    ]
    assert [adu.pdu for adu in found] == pdus
    assert {adu.unit for adu in found} == {17}
    assert (framer.skipped, framer.pending) == (0, 0)


@given(st.binary(max_size=600), st.booleans(), st.integers(1, 50))
@settings(max_examples=upto(60))
def test_any_bytes_are_framed_skipped_or_held(
    data: bytes, replies: bool, step: int
) -> None:
    whole, cut = RtuFramer(replies=replies), RtuFramer(replies=replies)
    found = whole.feed(data)
    parts = [
        adu
        for at in range(0, len(data), step)
        for adu in cut.feed(data[at : at + step])
    ]
    assert parts == found
    assert (cut.skipped, cut.pending) == (whole.skipped, whole.pending)
    assert whole.pending < RTU_BYTES_MAX
    framed = sum(len(adu.pdu) + 3 for adu in found)
    assert framed + whole.skipped + whole.pending == len(data)


def test_framer_finds_the_next_frame_behind_noise() -> None:
    framer = RtuFramer(replies=False)
    good = build_rtu(1, bytes.fromhex("03006B0003"))
    bad = good[:-1] + bytes((good[-1] ^ 1,))
    found = framer.feed(bad + good + good)
    assert [adu.pdu for adu in found] == [good[1:-2]] * 2
    assert framer.skipped == len(bad)


def test_between_silences_every_function_is_a_frame() -> None:
    frame = build_rtu(9, b"\x5a\x00\x01")  # a vendor's code
    assert parse_rtu(frame) == Adu(0, 9, b"\x5a\x00\x01")
    assert parse_rtu(frame[:-1] + b"\x00").problems == Problem.CHECKSUM
    for size in (0, 3, 257):
        assert parse_rtu(bytes(size)).problems == Problem.LENGTH


@pytest.mark.parametrize("size", [0, 254])
def test_what_is_no_pdu_is_not_built(size: int) -> None:
    with pytest.raises(ValueError, match="1 to 253"):
        build_rtu(1, bytes(size))
