"""The clock's verdicts by table, and the real clock once."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from agent.adapters.clock import (
    BUILD_FLOOR_NS,
    DAY_NS,
    SECOND_NS,
    ClockConfidence,
    SystemClock,
)

YEAR_NS = 365 * DAY_NS
KNOWN_NS = BUILD_FLOOR_NS + 200 * DAY_NS


def first_look(now_ns: int, floor_ns: int = KNOWN_NS, synced: bool = False) -> str:
    verdict = ClockConfidence(floor_ns).look(now_ns, 0, synchronised=synced)
    assert verdict.level == ("high" if verdict.believed else "low")
    return verdict.reason if not verdict.believed else "high"


def test_1970_is_not_believed_even_from_a_time_server() -> None:
    assert first_look(5 * SECOND_NS) == "before known past"
    assert first_look(5 * SECOND_NS, floor_ns=0) == "before known past"
    assert first_look(5 * SECOND_NS, synced=True) == "before known past"


def test_before_the_last_commit_is_not_believed() -> None:
    assert first_look(KNOWN_NS - 1) == "before known past"
    assert first_look(KNOWN_NS) == "high"


def test_ten_years_ahead_needs_a_time_server() -> None:
    assert first_look(KNOWN_NS + 10 * YEAR_NS) == "far in the future"
    assert first_look(BUILD_FLOOR_NS + 10 * YEAR_NS, floor_ns=0) == "far in the future"
    assert first_look(KNOWN_NS + 10 * YEAR_NS, synced=True) == "high"
    assert first_look(KNOWN_NS + YEAR_NS) == "high"  # stood still for a year


def test_a_clock_that_is_set_right_while_running_is_believed() -> None:
    confidence = ClockConfidence(KNOWN_NS)
    assert not confidence.look(0, 0, synchronised=False).believed
    right = KNOWN_NS + DAY_NS
    stepped = confidence.look(right, SECOND_NS, synchronised=False)
    assert (stepped.believed, stepped.reason) == (False, "stepped")
    assert stepped.jump_ns == right - SECOND_NS
    synced = confidence.look(right + 1, SECOND_NS + 1, synchronised=True)
    assert (synced.believed, synced.jump_ns) == (True, 0)
    assert confidence.look(right + 2, SECOND_NS + 2, synchronised=False).believed


def test_a_step_back_is_not_believed_and_small_ones_are_told() -> None:
    confidence = ClockConfidence(KNOWN_NS)
    now = KNOWN_NS + 100 * DAY_NS
    assert confidence.look(now, 0, synchronised=False).believed
    small = confidence.look(now - 10 * SECOND_NS, SECOND_NS, synchronised=False)
    assert (small.believed, small.jump_ns) == (True, -11 * SECOND_NS)
    back = confidence.look(now - 50 * DAY_NS, 2 * SECOND_NS, synchronised=False)
    assert not back.believed
    server = confidence.look(now - 50 * DAY_NS, 2 * SECOND_NS, synchronised=True)
    assert not server.believed  # what was believed before is past


@given(
    st.lists(
        st.tuples(
            st.integers(min_value=0, max_value=DAY_NS),
            st.integers(min_value=-SECOND_NS, max_value=SECOND_NS),
        ),
        max_size=50,
    )
)
def test_slewing_and_waiting_are_no_jumps(steps: list[tuple[int, int]]) -> None:
    confidence = ClockConfidence(KNOWN_NS)
    wall, monotonic = KNOWN_NS + DAY_NS, 0
    assert confidence.look(wall, monotonic, synchronised=False).believed
    for passed, slewed in steps:
        wall, monotonic = wall + max(0, passed + slewed), monotonic + passed
        verdict = confidence.look(wall, monotonic, synchronised=False)
        assert verdict.believed
        assert verdict.jump_ns == 0


def test_the_system_clock_is_the_systems() -> None:
    clock = SystemClock()
    first, second = clock.monotonic_ns(), clock.monotonic_ns()
    assert second >= first
    assert clock.now_ns() > 10**18  # ns, not seconds
    asyncio.run(clock.sleep(0))
    assert clock.is_synchronised() in {True, False}
