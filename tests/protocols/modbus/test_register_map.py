"""Hints of a register map: floats by order, strings, nothing where it is neither."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from protocols.modbus.pairs import decode_pairs
from protocols.modbus.register_map import (
    hints,
    merged,
    no_registers,
    registers_of,
)
from protocols.modbus.values import ORDERS
from tests.support.pair_rows import Row, pair_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.modbus.register_map import Registers


def seen(*readings: Sequence[int], function: int = 3) -> Registers:
    rows = []
    for values in readings:
        body = struct.pack(f">{len(values)}H", *values)
        request = struct.pack(">BHH", function, 0, len(values))
        rows.append(Row(request, bytes([function, len(body)]) + body))
    return registers_of(decode_pairs(pair_batch(rows)))


def halves(number: float, order: str) -> list[int]:
    """Return a float's registers in an order, by the published meaning of its name."""
    a, b, c, d = struct.pack(">f", number)
    places = {"A": a, "B": b, "C": c, "D": d}
    laid = bytes(places[one] for one in order)
    return list(struct.unpack(">HH", laid))


@pytest.mark.parametrize("order", ORDERS)
def test_a_float_is_seen_in_every_order(order: str) -> None:
    found = hints(seen([*halves(23.71, order), 7], [*halves(24.113, order), 9]))
    assert found == {0: f"f32 {order}"}


def test_counters_and_small_numbers_are_no_floats() -> None:
    assert not hints(seen([0, 17, 3, 1000], [0, 18, 3, 1002]))
    assert not hints(seen([0, 0, 0, 0]))
    # The upper half of a counter before a float: the float is the one behind.
    found = hints(seen([0, *halves(1391.7, "BADC")], [0, *halves(1402.2, "BADC")]))
    assert found == {1: "f32 BADC"}


def test_text_is_a_string_with_its_padding() -> None:
    text = struct.unpack(">6H", b"PLC-0007\0\0\0\0")
    assert hints(seen([*text, 500], [*text, 501])) == {0: "string 6"}
    assert not hints(seen(struct.unpack(">3H", b"abcdef")[:1]))


def test_coils_are_neither() -> None:
    rows = [Row(b"\x01\x00\x00\x00\x08", b"\x01\x01\x55")]
    told = registers_of(decode_pairs(pair_batch(rows)))
    assert told.low.tolist() == [1, 0] * 4
    assert not hints(told)


def test_merging_is_counting_again() -> None:
    first, second = seen([1, 2], [3, 4]), seen([5, 0, 9])
    whole = merged([first, no_registers(), second])
    assert whole.reads.tolist() == [3, 3, 1]
    assert whole.low.tolist() == [1, 0, 9]
    assert whole.high.tolist() == [5, 4, 9]
