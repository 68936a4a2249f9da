"""Exchanges in columns: the scalar codec says of each row what the columns say."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from protocols.modbus.exchanges import ExchangeBatch, PairBatch, Problem
from protocols.modbus.functions import FUNCTIONS
from protocols.modbus.pairs import (
    concat_exchanges,
    concat_pairs,
    decode_pairs,
    empty_exchanges,
    empty_pairs,
)
from protocols.modbus.pdu import parse_request
from tests.reference import slow_pairs
from tests.reference.slow_pairs import shown, told
from tests.support.examples import upto
from tests.support.network_pairs import network_pairs
from tests.support.pair_rows import Row, pair_batch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

P = Problem


def agree(rows: Sequence[Row]) -> ExchangeBatch:
    made = slow_pairs.agree(rows)
    same_types(made, empty_exchanges())
    return made


def same_types(left: object, right: object) -> None:
    for one in fields(left):  # type: ignore[arg-type]  # a batch either way
        if one.name != "texts":
            kind = getattr(right, one.name).dtype
            assert getattr(left, one.name).dtype == kind, one.name


# --- Requests and replies that mostly fit, and what nearly fits -------------------

CODES = [*FUNCTIONS, 0, 55, 128, 131, 255]


def u16(value: int) -> bytes:
    return (value & 0xFFFF).to_bytes(2, "big")


def asking(pick: Random) -> bytes:
    code = pick.choice([1, 2, 3, 4, 5, 6, 15, 16, 22, 23, *CODES])
    address = pick.choice([0, 1, 100, 65533, 65535])
    count = pick.choice([0, 1, 2, 3, 9, 31, 121, 122, 123, 125, 126, 1968, 2000, 2001])
    head = bytes([code]) + u16(address)
    data = bytes((i * 37 + count) & 0xFF for i in range(256))
    if code <= 4:
        return head + u16(count)
    if code == 5:
        return head + pick.choice([b"\xff\0", b"\0\0", b"\0\1"])
    if code in {6, 22}:
        return head + data[: 2 if code == 6 else 4]
    size = ((count + 7) // 8 if code == 15 else count * 2) & 0xFF
    if code in {15, 16}:
        return head + u16(count) + bytes([size]) + data[:size]
    if code == 23:
        read = u16(pick.choice([1, 125, 126]))
        return head + read + head[1:] + u16(count) + bytes([size]) + data[:size]
    if code == 8:
        return b"\x08" + u16(pick.choice([0, 1, 2, 10, 18, 256])) + b"\0\0"
    if code == 20:
        return b"\x14\x07\x06" + u16(4) + u16(1) + u16(count)
    if code == 21:
        return b"\x15\x09\x06" + u16(4) + u16(1) + u16(1) + data[:2]
    if code == 43:
        return b"\x2b\x0e" + bytes([pick.randint(0, 5), 0])
    return head if code == 24 else bytes([code])


def reply_to(request: bytes) -> bytes:
    """Return the reply that fits."""
    one = parse_request(request)
    code = one.function
    data = bytes((i * 91 + 5) & 0xFF for i in range(4000))
    if code in {1, 2, 3, 4, 23}:
        size = (one.count + 7) // 8 if code <= 2 else one.count * 2
        return bytes([code, size & 0xFF]) + data[: min(size, 251)]
    if code in {15, 16}:
        return request[:5]
    if code == 20 and one.records:
        size = 2 * one.records[0].count & 0xFF
        return bytes([20, size + 2 & 0xFF, size + 1 & 0xFF, 6]) + data[:size]
    texts = b"\x2b\x0e" + request[2:3] + b"\1\0\0\2\0\3abc\1\0"
    fixed = {
        7: b"\x07\x6d", 11: b"\x0b\0\0\0\1", 12: b"\x0c\2\0\0", 17: b"\x11\3abc",
        24: b"\x18" + u16(6) + u16(2) + data[:4], 43: texts,
    }  # fmt: skip
    return fixed.get(code, request)


def bent(pick: Random, pdu: bytes) -> bytes:
    """Return the PDU as it is, cut, longer, or with a byte changed."""
    how = pick.choice("====cl*")
    if how == "c":
        return pdu[: pick.randint(0, len(pdu))]
    if how == "l":
        return pdu + bytes(pick.choice([1, 2, 250]))
    if how == "*" and pdu:
        at = pick.randint(0, min(len(pdu) - 1, 11))
        return pdu[:at] + bytes([pick.randint(0, 255)]) + pdu[at + 1 :]
    return pdu


def rows(pick: Random) -> Row:
    asked = asking(pick)
    request = bent(pick, asked)
    reply: bytes | None = bent(pick, reply_to(asked))
    how = pick.choice("rrrrrrxno")
    if how == "x":
        code = pick.choice([1, 2, 4, 11, 9, 255])
        tail = pick.choice([b"", b"", b"\0"])
        reply = bytes([(request or b"\0")[0] | 0x80, code]) + tail
    elif how == "n":
        reply = None
    problems = pick.choice([0, 0, 0, 0, 1, 2, 1 << 10, 1 << 11, 1 << 13])
    return Row(None if how == "o" else request, reply, problems=problems)


@given(st.randoms(use_true_random=True))
@settings(max_examples=upto(4), phases=[Phase.generate])
def test_columns_say_what_the_scalar_codec_says(pick: Random) -> None:
    agree([rows(pick) for _ in range(400)])


PDUS = st.none() | st.binary(max_size=24) | st.binary(min_size=250, max_size=256)


@given(st.lists(st.builds(Row, PDUS, PDUS), max_size=8))
@settings(max_examples=upto(40))
def test_any_bytes_say_the_same(some: list[Row]) -> None:
    agree(some)


def test_every_function_alone_and_with_all_others() -> None:
    """A batch of one kind takes another way through the columns than a mixed one."""
    asked = [
        "01 0013 0013", "03 006b 0003", "05 00ac ff00", "06 0001 0003", "07",
        "08 0000 a537", "0b", "0c", "0f 0013 000a 02 cd01", "11",
        "10 0001 0002 04 000a 0102", "14 07 06 0004 0001 0002",
        "15 09 06 0004 0007 0001 06af", "16 0004 00f2 0025", "18 04de", "2b 0e 01 00",
        "17 0003 0006 000e 0003 06 00ff 00ff 00ff", "5a 00", "09", "2b 0d 00",
    ]  # fmt: skip
    every = [Row(bytes.fromhex(a), reply_to(bytes.fromhex(a))) for a in asked]
    for row in every:
        agree([row, row])
    made = agree(every)
    unknown = made.problems == P.UNKNOWN
    assert made.function[unknown].tolist() == [90, 9]
    assert not made.problems[~unknown].any()


def test_a_reply_without_a_request() -> None:
    made = agree([Row(None, b"\x83\x02", problems=P.UNSOLICITED), Row(None, b"\x03\0")])
    assert made.function.tolist() == [3, 3]
    assert made.exception.tolist() == [2, 0]
    assert not made.is_write.any()
    assert not made.malformed.any()


def test_framing_that_failed_is_the_replys_where_there_is_one() -> None:
    write, read = bytes.fromhex("06 0001 0003"), bytes.fromhex("03 0001 0001")
    made = agree([
        Row(write, None, problems=P.CHECKSUM), Row(write, write, problems=P.CHECKSUM),
        Row(read, b"\x03\x02\0\7", problems=P.CHECKSUM), Row(read, b"\x03\x02\0\7"),
    ])  # fmt: skip
    assert made.malformed.tolist() == [True, False, False, False]
    assert made.write_values.tolist() == [3]
    assert made.read_values.tolist() == [7]


def test_joining() -> None:
    """Decoding what was joined is joining what was decoded."""
    some = [
        Row(b"\x11", b"\x11\x03abc"), Row(b"\x06\0\1\0\3", None),
        Row(b"\x03\0\1\0\1", b"\x03\x02\0\7"), Row(None, b"\x83\x02"),
    ]  # fmt: skip
    parts = [pair_batch(some[:1]), empty_pairs(), pair_batch(some[1:])]
    whole = decode_pairs(concat_pairs(parts))
    joined = concat_exchanges([decode_pairs(part) for part in parts])
    direct = decode_pairs(pair_batch(some))
    for one in fields(ExchangeBatch):
        left, middle, right = (getattr(b, one.name) for b in (whole, joined, direct))
        assert np.array_equal(left, right) if one.name != "texts" else left == right
        assert np.array_equal(middle, right) if one.name != "texts" else middle == right
    same_types(joined, empty_exchanges())
    same_types(concat_pairs(parts), empty_pairs())
    assert len(concat_pairs([])) == len(concat_exchanges([])) == 0
    only = pair_batch(some)
    assert concat_pairs([only]) is only
    assert concat_exchanges([direct]) is direct
    assert isinstance(only, PairBatch)


@pytest.mark.slow
def test_a_simulated_network_decodes_to_its_truth() -> None:
    pairs, truth = network_pairs("plant-attacks")
    made = decode_pairs(pairs)
    for index, row in enumerate(truth.rows):
        wanted = told(Row(
            row.pdu or None, row.reply or None, problems=int(pairs.problems[index])
        ))  # fmt: skip
        assert shown(made, index) == wanted, row
