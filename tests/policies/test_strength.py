"""The order of transforms, and which windows and zones imply which."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import pytest

from policies.diff.strength import excludes, implies, takes_more
from policies.tables import (
    Aggregate,
    Blank,
    Bucket,
    Clamp,
    DropZones,
    Every,
    Grid,
    Mask,
    Noise,
    OnChange,
    Pseudonymise,
    Round,
    TimeTest,
    TripEnds,
    Zone,
    ZoneTest,
)

if TYPE_CHECKING:
    from policies.tables import Transform

ZONE = Zone("z", (1.0, 2.0, 2.0), (1.0, 1.0, 2.0), 500.0)
PAIRS: list[tuple[Transform, Transform]] = [  # (stronger, weaker)
    (Round(2.0), Round(1.0)),
    (Clamp(1.0, 2.0), Clamp(0.0, 3.0)),
    (Bucket((1.0, 3.0)), Bucket((1.0, 2.0, 3.0))),
    (Grid(1500.0), Grid(1100.0)),
    (DropZones((ZONE,), 60), DropZones((), 60)),
    (DropZones((ZONE,), 60), DropZones((ZONE,), 30)),
    (DropZones((dataclasses.replace(ZONE, buffer_m=900.0),), 1), DropZones((ZONE,), 1)),
    (TripEnds(500.0, 60), TripEnds(400.0, 60)),
    (TripEnds(500.0, 60), TripEnds(500.0, 90)),
    (Every(20), Every(10)),
    (OnChange(1.0), OnChange(0.0)),
    (Aggregate(20, ("min",)), Aggregate(10, ("min", "max"))),
    (Mask(1, 0), Mask(1, 2)),
    (Pseudonymise("p", 10), Pseudonymise("p", 20)),
    (Noise(1.0, 2.0), Noise(1.0, 1.0)),
    (Blank(), Round(1.0)),
]


@pytest.mark.parametrize(("strong", "weak"), PAIRS)
def test_a_stronger_transform_takes_more(strong: Transform, weak: Transform) -> None:
    assert takes_more([strong], [weak])
    assert not takes_more([weak], [strong])
    assert takes_more([strong], [strong])
    assert takes_more([strong], [])
    assert not takes_more([], [strong])
    assert takes_more([Every(5), strong, Round(1.0)], [weak])


def test_steps_of_two_kinds_are_not_compared() -> None:
    one = {type(strong): strong for strong, _ in PAIRS}
    for a, b in itertools.permutations(one.values(), 2):
        on_values = (Round, Clamp, Bucket, Grid, Mask, Pseudonymise, Noise)
        expected = isinstance(a, Blank) and isinstance(b, on_values)
        assert takes_more([a], [b]) == expected
    assert not takes_more([Pseudonymise("p", 1)], [Pseudonymise("q", 1)])


def test_windows_and_zones_imply_smaller_ones() -> None:
    day = frozenset({0, 1})
    small, large = TimeTest(day, 100, 200, 0), TimeTest(day | {2}, 50, 250, 0)
    assert implies(small, large)
    assert not implies(large, small)
    night = TimeTest(day, 200, 100, 0)
    assert implies(night, dataclasses.replace(night, days=day | {2}))
    assert not implies(night, large)
    assert not implies(small, dataclasses.replace(large, utc_offset_s=60))
    wide = dataclasses.replace(ZONE, buffer_m=900.0)
    assert implies(ZoneTest((ZONE,), inside=True), ZoneTest((wide,), inside=True))
    for inside in (True, False):
        for lingers in (True, False):
            long, short = (
                ZoneTest((ZONE,), inside, hysteresis, lingers_outside=lingers)
                for hysteresis in (60, 30)
            )
            assert implies(long, short) == (inside == lingers)
            assert implies(short, long) == (inside != lingers)
    assert implies(ZoneTest((wide,), inside=False), ZoneTest((ZONE,), inside=False))
    assert not implies(ZoneTest((wide,), inside=True), ZoneTest((ZONE,), inside=True))
    assert excludes(ZoneTest((ZONE,), inside=True), ZoneTest((wide,), inside=False))
