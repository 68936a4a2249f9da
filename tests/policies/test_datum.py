"""GCJ-02: published pairs of points, and the inverse of the formula."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policies.datum import (
    LATITUDES,
    LONGITUDES,
    METRES_A_DEGREE,
    Point,
    converted,
    is_shifted,
    to_gcj02,
    to_wgs84,
)

# Published with the test suites of several independent implementations.
PAIRS = [
    ((31.1774276, 121.5272106), (31.17530398364597, 121.531541859215)),  # Shanghai
    ((22.543847, 113.912316), (22.540796131694766, 113.9171764808363)),  # Shenzhen
    ((39.911954, 116.377817), (39.91334545536069, 116.38404722455657)),  # Beijing
]
UNSHIFTED = [
    (39.7392, -104.9903), (-27.4698, 153.0251), (-22.9068, -43.1729), (48.85, 2.35),
    (35.681236, 139.767125), (0.0, 0.0), (90.0, 180.0),
]  # fmt: skip
CENTIMETRE = 0.01


def metres(a: Point, b: Point) -> float:
    east = (a[1] - b[1]) * math.cos(math.radians(a[0]))
    return METRES_A_DEGREE * math.hypot(a[0] - b[0], east)


@pytest.mark.parametrize(("wgs84", "gcj02"), PAIRS)
def test_published_pairs_both_ways(wgs84: Point, gcj02: Point) -> None:
    assert to_gcj02(wgs84) == pytest.approx(gcj02, abs=1e-12)
    assert metres(to_wgs84(gcj02), wgs84) < CENTIMETRE


@pytest.mark.parametrize("point", UNSHIFTED)
def test_outside_the_rectangle_both_data_are_the_same(
    point: Point,
) -> None:
    assert not is_shifted(point)
    assert to_gcj02(point) == to_wgs84(point) == point


@given(st.floats(1.0, 55.5), st.floats(72.1, 137.6))
@example(30.0, 105.0)  # the formula's cusp
@example(30.0, 105.0 + 1e-9)
@example(35.0, 104.999)
def test_there_and_back_is_the_same_centimetre(
    latitude: float, longitude: float
) -> None:
    point = latitude, longitude
    shifted = to_gcj02(point)
    assert 50 < metres(shifted, point) < 1500
    assert metres(to_wgs84(shifted), point) < CENTIMETRE


def test_at_the_edge_of_the_rectangle_nothing_breaks() -> None:
    """The offset ends there with a step: no inverse can be right on both sides."""
    for latitude in LATITUDES:
        for longitude in LONGITUDES:
            assert all(map(math.isfinite, to_wgs84((latitude, longitude))))


def test_a_long_edge_follows_the_bend_of_the_other_datum() -> None:
    corners = [(31.0, 121.0), (31.0, 121.5), (31.3, 121.2)]
    shape = converted(corners, to_wgs84, 10_000)
    assert shape[0] == to_wgs84(corners[0])
    assert len(shape) > 100
    straight = to_wgs84(corners[0]), to_wgs84(corners[1])
    worst, bend = 0.0, 0.0
    for step in range(1, 500):
        true = to_wgs84((31.0, 121.0 + step * 1e-3))
        worst = max(worst, min(_away(true, a, b) for a, b in _edges(shape)))
        bend = max(bend, _away(true, *straight))
    assert worst < 0.1
    assert bend > 5


def test_points_are_bounded_before_they_are_made() -> None:
    world = [(0.9, 73.0), (55.0, 73.0), (55.0, 137.0)]
    with pytest.raises(ValueError, match="more than 10000 points once"):
        converted(world, to_wgs84, 10_000)


def _edges(shape: list[Point]) -> list[tuple[Point, Point]]:
    return list(zip(shape, [*shape[1:], shape[0]], strict=True))


def _away(p: Point, a: Point, b: Point) -> float:
    """Return metres from a point to an edge, on the plane."""
    scale = math.cos(math.radians(p[0]))
    px, py = (p[1] - a[1]) * scale, p[0] - a[0]
    dx, dy = (b[1] - a[1]) * scale, b[0] - a[0]
    part = min(1.0, max(0.0, (px * dx + py * dy) / (dx * dx + dy * dy)))
    return METRES_A_DEGREE * math.hypot(px - part * dx, py - part * dy)
