"""Decisions that matter most: the closed side of every doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from agent.classification.context import Context
from agent.classification.stage import Classifier
from policies.tables import (
    NO_RULE,
    Action,
    CompiledPolicy,
    Condition,
    ConsentTest,
    ItemTest,
    TimeTest,
    Zone,
    ZoneTest,
)
from protocols.samples import SampleBatch
from tests.reference.scalar_tables import (
    FLAG,
    LAT,
    LON,
    ODD,
    SPEED,
    TEMP,
    VIN,
    columns,
    policy,
    rule,
)
from tests.reference.scalar_world import Datum

if TYPE_CHECKING:
    from protocols.frames import I64, Bool

S = 1_000_000_000
T0 = 1_764_000_000 * S  # Monday 2025-11-24 16:00:00 UTC
SQUARE = Zone("q", (31.20, 31.20, 31.21, 31.21), (121.40, 121.41, 121.41, 121.40), 0.0)
INSIDE, OUTSIDE = (31.205, 121.405), (31.3, 121.405)


def decide(
    tested: CompiledPolicy,
    *batches: list[Datum],
    clock_ok: bool = True,
    consents: dict[str, int] | None = None,
) -> list[int]:
    """Return the decisions on the samples of the last batch."""
    context = Context(tested)
    rules: list[int] = []
    for batch in batches:
        samples, _ = columns(batch)
        context.observe(samples, clock_ok=clock_ok, consents=consents)
        rules = Classifier(tested).classify(samples, context, 0).rule.tolist()
    return rules


def gate(condition: Condition, action: Action = Action.ENCRYPT) -> CompiledPolicy:
    """Return a policy: rule 0 under the condition, then rule 1 for all."""
    return policy([rule(when=[condition], action=action), rule()], {TEMP: [0, 1]})


def temp(second: float) -> Datum:
    return Datum(T0 + int(second * S), TEMP, 0, 1.0)


def test_first_rule_wins_and_no_rule_keeps_back() -> None:
    tested = policy([rule(), rule()], {TEMP: [1, 0], SPEED: [0]})
    data = [Datum(T0, item, 0, 1.0) for item in (TEMP, SPEED, FLAG)]
    assert decide(tested, data) == [1, 0, NO_RULE]


def test_an_unclassified_item_never_leaves_even_if_a_chain_says_so() -> None:
    tested = policy([rule()], {ODD: [0]})
    assert decide(tested, [Datum(T0, ODD, 0, 1.0)]) == [NO_RULE]
    assert tested.destinations[0].chain[ODD, 0] == 0  # the policy is not changed


def test_texts_are_decided_like_samples() -> None:
    tested = policy([rule(when=[ConsentTest("c")])], {VIN: [0]})
    context = Context(tested)
    samples, texts = columns([Datum(T0, VIN, text=b"v"), Datum(T0 + S, VIN, text=b"v")])
    context.observe(samples, clock_ok=True, consents={"c": T0 + S})
    decided = Classifier(tested).classify_texts(texts, context, 0)
    assert decided.rule.tolist() == [0, NO_RULE]


def test_latest_value_is_carried_from_batch_to_batch_and_counts_from_its_time() -> None:
    tested = gate(ItemTest((FLAG,), "==", 1.0))
    crash = Datum(T0 + 5 * S, FLAG, 0, 1.0)
    assert decide(tested, [temp(4), crash, temp(5), temp(6)])[::1] == [1, NO_RULE, 0, 0]
    assert decide(tested, [crash], [temp(60)]) == [0]
    assert decide(tested, [crash], [temp(4)]) == [1]  # late: from before we knew


@pytest.mark.parametrize("value", [None, float("nan")])
def test_an_undecidable_drop_or_keep_applies_and_an_undecidable_allow_does_not(
    value: float | None,
) -> None:
    data = [temp(1)] if value is None else [Datum(T0, FLAG, 0, value), temp(1)]
    condition = ItemTest((FLAG,), "==", 1.0)
    for action, expected in [
        (Action.DROP, 0),
        (Action.KEEP, 0),
        (Action.ALLOW, 1),
        (Action.ENCRYPT, 1),
    ]:
        assert decide(gate(condition, action), data)[-1] == expected


def test_a_drop_whose_condition_is_known_not_to_hold_does_not_apply() -> None:
    """One condition unknown, one known to be false: nothing is in doubt."""
    both = rule(
        when=[ItemTest((SPEED,), ">", 0.0), ItemTest((FLAG,), "==", 1.0)],
        action=Action.DROP,
    )
    tested = policy([both, rule()], {TEMP: [0, 1]})
    assert decide(tested, [Datum(T0, FLAG, 0, 0.0), temp(1)])[-1] == 1


def test_not_equal_to_an_unknown_value_does_not_hold() -> None:
    assert decide(gate(ItemTest((FLAG,), "!=", 1.0)), [temp(1)]) == [1]


def test_zone_inside_and_outside_both_need_a_fresh_fix() -> None:
    for inside in (True, False):
        tested = gate(ZoneTest((SQUARE,), inside=inside))
        lat, lon = INSIDE if inside else OUTSIDE
        fix = [Datum(T0, LAT, 0, lat), Datum(T0, LON, 0, lon)]
        assert decide(tested, [temp(0)]) == [1]  # never a fix
        assert decide(tested, fix, [temp(0), temp(10), temp(10.1)]) == [0, 0, 1]
        drop = gate(ZoneTest((SQUARE,), inside=inside), Action.DROP)
        assert decide(drop, fix, [temp(0), temp(10), temp(10.1)]) == [0, 0, 0]
        lat, lon = OUTSIDE if inside else INSIDE
        fix = [Datum(T0, LAT, 0, lat), Datum(T0, LON, 0, lon)]
        assert decide(tested, fix, [temp(0)]) == [1]


def test_hours_are_local_half_open_and_need_a_clock() -> None:
    tested = gate(TimeTest(frozenset({0}), 16 * 3600, 16 * 3600 + 60, 0))
    batch = [temp(-0.001), temp(0), temp(59.999), temp(60)]
    assert decide(tested, batch) == [1, 0, 0, 1]
    assert decide(tested, batch, clock_ok=False) == [1, 1, 1, 1]
    # 16:00 UTC is midnight of Tuesday in China.
    china = gate(TimeTest(frozenset({1}), 0, 60, 8 * 3600))
    assert decide(china, batch) == [1, 0, 0, 1]


def test_hours_over_midnight_belong_to_the_day_they_began() -> None:
    night = gate(TimeTest(frozenset({0}), 22 * 3600, 6 * 3600, 0))
    hours = {21.9: 1, 22: 0, 23.9: 0, 24: 0, 29.9: 0, 30: 1, -2.1 + 6: 1}
    batch = [temp((hour - 16) * 3600) for hour in hours]
    assert decide(night, batch) == list(hours.values())
    never = gate(TimeTest(frozenset(range(7)), 3600, 3600, 0))
    assert set(decide(never, batch)) == {1}


def test_consent_must_be_given_and_fresh_and_its_expiry_needs_a_clock() -> None:
    tested = gate(ConsentTest("c"))
    expires = {"c": T0 + 5 * S}
    assert decide(tested, [temp(1), temp(5)], consents=expires) == [0, 1]
    assert decide(tested, [temp(1)], consents=expires, clock_ok=False) == [1]
    assert decide(tested, [temp(1)], consents={"d": T0 * 2}) == [1]


class CountingContext(Context):
    """Counts how often it is asked, and over how many rows."""

    def __init__(self, tested: CompiledPolicy) -> None:
        super().__init__(tested)
        self.calls: list[int] = []

    def judge(self, condition: Condition, time_ns: I64) -> tuple[Bool, Bool]:
        self.calls.append(len(time_ns))
        return super().judge(condition, time_ns)


def test_a_batch_costs_by_rules_not_by_samples() -> None:
    """A hundred thousand samples under a conditional chain are decided at once."""
    rules = [rule(when=[ItemTest((FLAG,), "==", float(k))]) for k in range(4)]
    tested = policy(rules, {TEMP: [3, 2, 1, 0], SPEED: [0]})
    n = 100_000
    flag, _ = columns([Datum(T0, FLAG, 0, 2.0)])
    context = CountingContext(tested)
    context.observe(flag, clock_ok=True)
    many = SampleBatch(
        T0 + np.arange(n),
        np.full(n, TEMP, np.uint32),
        np.zeros(n, np.int64),
        np.ones(n),
    )
    decided = Classifier(tested).classify(many, context, 0)
    assert (decided.rule == 2).all()
    assert context.calls == [n, n]
