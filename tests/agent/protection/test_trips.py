"""Trip ends: nothing within the cut of a start or an end gets out."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from agent.protection.keyring import KeyRing
from agent.protection.transforms import RuleRunner
from agent.records import Outcome
from agent.track import Tracker
from policies.tables import Aggregate, Every, TripEnds
from tests.reference.scalar_tables import LAT, LON, SPEED, columns, cut, items, rule
from tests.reference.scalar_world import Datum

if TYPE_CHECKING:
    from agent.records import Released

S = 1_000_000_000
T0 = 1_764_000_000 * S
ITEMS = items()
CUT_M = 500.0
GAP_NS = 300 * S
DEGREE_M = 111_320.0


def drive(seed: int, start_ns: int, points: int) -> list[tuple[int, float, float]]:
    """A winding road at 5 to 20 m/s, one position a second, in metres."""
    rng = np.random.Generator(np.random.PCG64(seed))
    course = np.cumsum(rng.normal(0, 0.1, points))
    reach = rng.uniform(5, 20, points)
    x, y = np.cumsum(reach * np.cos(course)), np.cumsum(reach * np.sin(course))
    return [(start_ns + i * S, float(x[i]), float(y[i])) for i in range(points)]


def as_data(path: list[tuple[int, float, float]]) -> list[Datum]:
    out: list[Datum] = []
    for time_ns, x, y in path:
        lat, lon = (
            31.0 + y / DEGREE_M,
            121.0 + x / DEGREE_M / math.cos(math.radians(31)),
        )
        out += [Datum(time_ns, LAT, 0, lat), Datum(time_ns, LON, 0, lon)]
        out.append(Datum(time_ns, SPEED, 0, 10.0))
    return out


def released_times(
    data: list[Datum], at: list[int], tested: RuleRunner | None = None
) -> set[int]:
    tested = tested or RuleRunner(
        rule(TripEnds(CUT_M, GAP_NS)), ITEMS, KeyRing(bytes(32))
    )
    times: set[int] = set()
    tracker = Tracker(ITEMS)
    for piece in cut(data, at):
        samples, texts = columns(piece)
        result = tested.apply(samples, texts, 0, tracker.observe(samples))
        for part in result.released:
            times |= set(part.samples.time_ns.tolist())
    return times


def ways(path: list[tuple[int, float, float]]) -> dict[int, tuple[float, float]]:
    """Return for every time the way from the start and to the end, along the path."""
    total = np.cumsum([0.0, *(math.dist(a[1:], b[1:]) for a, b in pairwise(path))])
    return {
        point[0]: (float(way), float(total[-1] - way))
        for point, way in zip(path, total, strict=True)
    }


@pytest.mark.parametrize("seed", range(4))
def test_no_point_within_the_cut_of_start_or_end(seed: int) -> None:
    first = drive(seed, T0, 240)
    second = drive(seed + 50, T0 + 1000 * S, 200)
    data = as_data(first) + as_data(second)
    times = released_times(data, [100, 333, 700, 900])
    known = ways(first) | ways(second)
    assert all(min(known[time]) > CUT_M for time in times)
    # Nor is much more lost: a gate and a step at either end.
    expected = {time for time, way in known.items() if min(way) > CUT_M + 90}
    assert expected <= times


def test_jitter_of_a_parked_vehicle_is_no_way() -> None:
    """Hours of wander about a parking place release nothing near it."""
    rng = np.random.Generator(np.random.PCG64(9))
    path = drive(3, T0, 150)
    _, x, y = path[-1]
    parked = [
        (T0 + (150 + i) * S, x + float(rng.normal(0, 3)), y + float(rng.normal(0, 3)))
        for i in range(4000)
    ]
    start_ns = T0 + 4200 * S
    away = [(t, x + a, y + b) for t, a, b in drive(4, start_ns, 150)]
    times = released_times(as_data([*path, *parked, *away]), [500, 5000])
    assert times
    near = {
        t
        for t, a, b in [*path, *parked, *away]
        if t in times and math.hypot(a - x, b - y) < 250  # winding: not the full cut
    }
    assert not near


def test_silence_ends_a_trip_and_destroys_what_waits() -> None:
    tested = RuleRunner(rule(TripEnds(CUT_M, GAP_NS)), ITEMS, KeyRing(bytes(32)))
    data = as_data(drive(1, T0, 200))
    samples, texts = columns(data)
    result = tested.apply(samples, texts, int(samples.time_ns[-1]))
    assert result.held > 0
    empty, none = columns([])
    still = tested.apply(empty, none, int(samples.time_ns[-1]) + GAP_NS // 2)
    assert still.held == result.held
    over = tested.apply(empty, none, int(samples.time_ns[-1]) + GAP_NS + 10 * S)
    assert over.counts == {Outcome.THINNED: result.held}
    assert over.held == 0
    assert not over.released


def test_flush_destroys_what_waits() -> None:
    tested = RuleRunner(rule(TripEnds(CUT_M, GAP_NS)), ITEMS, KeyRing(bytes(32)))
    samples, texts = columns(as_data(drive(1, T0, 200)))
    held = tested.apply(samples, texts, 0).held
    last = tested.flush("shutdown")
    assert (last.counts, last.held, last.released) == ({Outcome.THINNED: held}, 0, ())


def test_what_waits_is_bounded_and_the_oldest_goes_first() -> None:
    free = RuleRunner(rule(TripEnds(CUT_M, GAP_NS)), ITEMS, KeyRing(bytes(32)))
    tight = RuleRunner(
        rule(TripEnds(CUT_M, GAP_NS)), ITEMS, KeyRing(bytes(32)), held_max=40
    )
    data = as_data(drive(2, T0, 300))
    cuts = list(range(0, 900, 30))
    everything = released_times(data, cuts, free)
    some = released_times(data, cuts, tight)
    assert tight.held == 40
    assert some < everything


def test_without_coordinates_nothing_of_the_group_gets_out() -> None:
    tested = RuleRunner(rule(TripEnds(CUT_M, GAP_NS)), ITEMS, KeyRing(bytes(32)))
    samples, texts = columns([Datum(T0 + i * S, SPEED, 0, 1.0) for i in range(9)])
    assert tested.apply(samples, texts, 0).counts == {Outcome.THINNED: 9}


def test_two_trip_cuts_in_a_rule_fail_closed() -> None:
    cut_twice = (TripEnds(CUT_M, GAP_NS), Every(S), TripEnds(CUT_M, GAP_NS))
    tested = RuleRunner(rule(*cut_twice), ITEMS, KeyRing(bytes(32)))
    samples, texts = columns(as_data(drive(1, T0, 5)))
    assert tested.apply(samples, texts, 0).counts == {Outcome.FAILED: 15}


def test_items_that_go_on_after_the_trip_is_over_do_not_wait() -> None:
    tested = RuleRunner(rule(TripEnds(CUT_M, GAP_NS)), ITEMS, KeyRing(bytes(32)))
    data = as_data(drive(1, T0, 200))
    held = tested.apply(*columns(data), 0).held
    later = [Datum(T0 + 200 * S + GAP_NS + i * S, SPEED, 0, 0.0) for i in range(5)]
    result = tested.apply(*columns(later), 0)
    assert (result.counts, result.held) == ({Outcome.THINNED: 5}, held)


def test_windows_behind_a_trip_cut_wait_for_what_the_cut_still_holds() -> None:
    """By the wall clock they would close before their samples are let go."""
    both = rule(TripEnds(CUT_M, GAP_NS), Aggregate(10 * S, ("count",)))
    alone = rule(TripEnds(CUT_M, GAP_NS))
    data = as_data(drive(1, T0, 240))
    totals: dict[str, list[Released]] = {}
    for name, tested_rule in (("both", both), ("alone", alone)):
        tested = RuleRunner(tested_rule, ITEMS, KeyRing(bytes(32)))
        tracker = Tracker(ITEMS)
        parts: list[Released] = []
        for piece in cut(data, list(range(0, 720, 3))):
            if not piece:
                continue
            samples, texts = columns(piece)
            track = tracker.observe(samples)
            now_ns = piece[-1].time_ns + S // 10
            parts += tested.apply(samples, texts, now_ns, track).released
        parts += tested.flush("shutdown").released
        totals[name] = parts
    counted = sum(float(part.samples.value.sum()) for part in totals["both"])
    assert counted == sum(len(part.samples) for part in totals["alone"]) > 300
