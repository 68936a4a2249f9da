"""The columnar path equals the scalar reference, however the stream is cut."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.classification.context import Context
from agent.classification.stage import Classifier
from agent.classification.volumes import Volumes
from agent.protection.keyring import KeyRing
from agent.protection.transforms import RuleRunner
from agent.records import Outcome
from agent.track import Tracker
from policies.tables import (
    Action,
    Aggregate,
    Blank,
    Bucket,
    Clamp,
    CompiledVolume,
    ConsentTest,
    DropZones,
    Every,
    Grid,
    ItemTest,
    Mask,
    Noise,
    OnChange,
    Pseudonymise,
    Round,
    TimeTest,
    TripEnds,
    VolumeTest,
    Zone,
    ZoneTest,
)
from protocols.samples import raw_of_floats
from tests.reference.scalar_path import Ledger, run_rule
from tests.reference.scalar_tables import (
    ALT,
    FIX,
    FLAG,
    LAT,
    LAT2,
    LON,
    LON2,
    ODD,
    SERIAL,
    SPEED,
    TEMP,
    VIN,
    columns,
    cut,
    datum_rows,
    items,
    policy,
    released_rows,
    rule,
)
from tests.reference.scalar_world import Datum, World, decide
from tests.support.examples import upto

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.records import Released
    from policies.tables import CompiledRule, Condition, Transform
    from tests.reference.scalar_tables import Row

pytestmark = pytest.mark.slow  # long drives, sample by sample

S = 1_000_000_000
T0 = 1_764_000_000 * S  # a Monday, 16:00 UTC
MASTER = bytes(range(32))
ITEMS = items()
ZONE = Zone(
    "site", (31.20, 31.20, 31.21, 31.205), (121.40, 121.41, 121.41, 121.402), 150.0
)
ZONES = (ZONE,)

gaps = st.sampled_from([0, 0, S // 10, S // 3, S, 3 * S, 11 * S, 70 * S])
cuts = st.lists(st.integers(0, 200), max_size=5)
numbers = st.one_of(
    st.integers(-40, 40).map(float),
    st.floats(-1e6, 1e6),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.3, -0.0]),
)


def datum(time_ns: int, item: int, value: float) -> Datum:
    if item == VIN:
        return Datum(time_ns, item, text=f"VIN{value:.0f}X"[:10].encode())
    raw = int(raw_of_floats(np.array([value]))[0])
    return Datum(time_ns, item, raw, value)


@st.composite
def plain_streams(draw: st.DrawFn) -> list[Datum]:
    """Numbers and texts of a few items, in order of time."""
    rows = draw(
        st.lists(
            st.tuples(gaps, st.sampled_from([TEMP, SPEED, ALT, VIN, SERIAL]), numbers),
            max_size=50,
        )
    )
    out, now = [], T0
    for gap, item, value in rows:
        now += gap
        out.append(datum(now, item, value))
    return out


@st.composite
def drives(draw: st.DrawFn) -> list[Datum]:
    """Tracks of two groups around a zone, with gaps, bad fixes and other items."""
    rows = draw(
        st.lists(
            st.tuples(
                gaps,
                st.sampled_from(
                    [LAT, LAT, LON, LON, SPEED, ALT, FIX, LAT2, LON2, TEMP]
                ),
                st.integers(-600, 900),
            ),
            max_size=60,
        )
    )
    out, now = [], T0
    at = {LAT: 31.2013, LON: 121.4017, LAT2: 31.2001, LON2: 121.3991}
    for gap, item, move in rows:
        now += gap
        if item in at:
            at[item] += move * 1.0713e-6
            value = math.nan if move == 0 else at[item]
            out.append(datum(now, item, value))
            if move % 2 and item == LAT:  # both coordinates in one message
                at[LON] += move * 0.9127e-6
                out.append(datum(now, LON, at[LON]))
        else:
            out.append(datum(now, item, float(move > -500)))
    return out


def _entropy() -> Callable[[int], bytes]:
    """Return one and the same stream of bytes, however it is cut."""
    generator = np.random.Generator(np.random.PCG64(7))
    return lambda size: generator.integers(0, 2**64, size // 8, np.uint64).tobytes()


def _same(got: list[Row], expected: list[Row]) -> None:
    assert [row[:4] for row in got] == [row[:4] for row in expected]
    a = np.array([row[4] for row in got], np.float64)
    b = np.array([row[4] for row in expected], np.float64)
    assert np.allclose(a, b, rtol=1e-10, atol=1e-5, equal_nan=True)


def compare(transforms: Sequence[Transform], data: list[Datum], at: list[int]) -> None:
    """Run both paths over a stream; the columnar one cut at ``at``."""
    tested = rule(*transforms)
    world = World(ITEMS, data)
    ledger: Ledger
    expected, ledger = run_rule(tested, world, data, master=MASTER, entropy=_entropy())
    runner = RuleRunner(tested, ITEMS, KeyRing(MASTER, _entropy()))
    tracker = Tracker(ITEMS)
    released: list[Released] = []
    counts = dict.fromkeys(Outcome, 0)
    for piece in cut(data, at):
        samples, texts = columns(piece)
        held = runner.held
        result = runner.apply(samples, texts, 0, tracker.observe(samples))
        assert not result.failure
        assert len(piece) + held == sum(result.counts.values()) + result.held
        released += result.released
        for outcome, number in result.counts.items():
            counts[outcome] += number
    _same(released_rows(released), datum_rows(expected))
    if not any(d.text is not None for d in data):
        assert counts[Outcome.THINNED] == len(ledger.thinned)
        assert counts[Outcome.FAILED] == len(ledger.failed)
    assert runner.held == ledger.held


ON_PLAIN: list[list[Transform]] = [
    [Round(0.1)],
    [Round(5.0, down=True)],
    [Clamp(-3.0, 7.5)],
    [Bucket((-10.0, 0.0, 3.5, 20.0))],
    [Noise(0.5, 2.0)],
    [OnChange(0.0)],
    [OnChange(3.0)],
    [Aggregate(2 * S, ("min", "max", "mean", "count", "sum", "last"))],
    [Aggregate(S // 2, ("last",)), Round(1.0)],
    [Clamp(-50.0, 50.0), OnChange(1.0), Every(S), Round(2.0)],
    [Every(2 * S), Aggregate(10 * S, ("count", "max"))],
]


@pytest.mark.parametrize("transforms", ON_PLAIN, ids=repr)
@settings(max_examples=upto(40))
@given(data=plain_streams(), at=cuts)
def test_numbers_equal_the_reference_however_they_are_cut(
    transforms: list[Transform], data: list[Datum], at: list[int]
) -> None:
    compare(transforms, [d for d in data if d.text is None], at)


@pytest.mark.parametrize(
    "transforms",
    [
        [Every(S)],
        [Blank()],
        [Pseudonymise("statistics", 60 * S)],
        [OnChange(0.5), Pseudonymise("p", S)],
        [Pseudonymise("p", 10 * S), Every(20 * S)],
    ],
    ids=repr,
)
@settings(max_examples=upto(40))
@given(data=plain_streams(), at=cuts)
def test_numbers_and_texts_equal_the_reference(
    transforms: list[Transform], data: list[Datum], at: list[int]
) -> None:
    compare(transforms, data, at)


@settings(max_examples=upto(40))
@given(data=plain_streams(), at=cuts, first=st.integers(0, 4), last=st.integers(0, 4))
def test_masked_texts_equal_the_reference(
    data: list[Datum], at: list[int], first: int, last: int
) -> None:
    compare([Mask(first, last)], [d for d in data if d.text is not None], at)


ON_TRACKS: list[list[Transform]] = [
    [Grid(300.0)],
    [DropZones(ZONES, 0)],
    [DropZones(ZONES, 4 * S)],
    [TripEnds(150.0, 60 * S)],
    [DropZones(ZONES, S), TripEnds(200.0, 60 * S), Grid(1100.0), Every(S)],
    [TripEnds(90.0, 30 * S), DropZones(ZONES, S), Aggregate(5 * S, ("last", "count"))],
]


@pytest.mark.parametrize("transforms", ON_TRACKS, ids=lambda t: type(t[0]).__name__)
@settings(max_examples=upto(60))
@given(data=drives(), at=cuts)
def test_tracks_equal_the_reference_however_they_are_cut(
    transforms: list[Transform], data: list[Datum], at: list[int]
) -> None:
    compare(transforms, data, at)


def long_drive(seed: int) -> list[Datum]:
    """Three trips with jitter, stops and odd steps; 1.5 km or so each."""
    noise = np.random.Generator(np.random.PCG64(seed))
    out: list[Datum] = []
    now, lat, lon, course = T0, 31.1965, 121.396, 0.8
    for trip in range(3):
        for step in range(36):
            now += int(noise.integers(S // 5, 2 * S))
            course += float(noise.normal(0, 0.15))
            parked = trip == 1 and 15 < step < 20
            reach = float(noise.uniform(0, 5e-6 if parked else 6e-4))
            lat += reach * math.cos(course)
            lon += reach * math.sin(course)
            out += [datum(now, LAT, lat), datum(now, SPEED, reach * 1e5)]
            now += int(noise.integers(0, 2)) * S // 20
            out += [datum(now, LON, lon), datum(now, ALT, 4.0 + step)]
        now += 90 * S
        course += 3.0
    return out


@pytest.mark.parametrize("transforms", ON_TRACKS, ids=lambda t: type(t[0]).__name__)
@pytest.mark.parametrize("seed", range(2))
def test_long_drives_equal_the_reference(
    transforms: list[Transform], seed: int
) -> None:
    data = long_drive(seed)
    kept, _ = run_rule(rule(*transforms), World(ITEMS, data), data)
    assert 0 < len(kept) < len(data) or len(transforms) == 1  # it does something
    compare(transforms, data, [31, 77, 78, 140, 190, 193, 261, 400])


VOLUMES = [
    CompiledVolume(name, 5, 10**6 * S, 10**5 * S, by_time=False)
    for name in ("passed", "not passed")
]
CONDITIONS: st.SearchStrategy[Condition] = st.sampled_from(
    [
        ItemTest((FLAG,), "==", 1.0),
        ItemTest((TEMP, SPEED), ">", 0.0),
        ItemTest((SPEED,), "!=", 3.0),
        ItemTest((TEMP,), "<=", -1.0),
        ZoneTest(ZONES, inside=True),
        ZoneTest(ZONES, inside=False),
        ZoneTest(ZONES, inside=True, hysteresis_ns=3 * S),
        ZoneTest(ZONES, inside=False, hysteresis_ns=S),
        ZoneTest(ZONES, inside=True, hysteresis_ns=S, lingers_outside=True),
        ZoneTest(ZONES, inside=False, hysteresis_ns=12 * S, lingers_outside=True),
        TimeTest(frozenset({0, 1}), 8 * 3600, 16 * 3600 + 20, 0),
        TimeTest(frozenset({0}), 23 * 3600, 60, 8 * 3600),
        ConsentTest("given"),
        ConsentTest("expiring"),
        ConsentTest("never"),
        *[VolumeTest(v, ("r",), above=up) for v in VOLUMES for up in (True, False)],
    ]
)
WATCHED = [LAT, LON, SPEED, TEMP, FLAG, ODD, VIN]


@st.composite
def rule_books(draw: st.DrawFn) -> tuple[list[CompiledRule], dict[int, list[int]]]:
    rules = [
        rule(when=draw(st.lists(CONDITIONS, max_size=2)), action=action)
        for action in draw(
            st.lists(st.sampled_from(list(Action)), min_size=1, max_size=5)
        )
    ]
    order = st.lists(st.integers(0, len(rules) - 1), max_size=4, unique=True)
    return list(rules), {item: draw(order) for item in WATCHED}


@settings(max_examples=upto(120))
@given(
    book=rule_books(),
    drive=drives(),
    extra=plain_streams(),
    at=cuts,
    clock_ok=st.booleans(),
)
def test_decisions_equal_the_reference_however_the_stream_is_cut(
    book: tuple[list[CompiledRule], dict[int, list[int]]],
    drive: list[Datum],
    extra: list[Datum],
    at: list[int],
    clock_ok: bool,
) -> None:
    flags = [datum(d.time_ns, FLAG, float(d.time_ns % 2)) for d in extra[::3]]
    data = sorted([*drive, *extra, *flags], key=lambda d: d.time_ns)
    tested = policy(book[0], book[1])
    consents = {"given": T0 + 10**6 * S, "expiring": T0 + 30 * S}
    world = World(tested.items, data, clock_ok, consents, frozenset({"passed"}))
    volumes = Volumes()
    volumes.look(T0, clock_ok=True)
    volumes.left(VOLUMES[:1], ["r"], 5)
    volumes.look(T0 + S, clock_ok=clock_ok)
    classifier, context = Classifier(tested), Context(tested, volumes)
    for piece in cut(data, at):
        samples, texts = columns(piece)
        context.observe(samples, clock_ok=clock_ok, consents=consents)
        decided = [
            *classifier.classify(samples, context, 0).rule.tolist(),
            *classifier.classify_texts(texts, context, 0).rule.tolist(),
        ]
        in_order = [
            *[d for d in piece if d.text is None],
            *[d for d in piece if d.text is not None],
        ]
        assert decided == [decide(tested, 0, d, world) for d in in_order]
