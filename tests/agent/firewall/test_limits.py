"""Limits: hours against the calendar, values of items in their unit."""

from __future__ import annotations

import datetime as dt
import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.firewall.limits import in_hours, physical
from agent.firewall.memory import Memory
from policies.firewall.tables import Hours
from protocols.modbus.values import Point
from tests.support.examples import upto

NS = 1_000_000_000
PLACE = (0, 1, 4)


@settings(max_examples=upto(50))
@given(
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(0, 1439),
    st.integers(1, 1440),
    st.integers(-720, 840),
    st.integers(0, 4_000_000_000),
)
def test_hours_are_those_of_the_calendar(
    days: frozenset[int], begin: int, end: int, offset: int, now_s: int
) -> None:
    zone = dt.timezone(dt.timedelta(minutes=offset))
    now = dt.datetime.fromtimestamp(now_s, zone)
    wanted = False
    for back in (0, 1):  # the windows that began today, and yesterday
        day = (now - dt.timedelta(days=back)).replace(hour=0, minute=0, second=0)
        length = end - begin if end > begin else end - begin + 1440
        start = day + dt.timedelta(minutes=begin)
        until = start + dt.timedelta(minutes=length)
        wanted |= day.weekday() in days and start <= now < until
    assert in_hours(Hours(days, begin, end, offset), now_s * NS) == wanted


def point(kind: str, **fields: object) -> Point:
    return Point(0, 0, 1, 4, 10, kind, **fields)  # type: ignore[arg-type]  # any field


@pytest.mark.parametrize("order", ["ABCD", "CDAB", "BADC", "DCBA"])
@pytest.mark.parametrize(
    ("kind", "form", "number"),
    [("f32", ">f", 1.5), ("i32", ">i", -70_000), ("u32", ">I", 4_000_000_000),
     ("f64", ">d", -2.25), ("i64", ">q", -5), ("i16", ">h", -2), ("u16", ">H", 65_535)],
)  # fmt: skip
def test_an_item_is_compared_in_its_unit(
    kind: str, form: str, number: float, order: str
) -> None:
    data = struct.pack(form, number)
    words = [data[i : i + 2] for i in range(0, len(data), 2)]
    if order in {"CDAB", "DCBA"}:
        words.reverse()
    if order in {"BADC", "DCBA"}:
        words = [word[::-1] for word in words]
    raw = [int.from_bytes(word, "big") for word in words]
    scaled = point(kind, order=order, scale=0.5, offset=3.0)
    assert physical(scaled, raw, PLACE, Memory()) == [number * 0.5 + 3.0]


def test_what_is_no_number_is_no_value() -> None:
    memory = Memory()
    nan = [*struct.unpack(">HH", struct.pack(">f", math.nan))]
    assert physical(point("f32"), nan, PLACE, memory) is None
    assert physical(point("f32"), [1], PLACE, memory) is None  # half of it
    assert physical(point("string", length=1), [1], PLACE, memory) is None
    assert physical(point("u16", invalid=0xFFFF), [0xFFFF], PLACE, memory) is None
    assert physical(point("bcd16"), [0x000A], PLACE, memory) is None
    assert physical(point("bcd16"), [0x0042], PLACE, memory) == [42]


def test_a_scale_factor_must_have_been_read() -> None:
    memory, scaled = Memory(), point("i16", scale_factor=20)
    assert physical(scaled, [123], PLACE, memory) is None
    memory.learn(PLACE, 20, [0xFFFF])  # 10 ** -1
    assert physical(scaled, [123], PLACE, memory) == [123 * 10.0**-1]
    memory.learn(PLACE, 20, [0x8000])  # SunSpec: not implemented
    assert physical(scaled, [123], PLACE, memory) is None
