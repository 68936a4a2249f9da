"""When a learned detector may alarm, and what its silence certifies."""

from __future__ import annotations

import pytest

from agent.inspection.modbus_learning import Learning, Phase, bound_of


def walked(learning: Learning, begin: int, end: int) -> list[Phase]:
    return [learning.phase(second) for second in range(begin, end)]


def test_it_fits_then_calibrates_then_is_armed() -> None:
    learning = Learning(100)
    phases = walked(learning, 1000, 1120)
    assert phases.count(Phase.FIT) == 60
    assert phases.count(Phase.CALIBRATE) == 40
    assert phases == sorted(phases)


def test_what_would_have_alarmed_begins_the_calibration_anew() -> None:
    learning = Learning(100)
    walked(learning, 0, 90)
    learning.not_silent()
    assert walked(learning, 90, 128)[-1] is Phase.CALIBRATE
    assert learning.phase(130) is Phase.ARMED


def test_who_hears_nothing_learns_nothing() -> None:
    learning = Learning(600)
    learning.phase(0)
    assert learning.phase(10**6) is Phase.FIT
    assert learning.phase(10**6 + 1) is Phase.FIT


def test_the_bound_is_three_over_the_silent_hours_before_the_first_alarm() -> None:
    learning = Learning(100)
    for second in range(0, 3661, 60):
        learning.phase(second)
    assert learning.bound() == pytest.approx(3.0)
    walked(learning, 3661, 7300)
    assert learning.bound() == pytest.approx(3.0)
    assert bound_of(0) is None


def test_nothing_to_learn_is_armed_at_once() -> None:
    assert Learning(0).phase(5) is Phase.ARMED
