"""A destination's rules over a batch: the split, the books, the labels."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.protection.keyring import KeyRing
from agent.protection.protector import Protector, split_by_label
from agent.records import Outcome, Treatment
from policies.tables import NO_RULE, Action, Aggregate, Every, Round, TripEnds
from protocols.samples import SampleBatch
from tests.reference.scalar_tables import (
    FLAG,
    LAT,
    LON,
    ODD,
    SERIAL,
    SPEED,
    TEMP,
    VIN,
    columns,
    policy,
    rule,
)
from tests.reference.scalar_world import Datum
from tests.support.examples import upto

S = 1_000_000_000
RULES = [
    rule(),
    rule(Every(S)),
    rule(action=Action.DROP),
    rule(action=Action.KEEP),
    rule(Aggregate(2 * S, ("min", "max"))),
    rule(TripEnds(50.0, 60 * S)),
    rule(destination=1),
]
KEYS = KeyRing(bytes(32))


def treat(*numbers: int) -> Treatment:
    return Treatment(np.array(numbers, np.int16))


def cells(*found: tuple[int, Outcome, int, int]) -> tuple[object, ...]:
    return tuple(found)


def test_each_outcome_is_counted_under_rule_and_label() -> None:
    protector = Protector(policy(RULES, {}), 0, KEYS)
    data = [
        *[Datum(i, TEMP, i, 1.0) for i in range(3)],
        *[Datum(i, SPEED, i, 1.0) for i in range(3)],
        Datum(3, ODD, 0, 1.0), Datum(4, FLAG, 0, 1.0), Datum(5, FLAG, 0, 1.0),
        Datum(6, TEMP, 0, 1.0), Datum(7, VIN, text=b"vin"), Datum(8, VIN, text=b"vin"),
    ]  # fmt: skip
    samples, texts = columns(data)
    rules = treat(0, 1, 1, 2, 2, 3, NO_RULE, NO_RULE, 6, 4)
    result = protector.protect(samples, rules, texts, treat(0, NO_RULE), 0)
    # label_out is item % 3, an item's own label 100 + item.
    assert result.cells == cells(
        (NO_RULE, Outcome.KEPT_BACK, 100 + FLAG, 1),
        (NO_RULE, Outcome.KEPT_BACK, 100 + VIN, 1),
        (NO_RULE, Outcome.UNCLASSIFIED, 100 + ODD, 1),
        (0, Outcome.SENT, VIN % 3, 1),
        (0, Outcome.SENT, TEMP % 3, 1),
        (1, Outcome.SENT, TEMP % 3, 1),
        (1, Outcome.THINNED, 100 + TEMP, 1),
        (2, Outcome.DROPPED, 100 + SPEED, 2),
        (3, Outcome.KEPT, SPEED % 3, 1),
        (6, Outcome.FAILED, 100 + FLAG, 1),  # another destination's rule: a mix-up
    )
    assert result.held == protector.held == 1
    assert [part.rule for part in result.released] == [0, 1, 3]


def test_keep_without_a_custodian_is_drop() -> None:
    protector = Protector(policy(RULES, {}, custodian=""), 0, KEYS)
    samples, texts = columns([Datum(0, TEMP, 1, 1.0)])
    result = protector.protect(samples, treat(3), texts, treat(), 0)
    assert result.released == ()
    assert result.cells == cells((3, Outcome.DROPPED, 100 + TEMP, 1))


def test_windows_close_in_batches_without_samples_for_them() -> None:
    protector = Protector(policy(RULES, {}), 0, KEYS)
    samples, texts = columns([Datum(0, TEMP, 1, 1.0), Datum(1, TEMP, 1, 3.0)])
    first = protector.protect(samples, treat(4, 4), texts, treat(), 1)
    assert (first.held, first.cells) == (2, ())
    later = protector.protect(samples.take(slice(0, 0)), treat(), texts, treat(), 9 * S)
    assert later.cells == cells((4, Outcome.MERGED, TEMP % 3, 2))
    assert [part.statistic for part in later.released] == ["min", "max"]


def test_flush_ends_everything() -> None:
    protector = Protector(policy(RULES, {}), 0, KEYS)
    samples, texts = columns([Datum(0, TEMP, 1, 1.0), Datum(1, TEMP, 1, 3.0)])
    protector.protect(samples, treat(4, 4), texts, treat(), 1)
    last = protector.flush("policy")
    assert last.cells == cells((4, Outcome.THINNED, 100 + TEMP, 2))
    assert (last.held, last.released) == (0, ())


@settings(max_examples=upto(80))
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([LAT, LON, SPEED, TEMP, FLAG, SERIAL, ODD, VIN]),
            st.integers(-1, len(RULES) - 1),
            st.integers(0, S),
        ),
        max_size=60,
    ),
    size=st.integers(1, 20),
)
def test_every_sample_has_one_outcome(
    rows: list[tuple[int, int, int]], size: int
) -> None:
    protector = Protector(policy(RULES, {}), 0, KEYS)
    totals: Counter[Outcome] = Counter()
    now = 0
    for begin in range(0, len(rows), size):
        data, numbers = [], []
        for item, number, gap in rows[begin : begin + size]:
            now += gap
            text = b"t" if item == VIN else None
            data.append(Datum(now, item, 1, float(now % 7), text))
            numbers.append(number)
        mine = [n for d, n in zip(data, numbers, strict=True) if d.text is None]
        theirs = [n for d, n in zip(data, numbers, strict=True) if d.text is not None]
        samples, texts = columns(data)
        result = protector.protect(samples, treat(*mine), texts, treat(*theirs), now)
        for _, outcome, _, count in result.cells:
            assert count > 0
            totals[outcome] += count
        assert totals.total() + result.held == begin + len(data)


def test_released_parts_of_different_labels_come_apart() -> None:
    protector = Protector(policy([rule(Round(1.0))], {}), 0, KEYS)
    data = [Datum(i, item, 0, float(i)) for i, item in enumerate([LAT, LON, LAT, FLAG])]
    samples, texts = columns(data)
    result = protector.protect(samples, treat(0, 0, 0, 0), texts, treat(), 0)
    parts = split_by_label(result.released[0], rule())
    assert [(label, p.samples.item.tolist()) for label, p in parts] == [
        (0, [LAT, LAT]),
        (1, [LON]),
        (2, [FLAG]),
    ]


def test_labels_of_texts_and_samples_come_apart_alike() -> None:
    protector = Protector(policy([rule()], {}), 0, KEYS)
    samples, texts = columns([Datum(0, LON, 0, 1.0), Datum(1, VIN, text=b"v")])
    result = protector.protect(samples, treat(0), texts, treat(0), 0)
    parts = dict(split_by_label(result.released[0], rule()))
    assert (len(parts[0].texts), len(parts[0].samples)) == (1, 0)
    assert (len(parts[1].texts), len(parts[1].samples)) == (0, 1)
    assert isinstance(parts[0].samples, SampleBatch)


def test_failures_name_the_rule_and_the_type_and_only_where_samples_failed() -> None:
    broken = [rule(), rule(Aggregate(0, ("min",)))]
    protector = Protector(policy(broken, {}), 0, KEYS)
    samples, texts = columns([Datum(0, TEMP, 1, 41.5)])
    quiet = protector.protect(samples, treat(0), texts, treat(), 0)
    assert quiet.failures == ()
    loud = protector.protect(samples, treat(1), texts, treat(), 0)
    assert loud.failures == ((1, "ValueError"),)
    assert loud.cells == cells((1, Outcome.FAILED, 100 + TEMP, 1))
