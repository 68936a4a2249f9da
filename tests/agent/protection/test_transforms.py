"""One rule at work: exact accounts, refusals, clocks, flushes, noise, raw bits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.protection.keyring import KeyRing
from agent.protection.transforms import RuleRunner, gives_floats
from agent.protection.windows import GRACE_NS, jumps
from agent.records import Outcome
from policies.tables import (
    Aggregate,
    Blank,
    Bucket,
    Clamp,
    Every,
    Grid,
    Mask,
    Noise,
    OnChange,
    Pseudonymise,
    Round,
    TripEnds,
)
from tests.reference.scalar_tables import (
    ALT,
    LAT,
    LON,
    SPEED,
    TEMP,
    VIN,
    columns,
    items,
    released_rows,
    rule,
)
from tests.reference.scalar_world import Datum
from tests.support.examples import upto

if TYPE_CHECKING:
    from collections.abc import Callable

    from policies.tables import Transform

S = 1_000_000_000
T0 = 1_764_000_000 * S
ITEMS = items()


def fixed_entropy(seed: int = 3) -> Callable[[int], bytes]:
    return np.random.Generator(np.random.PCG64(seed)).bytes


def runner(*transforms: Transform) -> RuleRunner:
    return RuleRunner(rule(*transforms), ITEMS, KeyRing(bytes(32), fixed_entropy()))


def at(second: float, item: int, value: float) -> Datum:
    return Datum(T0 + int(second * S), item, 0, value)


ANY: st.SearchStrategy[Transform] = st.sampled_from(
    [
        Round(0.5), Clamp(-1.0, 1.0), Bucket((0.0, 1.0)), Every(S), OnChange(0.5),
        Noise(1.0, 1.0), Blank(), Mask(1, 1), Pseudonymise("p", S), Grid(500.0),
        TripEnds(40.0, 60 * S), Aggregate(2 * S, ("mean", "count")),
        Round(0.0), Bucket(()), Aggregate(0, ()),  # senseless: the rule fails closed
    ]
)  # fmt: skip
batches = st.lists(
    st.lists(
        st.tuples(
            st.integers(0, 3 * S),
            st.sampled_from([LAT, LON, SPEED, ALT, TEMP, VIN]),
            st.one_of(st.floats(-5, 5), st.sampled_from([math.nan, math.inf, 1e308])),
        ),
        max_size=12,
    ),
    max_size=6,
)


@settings(max_examples=upto(250))
@given(
    transforms=st.lists(ANY, max_size=4),
    stream=batches,
    reason=st.sampled_from(["shutdown", "policy"]),
)
def test_accounts_are_exact_whatever_the_rule_and_the_stream(
    transforms: list[Transform],
    stream: list[list[tuple[int, int, float]]],
    reason: str,
) -> None:
    tested = runner(*transforms)
    now, held = T0, 0
    for rows in stream:
        data: list[Datum] = []
        for gap, item, value in rows:
            now += gap
            text = b"text" if item == VIN else None
            data.append(Datum(now, item, 1, value, text))
        result = tested.apply(*columns(data), now)
        out = sum(
            len(part.samples) + len(part.texts)
            for part in result.released
            if not part.statistic
        )
        assert len(data) + held == sum(result.counts.values()) + result.held
        assert result.counts.get(Outcome.SENT, 0) == out
        assert result.held == tested.held >= 0
        held = result.held
    last = tested.flush(reason)
    assert held == sum(last.counts.values())
    assert last.held == tested.held == 0


@pytest.mark.parametrize(
    "transforms",
    [
        [Round(0.0)],
        [Round(math.nan)],
        [Clamp(2.0, 1.0)],
        [Bucket(())],
        [Bucket((2.0, 1.0))],
        [Noise(0.0, 1.0)],
        [Grid(0.0)],
        [Every(0)],
        [OnChange(-1.0)],
        [Aggregate(S, ("median",))],
        [Aggregate(S, ())],
        [Aggregate(S, ("mean",)), Every(S)],
        [Aggregate(S, ("mean",)), Aggregate(S, ("mean",))],
        [Blank(), Aggregate(S, ("count",))],
        [TripEnds(0.0, S)],
        [Mask(-1, 0)],
        [Pseudonymise("", S)],
    ],
    ids=repr,
)
def test_a_senseless_rule_fails_every_sample(transforms: list[Transform]) -> None:
    result = runner(*transforms).apply(*columns([at(0, TEMP, 1.0)]), 0)
    assert (result.counts, result.released) == ({Outcome.FAILED: 1}, ())
    assert result.failure == "ValueError"


def test_a_failing_transform_fails_the_selection_and_what_was_held() -> None:
    """Entropy runs dry in the second batch: windows of the first are gone too."""
    calls: list[int] = []

    def drying(size: int) -> bytes:
        calls.append(size)
        return bytes(range(1, size + 1)) if len(calls) < 2 else b""

    tested = RuleRunner(
        rule(Noise(1.0, 1.0), Aggregate(60 * S, ("mean",))),
        ITEMS,
        KeyRing(bytes(32), drying),
    )
    first = tested.apply(*columns([at(0, TEMP, 1.0), at(1, TEMP, 2.0)]), 0)
    assert first.held == 2
    second = tested.apply(*columns([at(2, TEMP, 987654.25)]), 0)
    assert (second.counts, second.released) == ({Outcome.FAILED: 3}, ())
    assert second.failure == "ValueError"  # a type, never a value
    assert "987654" not in repr(second.failure)


def test_without_entropy_noise_fails_closed() -> None:
    tested = RuleRunner(rule(Noise(1.0, 1.0)), ITEMS, KeyRing(bytes(32)))
    result = tested.apply(*columns([at(0, TEMP, 1.0)]), 0)
    assert result.counts == {Outcome.FAILED: 1}


def test_bad_numbers_fail_but_a_rule_without_transforms_lets_them_be() -> None:
    data = [at(0, TEMP, math.nan), at(1, TEMP, math.inf), at(2, TEMP, 1.0)]
    rounded = runner(Round(1.0)).apply(*columns(data), 0)
    assert rounded.counts == {Outcome.FAILED: 2, Outcome.SENT: 1}
    plain = runner().apply(*columns(data), 0)
    assert plain.counts == {Outcome.SENT: 3}


def test_an_overflow_in_an_aggregate_fails_its_window() -> None:
    data = [at(0, TEMP, 1.7e308), at(0.5, TEMP, 1.7e308), at(10, TEMP, 1.0)]
    result = runner(Aggregate(S, ("sum", "count"))).apply(*columns(data), 0)
    assert result.counts == {Outcome.FAILED: 2}
    assert result.held == 1


def test_raw_holds_the_bits_of_what_was_transformed_and_else_stays_exact() -> None:
    data = [Datum(T0, TEMP, 12345, 12.345), Datum(T0 + S, TEMP, -1, -0.001)]
    part = runner(Round(0.5)).apply(*columns(data), 0).released[0].samples
    assert part.raw.view(np.float64).tolist() == part.value.tolist() == [12.5, 0.0]
    assert math.copysign(1.0, part.value[1]) == 1.0  # -0.0 would tell the sign
    thinned = runner(Every(S)).apply(*columns(data), 0).released[0].samples
    assert thinned.raw.tolist() == [12345, -1]
    assert gives_floats(rule(Every(S), Round(0.5)))
    assert not gives_floats(rule(Every(S), OnChange(1.0)))


def test_rounding_down_keeps_multiples() -> None:
    steps = [k * 0.1 for k in range(-500, 500)]
    data = [at(i, TEMP, v) for i, v in enumerate(steps)]
    part = runner(Round(0.1, down=True)).apply(*columns(data), 0).released[0].samples
    assert part.value.tolist() == [v + 0.0 for v in steps]


def test_window_closes_by_the_clock_after_grace_and_late_samples_are_thinned() -> None:
    tested = runner(Aggregate(10 * S, ("mean", "last")))
    window = T0 - T0 % (10 * S)
    data = [Datum(window + S, TEMP, 0, 1.0), Datum(window + 2 * S, TEMP, 0, 4.0)]
    assert tested.apply(*columns(data), window + 3 * S).held == 2
    end = window + 10 * S
    assert tested.apply(*columns([]), end + GRACE_NS - 1).held == 2
    closed = tested.apply(*columns([]), end + GRACE_NS)
    assert closed.counts == {Outcome.MERGED: 2}
    assert released_rows(closed.released) == [
        ("last", TEMP, window, b"", 4.0),
        ("mean", TEMP, window, b"", 2.5),
    ]
    late = tested.apply(*columns([Datum(window + 9 * S, TEMP, 0, 1.0)]), end)
    assert late.counts == {Outcome.THINNED: 1}


def test_flush_releases_windows_at_shutdown_and_destroys_them_at_a_swap() -> None:
    data = columns([at(0, TEMP, 1.0), at(0.1, SPEED, 4.0)])
    ended, swapped = (runner(Aggregate(S * 60, ("max",))) for _ in range(2))
    assert ended.apply(*data, 0).held == swapped.apply(*data, 0).held == 2
    assert ended.flush("shutdown").counts == {Outcome.MERGED: 2}
    last = swapped.flush("policy")
    assert (last.counts, last.released) == ({Outcome.THINNED: 2}, ())


def test_noise_is_laplace_on_a_lattice_and_never_on_places() -> None:
    n = 20_000
    data = [at(i, TEMP, 20.0) for i in range(n)]
    part = runner(Noise(0.5, 2.0)).apply(*columns(data), 0).released[0].samples
    away = part.value - 20.0
    # Laplace of scale b = sensitivity / epsilon = 4: mean |x| = b, median |x| = b ln 2.
    assert abs(away.mean()) < 0.15
    assert np.abs(away).mean() == pytest.approx(4.0, rel=0.03)
    assert np.median(np.abs(away)) == pytest.approx(4.0 * math.log(2), rel=0.03)
    assert (part.value * 256 == np.rint(part.value * 256)).all()  # whole 2**-8
    places = [at(0, LAT, 31.0), at(0, LON, 121.0), at(0, ALT, 3.0), at(0, SPEED, 1.0)]
    result = runner(Noise(0.5, 2.0)).apply(*columns(places), 0)
    assert result.counts == {Outcome.FAILED: 3, Outcome.SENT: 1}


runs = st.tuples(st.integers(-9, 9), st.sampled_from([1, 1, 2, 5, 16, 17, 80, 200]))


@settings(max_examples=upto(300))
@given(
    grouped=st.lists(st.lists(runs, min_size=1, max_size=9), min_size=1, max_size=4),
    deadband=st.sampled_from([0.0, 1.0, 2.5, 6.0]),
    seen=st.booleans(),
)
def test_jumps_equal_one_by_one(
    grouped: list[list[tuple[int, int]]], deadband: float, seen: bool
) -> None:
    groups = [[v for v, times in group for _ in range(times)] for group in grouped]
    value = np.array([v for group in groups for v in group], np.float64)
    heads = np.cumsum([0, *map(len, groups)])[:-1]
    state = np.full(len(groups), 3.0)
    sent, last = jumps(value, heads, state, np.full(len(groups), seen), deadband)
    expected: list[bool] = []
    for number, group in enumerate(groups):
        before = 3.0 if seen else None
        for v in group:
            goes = before is None or abs(v - before) > deadband
            before = float(v) if goes else before
            expected.append(goes)
        assert last[number] == before
    assert sent.tolist() == expected
