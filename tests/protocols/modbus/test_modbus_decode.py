"""Transactions to samples, against one point at a time with struct."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.modbus.decode import compile_points, decode
from protocols.modbus.plan import Read, coalesce
from protocols.modbus.values import Point
from protocols.samples import TransactionBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = {
    "u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q",
    "f32": "f", "f64": "d",
}  # fmt: skip


def batch_of(
    replies: Sequence[tuple[Read, Sequence[int] | None]], *, is_write: bool = False
) -> TransactionBatch:
    """None instead of values: exception 2."""
    values = [v or () for _, v in replies]
    reads = [r for r, _ in replies]
    return TransactionBatch(
        np.arange(len(reads), dtype=np.int64) * 1000,
        np.array([r.link for r in reads], np.uint8),
        np.array([r.unit for r in reads], np.uint8),
        np.array([r.function for r in reads], np.uint8),
        np.array([r.table for r in reads], np.uint8),
        np.array([r.address for r in reads], np.uint16),
        np.array([r.count for r in reads], np.uint16),
        np.full(len(reads), is_write, np.bool_),
        np.array([2 if v is None else 0 for _, v in replies], np.uint8),
        np.cumsum([0, *map(len, values)], dtype=np.int64),
        np.array([x for v in values for x in v], np.uint16),
    )


def holding(
    address: int, values: Sequence[int] | None
) -> tuple[Read, list[int] | None]:
    count = len(values) if values is not None else 1
    read = Read(0, 1, 3, 4, address, count, 10**9)
    return read, None if values is None else list(values)


def scalar(point: Point, memory: Sequence[int]) -> float:
    words = list(memory[point.address : point.address + point.registers])
    if point.order in {"BADC", "DCBA"}:
        words = [(w >> 8) | (w & 255) << 8 for w in words]
    if point.order in {"CDAB", "DCBA"}:
        words.reverse()
    data = struct.pack(f">{len(words)}H", *words)
    if point.type == "bit":
        assert point.bit is not None
        return float(words[0] >> point.bit & 1)
    if point.type == "bcd16":
        digits = data.hex()
        return float(digits) if digits.isdecimal() else math.nan
    return float(struct.unpack(f">{FORMAT[point.type]}", data)[0])


@st.composite
def a_point(draw: st.DrawFn, item: int) -> Point:
    name = draw(st.sampled_from([*FORMAT, "bit", "bcd16"]))
    return Point(
        item,
        0,
        1,
        4,
        draw(st.integers(0, 56)),
        name,
        order=draw(st.sampled_from(("ABCD", "CDAB", "BADC", "DCBA"))),
        bit=draw(st.integers(0, 15)) if name == "bit" else None,
        scale=draw(st.sampled_from((1.0, 0.1, -3.0))),
        offset=draw(st.sampled_from((0.0, -40.0))),
    )


@given(data=st.data())
def test_a_plan_of_reads_decodes_like_one_point_at_a_time(data: st.DataObject) -> None:
    points = [data.draw(a_point(i)) for i in range(data.draw(st.integers(1, 20)))]
    seed = data.draw(st.integers(0, 2**32))
    memory = np.random.default_rng(seed).integers(0, 65536, 64).tolist()
    reads = coalesce(points, gap_max=data.draw(st.integers(0, 8)))
    replies = [(r, memory[r.address : r.address + r.count]) for r in reads]
    found = decode(compile_points(points), batch_of(replies))
    expected = {}
    for point in points:
        number = scalar(point, memory)
        if math.isfinite(number) and math.isfinite(number * point.scale):
            expected[point.item] = number * point.scale + point.offset
    got = dict(
        zip(found.samples.item.tolist(), found.samples.value.tolist(), strict=True)
    )
    assert len(got) == len(found.samples)
    assert got == expected
    assert found.invalid == len(points) - len(expected)
    covered = {p.address + i for p in points for i in range(p.registers)}
    assert found.unmapped == sum(r.count for r in reads) - len(covered)
    for point in points:
        if point.item not in got:
            continue
        raw = int(found.samples.raw[found.samples.item.tolist().index(point.item)])
        if point.type in {"f32", "f64"}:
            assert struct.unpack(">d", struct.pack(">q", raw))[0] == got[point.item]
        else:
            assert raw % 2**64 == int(scalar(point, memory)) % 2**64 or (
                point.type in {"u64", "i64"}  # more than a float64 tells
            )


def test_the_raw_number_of_64_bits_is_exact() -> None:
    points = [Point(0, 0, 1, 4, 0, "u64"), Point(1, 0, 1, 4, 4, "i64")]
    words = [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFE, 0x7FFF, 0xFFFF, 0xFFFF, 0xFFFD]
    found = decode(compile_points(points), batch_of([holding(0, words)]))
    assert found.samples.raw.view(np.uint64).tolist() == [2**64 - 2, 2**63 - 3]


def test_exceptions_and_writes_decode_nothing() -> None:
    plan = compile_points([Point(0, 0, 1, 4, 0, "u16")])
    found = decode(plan, batch_of([holding(0, None), holding(0, [7])]))
    assert found.samples.value.tolist() == [7.0]
    assert found.samples.time_ns.tolist() == [1000]
    assert (found.exceptions, found.invalid, found.errors) == (1, 0, 1)
    written = decode(plan, batch_of([holding(0, [7])], is_write=True))
    assert (len(written.samples), written.unmapped) == (0, 0)
    empty = decode(plan, batch_of([]))
    assert (len(empty.samples), empty.unmapped, empty.errors) == (0, 0, 0)


def test_a_plan_without_points_counts_everything_as_unmapped() -> None:
    found = decode(compile_points([]), batch_of([holding(0, [1, 2, 3])]))
    assert (len(found.samples), found.unmapped) == (0, 3)


def test_a_short_reply_is_not_read_across() -> None:
    plan = compile_points([Point(0, 0, 1, 4, 0, "u32"), Point(1, 0, 1, 4, 2, "u32")])
    short = Read(0, 1, 3, 4, 0, 4, 10**9)
    found = decode(plan, batch_of([(short, [0, 1, 2]), holding(2, [0, 9])]))
    assert found.samples.item.tolist() == [0, 1]
    assert found.samples.value.tolist() == [1.0, 9.0]
    assert found.unmapped == 1


def test_places_are_told_apart_by_link_unit_and_table() -> None:
    places = [(0, 1, 4), (0, 2, 4), (1, 1, 4), (0, 1, 3)]
    points = [Point(i, *place, 5, "u16") for i, place in enumerate(places)]
    replies = [(r, [100 + r.link * 10 + r.unit + r.table]) for r in coalesce(points)]
    found = decode(compile_points(points), batch_of(replies))
    got = dict(
        zip(found.samples.item.tolist(), found.samples.value.tolist(), strict=True)
    )
    assert got == {0: 105.0, 1: 106.0, 2: 115.0, 3: 104.0}


def test_coils_and_discrete_inputs() -> None:
    points = [Point(0, 0, 1, 0, 3, "coil"), Point(1, 0, 1, 1, 3, "coil")]
    replies = [
        (Read(0, 1, 1, 0, 2, 3, 1), [0, 1, 0]),
        (Read(0, 1, 2, 1, 3, 1, 1), [0]),
    ]
    found = decode(compile_points(points), batch_of(replies))
    assert found.samples.raw.tolist() == [1, 0]
    assert found.unmapped == 2


def test_texts() -> None:
    points = [
        Point(0, 0, 1, 4, 0, "string", length=2),
        Point(1, 0, 1, 4, 2, "string", order="BADC", length=2),
        Point(2, 0, 1, 4, 4, "string", length=1),
    ]
    found = decode(
        compile_points(points),
        batch_of([holding(0, [0x5345, 0x5200, 0x4553, 0x0052, 0])]),
    )
    assert found.texts.text == (b"SER", b"SER")
    assert found.texts.item.tolist() == [0, 1]
    assert (found.invalid, len(found.samples), found.unmapped) == (1, 0, 0)


@pytest.mark.parametrize(
    ("name", "words", "invalid"),
    [
        ("i16", [0x8000], 0x8000),
        ("u16", [0xFFFF], 0xFFFF),
        ("acc32", [0, 0], 0),
        ("u64", [0xFFFF] * 4, 2**64 - 1),
        ("f32", [0x7FC0, 0], None),
        ("bcd16", [0xA000], None),
    ],
)
def test_not_implemented_is_counted_and_not_told(
    name: str, words: list[int], invalid: int | None
) -> None:
    plan = compile_points([Point(0, 0, 1, 4, 0, name, invalid=invalid)])
    found = decode(plan, batch_of([holding(0, words)]))
    assert (len(found.samples), found.invalid, found.unmapped) == (0, 1, 0)


def scaled() -> list[Point]:
    return [Point(7, 0, 1, 4, 0, "i16", scale_factor=1)]


def values(plan_values: list[list[tuple[Read, list[int] | None]]]) -> list[list[float]]:
    plan = compile_points(scaled())
    return [
        decode(plan, batch_of(replies)).samples.value.tolist()
        for replies in plan_values
    ]


def test_a_scale_factor_of_the_same_read_holds() -> None:
    minus_1, plus_2 = 0xFFFF, 2
    found = decode(
        compile_points(scaled()),
        batch_of([holding(0, [2301, minus_1]), holding(0, [5, plus_2])]),
    )
    assert found.samples.value.tolist() == [230.1, 500.0]
    assert found.samples.raw.view(np.float64).tolist() == [230.1, 500.0]
    assert found.unmapped == 0


def test_a_scale_factor_of_another_read_is_remembered() -> None:
    minus_1 = 0xFFFF
    assert values([[holding(1, [minus_1])], [holding(0, [2301])]]) == [[], [230.1]]
    assert values([[holding(0, [2301]), holding(1, [minus_1])]]) == [[230.1]]
    assert values(
        [[holding(1, [1]), holding(0, [5]), holding(1, [2]), holding(0, [5])]]
    ) == [[50.0, 500.0]]
    assert values([[holding(1, [1])], [holding(0, [5]), holding(1, [2])]]) == [
        [],
        [50.0],
    ]


def test_without_a_usable_scale_factor_there_is_no_value() -> None:
    for factor in (0x8000, 11, 0xFFF5):
        found = decode(compile_points(scaled()), batch_of([holding(0, [5, factor])]))
        assert (len(found.samples), found.invalid) == (0, 1)
    alone = decode(compile_points(scaled()), batch_of([holding(0, [5])]))
    assert (len(alone.samples), alone.invalid) == (0, 1)
