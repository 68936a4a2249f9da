"""A bucket of tokens: bursts, refills, and what it refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.budget import Budget


def test_a_burst_then_one_at_a_time() -> None:
    budget = Budget(3, 10)
    assert [budget.spend(0) for _ in range(5)] == [True, True, True, False, False]
    assert budget.refused == 2
    assert budget.spend(9) is False
    assert budget.spend(10) is True
    assert budget.spend(10) is False
    assert budget.spend(1_000_000) is True


@given(steps=st.lists(st.integers(0, 50), max_size=60))
def test_it_never_grants_more_than_burst_and_time_allow(steps: list[int]) -> None:
    budget, now, granted = Budget(4, 10), 0, 0
    for step in steps:
        now += step
        granted += budget.spend(now)
        assert granted <= 4 + now // 10
