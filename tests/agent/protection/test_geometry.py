"""Polygons with a buffer against an exact, slow and different method."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.geometry import METRES_A_DEGREE, Area, distance_m
from policies.tables import Zone
from tests.support.examples import upto

if TYPE_CHECKING:
    from collections.abc import Sequence

# Vertices on a lattice of 1/1024 degree about a corner: exact in floats.
corner = st.tuples(st.integers(-20, 20), st.integers(-20, 20))
polygons = st.lists(corner, min_size=3, max_size=9)
points = st.lists(
    st.tuples(st.floats(-25, 25), st.floats(-25, 25)), min_size=1, max_size=30
)


def _zone(corners: Sequence[tuple[int, int]], buffer_m: float) -> Zone:
    return Zone(
        "z",
        tuple(30.0 + a / 1024 for a, _ in corners),
        tuple(120.0 + b / 1024 for _, b in corners),
        buffer_m,
    )


def _turns(zone: Zone, lat: float, lon: float) -> bool:
    """Even-odd by exact rational crossings of a ray to the north (ours goes east)."""
    y, x = Fraction(lat), Fraction(lon)
    corners = [
        (Fraction(a), Fraction(b))
        for a, b in zip(zone.latitude, zone.longitude, strict=True)
    ]
    crossings = 0
    for (y1, x1), (y2, x2) in zip(corners, corners[1:] + corners[:1], strict=True):
        if (x1 <= x) != (x2 <= x):
            crossings += y1 + (x - x1) * (y2 - y1) / (x2 - x1) > y
    return crossings % 2 == 1


def _nearest_m(zone: Zone, lat: float, lon: float) -> float:
    """Distance to the border by walking along every edge in small steps."""
    mid = (min(zone.latitude) + max(zone.latitude)) / 2
    east = METRES_A_DEGREE * math.cos(math.radians(mid))
    corners = list(zip(zone.latitude, zone.longitude, strict=True))
    best = math.inf
    for (y1, x1), (y2, x2) in zip(corners, corners[1:] + corners[:1], strict=True):
        share = np.linspace(0.0, 1.0, 4001)
        y = (y1 + share * (y2 - y1) - lat) * METRES_A_DEGREE
        x = (x1 + share * (x2 - x1) - lon) * east
        best = min(best, float(np.sqrt(x * x + y * y).min()))
    return best


@settings(max_examples=upto(150))
@given(corners=polygons, at=points, buffer_m=st.sampled_from([0.0, 40.0, 500.0]))
def test_zone_equals_exact_crossings_and_a_walk_along_the_border(
    corners: list[tuple[int, int]],
    at: list[tuple[float, float]],
    buffer_m: float,
) -> None:
    zone = _zone(corners, buffer_m)
    lat = np.array([30.0 + a / 1024 for a, _ in at])
    lon = np.array([120.0 + b / 1024 for _, b in at])
    got = Area([zone]).contains(lat, lon)
    for row in range(len(at)):
        away = _nearest_m(zone, lat[row], lon[row])
        if abs(away - buffer_m) < 1.5:  # the walk's step: no judgement this near
            continue
        expected = _turns(zone, lat[row], lon[row]) or away <= buffer_m
        assert got[row] == expected


def test_border_and_corners_belong_to_the_zone() -> None:
    zone = _zone([(0, 0), (0, 8), (8, 8), (8, 0)], 0.0)
    lat = np.array([30.0, 30.0, 30.0 + 4 / 1024, 30.0 + 8 / 1024])
    lon = np.array([120.0, 120.0 + 4 / 1024, 120.0, 120.0 + 8 / 1024])
    assert Area([zone]).contains(lat, lon).all()


def test_many_points_are_judged_in_blocks_alike() -> None:
    angles = np.linspace(0, 2 * math.pi, 700, endpoint=False)
    zone = Zone(
        "ring",
        tuple((30 + 0.01 * np.sin(angles)).tolist()),
        tuple((120 + 0.01 * np.cos(angles)).tolist()),
        10.0,
    )
    grid = np.linspace(-0.012, 0.012, 40)
    lat, lon = (a.ravel() for a in np.meshgrid(30 + grid, 120 + grid))
    got = Area([zone]).contains(lat, lon)
    single = [
        bool(Area([zone]).contains(lat[i : i + 1], lon[i : i + 1])[0])
        for i in range(0, 1600, 37)
    ]
    assert got[::37].tolist() == single
    assert 0 < got.sum() < len(got)


@pytest.mark.parametrize(
    "zone",
    [
        Zone("two", (1.0, 2.0), (1.0, 2.0), 0.0),
        Zone("nan", (1.0, 2.0, math.nan), (1.0, 2.0, 3.0), 0.0),
        Zone("minus", (1.0, 2.0, 1.5), (1.0, 2.0, 3.0), -1.0),
    ],
)
def test_senseless_zones_are_refused_without_their_coordinates(zone: Zone) -> None:
    with pytest.raises(ValueError, match=zone.name):
        Area([zone])


def test_distance_is_within_a_thousandth_of_the_great_circle() -> None:
    rng = np.random.Generator(np.random.PCG64(5))
    lat = rng.uniform(-70, 70, 500)
    lon = rng.uniform(-180, 180, 500)
    lat2, lon2 = (
        lat + rng.uniform(-0.01, 0.01, 500),
        lon + rng.uniform(-0.01, 0.01, 500),
    )
    lon2 = (lon2 + 180) % 360 - 180  # some steps cross the antimeridian
    a, b, c, d = map(np.radians, (lat, lon, lat2, lon2))
    h = np.sin((c - a) / 2) ** 2 + np.cos(a) * np.cos(c) * np.sin((d - b) / 2) ** 2
    sphere = 2 * (METRES_A_DEGREE * 180 / math.pi) * np.arcsin(np.sqrt(h))
    assert np.allclose(distance_m(lat, lon, lat2, lon2), sphere, rtol=1e-3)
