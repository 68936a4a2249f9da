"""Borders of zones: the closing side counts at once, and lingers."""

from __future__ import annotations

import numpy as np
import pytest

from agent.classification.context import Context
from policies.datum import to_gcj02
from policies.tables import Zone, ZoneTest
from tests.reference.scalar_tables import (
    FIX,
    LAT,
    LAT2,
    LON,
    LON2,
    columns,
    items,
    policy,
    rule,
)
from tests.reference.scalar_world import Datum

S = 1_000_000_000
T0 = 1_764_000_000 * S
SQUARE = Zone("q", (31.20, 31.20, 31.21, 31.21), (121.40, 121.41, 121.41, 121.40), 0.0)
IN, OUT = (31.205, 121.405), (31.3, 121.405)


def at(second: float, place: tuple[float, float], lat: int = LAT) -> list[Datum]:
    lon = LON if lat == LAT else LON2
    now = T0 + int(second * S)
    return [Datum(now, lat, 0, place[0]), Datum(now, lon, 0, place[1])]


def answers(
    test: ZoneTest, data: list[Datum], seconds: list[float], cut: int = 0
) -> list[bool | None]:
    """Return what the condition says at each second; None: undecidable."""
    context = Context(policy([rule(when=[test])], {}))
    for piece in (data[:cut], data[cut:]):
        samples, _ = columns(piece)
        context.observe(samples, clock_ok=True)
    times = np.array([T0 + int(s * S) for s in seconds], np.int64)
    holds, unknown = context.judge(test, times)
    return [
        None if u else h for h, u in zip(holds.tolist(), unknown.tolist(), strict=True)
    ]


def zone_test(*, inside: bool, lingers_outside: bool, seconds: int = 5) -> ZoneTest:
    return ZoneTest((SQUARE,), inside, seconds * S, lingers_outside)


DRIVE = [*at(0, OUT), *at(10, IN), *at(11, OUT), *at(12, OUT), *at(16.5, OUT)]


def test_entering_counts_at_once_and_leaving_after_the_hysteresis() -> None:
    test = zone_test(inside=False, lingers_outside=False)
    seconds = [9.0, 10.0, 12.0, 14.9, 15.0, 16.5]
    found = answers(test, DRIVE, seconds)
    assert found == [True, False, False, False, True, True]


@pytest.mark.parametrize("cut", [4, 6, 8])
def test_the_last_position_on_the_closing_side_is_carried(cut: int) -> None:
    test = zone_test(inside=False, lingers_outside=False, seconds=6)
    assert answers(test, DRIVE, [15.9, 16.0], cut) == [False, True]


def test_the_other_side_lingers_for_what_may_leave_inside_only() -> None:
    test = zone_test(inside=True, lingers_outside=True)
    data = [*at(0, IN), *at(10, OUT), *at(11, IN), *at(16, IN)]
    seconds = [5.0, 10.0, 11.0, 14.9, 15.0, 16.0]
    assert answers(test, data, seconds) == [True, False, False, False, True, True]


def test_without_hysteresis_the_border_is_sharp() -> None:
    for lingers_outside in (False, True):
        test = zone_test(inside=True, lingers_outside=lingers_outside, seconds=0)
        assert answers(test, DRIVE, [9, 10, 11]) == [False, True, False]


def test_a_bad_fix_inside_lingers_and_a_bad_fix_outside_does_not() -> None:
    fix = [Datum(T0 + s * S, FIX, 0, float(v)) for s, v in ((0, 1), (10, 0), (11, 1))]
    data = [*at(0, OUT, LAT2), *at(10, IN, LAT2), *at(11, OUT, LAT2)]
    in_order = sorted([*fix, *data], key=lambda d: d.time_ns)
    inside = zone_test(inside=True, lingers_outside=False)
    assert answers(inside, in_order, [9, 10, 12, 15]) == [False, None, True, False]
    data = [*at(0, IN, LAT2), *at(10, OUT, LAT2), *at(11, IN, LAT2)]
    in_order = sorted([*fix, *data], key=lambda d: d.time_ns)
    outside = zone_test(inside=True, lingers_outside=True)
    assert answers(outside, in_order, [9, 10, 12]) == [True, None, True]


def test_without_a_fresh_position_nothing_is_decided_lingering_or_not() -> None:
    for inside in (True, False):
        test = zone_test(inside=inside, lingers_outside=False, seconds=60)
        assert answers(test, at(0, IN), [10, 10.1]) == [inside, None]
        assert answers(test, [], [0]) == [None]


def test_any_group_inside_is_inside_and_each_lingers_for_itself() -> None:
    ok = [Datum(T0, FIX, 0, 1.0), Datum(T0 + 9 * S, FIX, 0, 1.0)]
    data = [*ok[:1], *at(0, IN, LAT2), *at(1, OUT, LAT2), *at(1, OUT)]
    data += [*at(5, OUT, LAT2), *at(5, OUT), *ok[1:]]
    test = zone_test(inside=True, lingers_outside=False)
    assert answers(test, data, [4.9, 5.0]) == [True, False]


def test_a_group_of_the_other_datum_meets_the_zone_in_its_own() -> None:
    """The same car, told once in each datum, crosses the border at the same moment."""
    corners = zip(SQUARE.latitude, SQUARE.longitude, strict=True)
    lat, lon = zip(*(to_gcj02(corner) for corner in corners), strict=True)
    zone = Zone("q", SQUARE.latitude, SQUARE.longitude, 0.0, (lat, lon))
    edge = 31.21
    for step in range(-5, 6):
        place = edge + step * 1e-5, 121.405
        told = []
        for gcj02, here in ((frozenset[int](), place), ({0}, to_gcj02(place))):
            table = policy([rule(when=[ZoneTest((zone,), inside=True)])], {})
            object.__setattr__(table.items, "gcj02", frozenset(gcj02))
            context = Context(table)
            context.observe(columns(at(0, here))[0], clock_ok=True)
            holds, _ = context.judge(
                ZoneTest((zone,), inside=True), np.array([T0], np.int64)
            )
            told.append(bool(holds[0]))
        assert told == [step < 0, step < 0] if step else len(told) == 2
    assert items().gcj02 == frozenset()
