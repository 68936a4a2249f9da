"""Grid and zones: bounds, whole cells, and the closed side of every doubt."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.geometry import METRES_A_DEGREE
from agent.protection.keyring import KeyRing
from agent.protection.positions import FRESH_NS, cells
from agent.protection.transforms import RuleRunner
from agent.records import Outcome
from agent.track import Tracker
from policies.tables import DropZones, Grid, Zone
from protocols.samples import raw_of_floats
from tests.reference.scalar_tables import (
    ALT,
    FIX,
    LAT,
    LAT2,
    LON,
    LON2,
    SPEED,
    TEMP,
    columns,
    items,
    rule,
)
from tests.reference.scalar_world import Datum

if TYPE_CHECKING:
    from agent.protection.transforms import RunResult
    from policies.tables import Transform

S = 1_000_000_000
T0 = 1_764_000_000 * S
ITEMS = items()
SQUARE = Zone(
    "q", (31.20, 31.20, 31.21, 31.21), (121.40, 121.41, 121.41, 121.40), 100.0
)


def runner(*transforms: Transform) -> RuleRunner:
    return RuleRunner(rule(*transforms), ITEMS, KeyRing(bytes(32)))


def run(tested: RuleRunner, *data: tuple[float, int, float]) -> RunResult:
    samples, texts = columns(
        [Datum(T0 + int(t * S), item, 0, value) for t, item, value in data]
    )
    return tested.apply(samples, texts, 0)


@given(
    lat=st.floats(-85, 85),
    lon=st.floats(-180, 180),
    size=st.sampled_from([10.0, 300.0, 1100.0, 50_000.0]),
)
def test_error_of_the_grid_is_at_most_0_707_of_its_size(
    lat: float, lon: float, size: float
) -> None:
    centre_lat, centre_lon = cells(np.array([lat]), np.array([lon]), size)
    # In metres of the band's own plane, which is what makes the cell square.
    north = (centre_lat[0] - lat) * METRES_A_DEGREE
    east = (
        (centre_lon[0] - lon) * METRES_A_DEGREE * math.cos(math.radians(centre_lat[0]))
    )
    assert math.hypot(north, east) <= 0.7072 * size
    assert abs(centre_lat[0]) <= 90
    assert abs(centre_lon[0]) <= 180


def test_mean_error_is_0_383_of_the_size() -> None:
    rng = np.random.Generator(np.random.PCG64(1))
    lat, lon = rng.uniform(30, 32, 40_000), rng.uniform(120, 122, 40_000)
    centre_lat, centre_lon = cells(lat, lon, 1100.0)
    north = (centre_lat - lat) * METRES_A_DEGREE
    east = (centre_lon - lon) * METRES_A_DEGREE * np.cos(np.radians(centre_lat))
    assert np.hypot(north, east).mean() / 1100.0 == pytest.approx(0.383, abs=0.003)


def test_all_points_of_a_cell_give_the_same_bits_and_cells_hold_many() -> None:
    rng = np.random.Generator(np.random.PCG64(2))
    lat, lon = rng.uniform(31.2, 31.25, 20_000), rng.uniform(121.4, 121.45, 20_000)
    pairs = np.stack([raw_of_floats(c) for c in cells(lat, lon, 1100.0)], axis=1)
    _, counts = np.unique(pairs, axis=0, return_counts=True)
    # 5.6 km by 4.8 km: no more than 7 x 6 cells, so hundreds of points in most.
    assert len(counts) <= 42
    assert np.median(counts) > 200


def test_longitude_tells_nothing_of_the_latitude_within_its_band() -> None:
    high = 1100.0 / METRES_A_DEGREE
    lat = (np.floor(31.2 / high) + np.linspace(0.001, 0.999, 500)) * high
    _, lon = cells(lat, np.full(500, 121.4567), 1100.0)
    assert len(np.unique(lon)) == 1


def test_longitude_without_a_fresh_latitude_fails() -> None:
    tested = runner(Grid(1100.0))
    assert run(tested, (0, LON, 121.4)).counts == {Outcome.FAILED: 1}
    both = run(tested, (1, LAT, 31.2), (1, LON, 121.4))
    assert both.counts == {Outcome.SENT: 2}
    late = 1 + FRESH_NS / S
    assert run(tested, (late, LON, 121.4)).counts == {Outcome.SENT: 1}
    assert run(tested, (late + 0.1, LON, 121.4)).counts == {Outcome.FAILED: 1}


def test_latitude_of_another_group_does_not_serve() -> None:
    result = run(runner(Grid(1100.0)), (0, LAT2, 31.2), (0, LON, 121.4))
    assert result.counts == {Outcome.SENT: 1, Outcome.FAILED: 1}


def test_other_roles_are_thinned_and_bad_coordinates_fail() -> None:
    result = run(
        runner(Grid(1100.0)),
        (0, LAT, 31.2), (0, LON, 181.0), (0, ALT, 4.0), (0, SPEED, 9.0), (0, TEMP, 1.0),
        (1, LAT, 91.0), (1, LON, 121.4), (2, LAT, math.nan), (2, LON, 121.4),
    )  # fmt: skip
    assert result.counts == {Outcome.SENT: 1, Outcome.THINNED: 3, Outcome.FAILED: 5}


def test_zone_takes_all_items_of_the_group_until_hysteresis_is_over() -> None:
    tested = runner(DropZones((SQUARE,), 5 * S))
    inside = run(tested, (0, LAT, 31.205), (0, LON, 121.405), (0, SPEED, 3.0))
    assert inside.counts == {Outcome.THINNED: 3}
    for second in range(1, 5):  # outside, but not for long enough
        away = run(
            tested, (second, LAT, 31.25), (second, SPEED, 1.0), (second, LON, 121.405)
        )
        assert away.counts == {Outcome.THINNED: 3}
    out = run(tested, (5, LAT, 31.25), (5, LON, 121.405), (5.5, SPEED, 3.0))
    assert out.counts == {Outcome.SENT: 3}


def test_buffer_widens_the_zone() -> None:
    tested = runner(DropZones((SQUARE,), 0))
    near = 31.21 + 99 / METRES_A_DEGREE
    far = 31.21 + 101 / METRES_A_DEGREE
    assert run(tested, (0, LAT, near), (0, LON, 121.405)).counts == {Outcome.THINNED: 2}
    assert run(tested, (1, LAT, far), (1, LON, 121.405)).counts == {Outcome.SENT: 2}


def test_no_fix_is_dropped() -> None:
    tested = runner(DropZones((SQUARE,), 0))
    assert run(tested, (0, SPEED, 3.0)).counts == {Outcome.THINNED: 1}
    assert run(tested, (1, LAT, 31.3)).counts == {Outcome.THINNED: 1}
    assert run(tested, (1, LON, 121.3), (3, SPEED, 1.0)).counts == {Outcome.SENT: 2}
    assert run(tested, (3.1, SPEED, 1.0)).counts == {Outcome.THINNED: 1}  # stale


def test_fix_quality_zero_or_unknown_is_no_fix() -> None:
    tested = runner(DropZones((SQUARE,), 0))
    here = ((LAT2, 31.3), (LON2, 121.3))
    assert run(tested, *((0, *h) for h in here)).counts == {Outcome.THINNED: 2}
    good = run(tested, (1, FIX, 1.0), *((1, *h) for h in here))
    assert good.counts == {Outcome.SENT: 3}
    bad = run(tested, (2, FIX, 0.0), *((2, *h) for h in here))
    assert bad.counts == {Outcome.THINNED: 3}


def test_items_of_no_group_fail_under_position_rules() -> None:
    result = run(runner(DropZones((SQUARE,), 0)), (0, TEMP, 3.0))
    assert result.counts == {Outcome.FAILED: 1}


def test_zone_follows_positions_that_fall_under_other_rules() -> None:
    """Speed alone in the rule: the group's track comes from the whole batch."""
    tested = runner(DropZones((SQUARE,), 0))
    tracker = Tracker(ITEMS)
    track, _ = columns([Datum(T0, LAT, 0, 31.205), Datum(T0, LON, 0, 121.405)])
    speed, texts = columns([Datum(T0, SPEED, 0, 3.0)])
    result = tested.apply(speed, texts, 0, tracker.observe(track))
    assert result.counts == {Outcome.THINNED: 1}
