"""M11: registers that stand still."""

from __future__ import annotations

import numpy as np
import pytest

from agent.inspection.findings import Finding, Level
from agent.inspection.modbus_registers import REGISTERS_MAX
from agent.inspection.modbus_stale import Frozen, entropy
from tests.support.exchange_rows import Row, S, seen

LEARN = 100


def reading(second: int, frozen_at: dict[int, int]) -> Row:
    """Four registers that move every second, but those that froze."""
    values = [
        (min(second, frozen_at.get(i, second)) * 37 * (i + 1)) & 0xFFFF
        for i in range(4)
    ]
    return Row(second * S, count=4, values=values)


def run(
    detector: Frozen, begin: int, end: int, frozen: dict[int, int]
) -> list[Finding]:
    return detector.inspect(seen([reading(t, frozen) for t in range(begin, end)]))


def test_registers_that_freeze_together_alarm_without_a_value() -> None:
    detector = Frozen(learn_s=LEARN)
    assert run(detector, 0, 200, {}) == []
    found = run(detector, 200, 230, dict.fromkeys(range(4), 205))
    (alarm,) = found
    assert (alarm.detector, alarm.level, alarm.count) == ("M11", Level.ALERT, 4)
    assert alarm.first_ns == 205 * S
    assert alarm.detail == "4 of 4 registers of table 4 stand still, 0 to 3"
    assert alarm.bound is not None
    assert run(detector, 230, 300, {}) == []


def test_one_register_that_stands_still_is_a_notice() -> None:
    detector = Frozen(learn_s=LEARN)
    run(detector, 0, 200, {})
    (found,) = run(detector, 200, 300, {2: 210})
    assert (found.level, found.count) == (Level.NOTICE, 1)


def test_what_stood_still_while_calibrating_may_do_so() -> None:
    detector = Frozen(learn_s=LEARN)
    every = dict.fromkeys(range(4), 70)
    run(detector, 0, 64, {})
    assert run(detector, 64, 110, every) == []
    run(detector, 110, 300, {})
    assert run(detector, 300, 420, dict.fromkeys(range(4), 310)) == []


def test_a_register_with_little_to_say_is_not_armed() -> None:
    detector = Frozen(learn_s=LEARN)
    rows = [Row(t * S, values=[t % 2]) for t in range(200)]
    assert detector.inspect(seen(rows)) == []
    assert (
        detector.inspect(seen([Row(t * S, values=[1]) for t in range(200, 400)])) == []
    )


def test_what_is_not_polled_does_not_stand_still() -> None:
    detector = Frozen(learn_s=LEARN)
    run(detector, 0, 200, {})
    assert run(detector, 400, 410, {}) == []


def test_a_value_that_was_not_looked_at_did_not_stand_still() -> None:
    detector = Frozen(learn_s=LEARN)
    run(detector, 0, 200, {})
    every = dict.fromkeys(range(4), 199)
    assert run(detector, 3800, 3815, every) == []
    assert run(detector, 3815, 3840, every)[0].level is Level.ALERT


def test_registers_are_bounded() -> None:
    detector = Frozen(learn_s=LEARN)
    rows = [
        Row(S, unit=u, address=a, count=100, values=[*range(100)])
        for u in range(1, 11)
        for a in range(0, 1000, 100)
    ]
    detector.inspect(seen(rows))
    assert detector.watch.ignored == 10_000 - REGISTERS_MAX


def test_entropy_is_shannons() -> None:
    bins = np.array([[4, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    assert entropy(bins) == pytest.approx([0, 1, 2, 0])
