"""Register types against pymodbus's own converter and Python's struct."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client.mixin import ModbusClientMixin

from protocols.modbus.values import (
    ORDERS,
    Point,
    bits,
    check_point,
    numbers,
    parse_address,
    patterns,
    texts,
)
from protocols.samples import Kind

DATATYPE = ModbusClientMixin.DATATYPE
ORACLE = {
    "u16": (DATATYPE.UINT16, st.integers(0, 2**16 - 1)),
    "i16": (DATATYPE.INT16, st.integers(-(2**15), 2**15 - 1)),
    "u32": (DATATYPE.UINT32, st.integers(0, 2**32 - 1)),
    "i32": (DATATYPE.INT32, st.integers(-(2**31), 2**31 - 1)),
    "u64": (DATATYPE.UINT64, st.integers(0, 2**64 - 1)),
    "i64": (DATATYPE.INT64, st.integers(-(2**63), 2**63 - 1)),
    "f32": (DATATYPE.FLOAT32, st.floats(width=32, allow_nan=False)),
    "f64": (DATATYPE.FLOAT64, st.floats(allow_nan=False)),
}
SWAP = {"ABCD": False, "CDAB": False, "BADC": True, "DCBA": True}
WORDS = {"ABCD": "big", "BADC": "big", "CDAB": "little", "DCBA": "little"}


def as_device(value: float, name: str, order: str) -> list[int]:
    registers = ModbusClientMixin.convert_to_registers(
        value,
        ORACLE[name][0],
        word_order=WORDS[order],  # type: ignore[arg-type]  # a literal by the table
    )
    if SWAP[order]:
        registers = [(r >> 8) | (r & 0xFF) << 8 for r in registers]
    return registers


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ORACLE)
@given(data=st.data())
def test_numbers_equal_what_pymodbus_wrote(
    name: str, order: str, data: st.DataObject
) -> None:
    values = data.draw(st.lists(ORACLE[name][1], min_size=1, max_size=8))
    column = np.array([as_device(v, name, order) for v in values], np.uint16)
    raw, number, valid = numbers(name, column, order)
    assert valid.tolist() == [math.isfinite(v) for v in values]
    assert number.tolist() == [float(v) for v in values]
    if name == "u64":
        assert raw.view(np.uint64).tolist() == values
    elif name in {"f32", "f64"}:
        assert raw.view(np.float64).tolist() == values
    else:
        assert raw.tolist() == values


@given(pattern=st.integers(0, 2**32 - 1))
def test_any_32_bits_read_as_a_float_or_as_invalid(pattern: int) -> None:
    column = np.array([[pattern >> 16, pattern & 0xFFFF]], np.uint16)
    _, number, valid = numbers("f32", column, "ABCD")
    expected = struct.unpack(">f", struct.pack(">I", pattern))[0]
    assert valid[0] == math.isfinite(expected)
    if valid[0]:
        assert number[0] == expected
    assert patterns(column, "ABCD")[0] == pattern


@pytest.mark.parametrize(
    ("name", "registers", "order", "expected"),
    [
        ("bcd16", [0x1234], "ABCD", 1234),
        ("bcd16", [0x3412], "BADC", 1234),
        ("bcd32", [0x1234, 0x5678], "ABCD", 12345678),
        ("bcd32", [0x5678, 0x1234], "CDAB", 12345678),
        ("bcd32", [0x7856, 0x3412], "DCBA", 12345678),
        ("bcd16", [0x12A4], "ABCD", None),
        ("bcd32", [0xF234, 0x5678], "ABCD", None),
    ],
)
def test_bcd(name: str, registers: list[int], order: str, expected: int | None) -> None:
    raw, number, valid = numbers(name, np.array([registers], np.uint16), order)
    assert bool(valid[0]) == (expected is not None)
    if expected is not None:
        assert (raw[0], number[0]) == (expected, expected)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("bit", range(16))
def test_bits_count_from_the_least_significant(order: str, bit: int) -> None:
    word = 1 << bit
    if SWAP[order]:
        word = (word >> 8) | (word & 0xFF) << 8
    column = np.array([[word]] * 16, np.uint16)
    assert bits(column, order, np.arange(16)).tolist() == [
        int(i == bit) for i in range(16)
    ]


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20))
def test_strings_in_both_byte_orders(text: str) -> None:
    padded = text.encode().ljust(20, b"\0")
    column = np.frombuffer(padded, ">u2").astype(np.uint16)[None, :]
    for order in ("ABCD", "CDAB"):
        assert texts("string", column, order) == [text.encode()]
    for order in ("BADC", "DCBA"):
        assert texts("string", column.byteswap(), order) == [text.encode()]
    expected = padded if any(padded) else b""
    assert texts("octets", column, "ABCD") == [expected]


def test_a_string_padded_with_spaces_ends_before_them() -> None:
    column = np.frombuffer(b"SN 12   \0garbage", ">u2").astype(np.uint16)[None, :]
    assert texts("string", column, "ABCD") == [b"SN 12"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("40011", (4, 10)),
        ("400011", (4, 10)),
        ("00001", (0, 0)),
        ("19999", (1, 9998)),
        ("365536", (3, 65535)),
    ],
)
def test_old_notation_is_input_only(text: str, expected: tuple[int, int]) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "4", "4001", "40000", "20001", "465537", "4000001", "4x001", "٤٠٠١١"]
)
def test_other_notations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|table"):
        parse_address(text)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": "u17"}, "register type"),
        ({"order": "ACBD"}, "word order"),
        ({"table": 2}, "no table"),
        ({"table": 0}, "does not go with table"),
        ({"type": "coil"}, "does not go with table"),
        ({"type": "bit"}, "bit belongs"),
        ({"bit": 3}, "bit belongs"),
        ({"type": "bit", "bit": 16}, "0..15"),
        ({"length": 2}, "takes 1 registers"),
        ({"type": "string"}, "length"),
        ({"type": "string", "length": 126}, "length"),
        ({"type": "u32", "address": 65535}, "leaves"),
        ({"unit": 256}, "unit"),
        ({"item": -1}, "item"),
        ({"type": "f32", "scale_factor": 3}, "scale factor"),
    ],
)
def test_points_whose_fields_clash_are_refused(
    changes: dict[str, str | int], reason: str
) -> None:
    fields: dict[str, str | int] = {
        "item": 0, "link": 0, "unit": 1, "table": 4, "address": 0, "type": "u16"
    }  # fmt: skip
    point = Point(**(fields | changes))  # type: ignore[arg-type]  # table of fields
    with pytest.raises(ValueError, match=reason):
        check_point(point)


def test_kind_of_a_point() -> None:
    def kind(name: str, scale_factor: int | None = None) -> Kind:
        point = Point(0, 0, 1, 4, 0, name, length=0, scale_factor=scale_factor)
        check_point(point)
        return point.kind

    assert kind("i32") == Kind.INT
    assert kind("acc64") == Kind.UINT64
    assert kind("f32") == Kind.FLOAT
    assert kind("i16", scale_factor=9) == Kind.FLOAT
