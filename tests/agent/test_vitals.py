"""Who is stalled is decided from counts alone; a machine that slept has not stalled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.vitals import Sign, Stalled, Summary, Vitals, alarm, sentence

SECOND_NS = 1_000_000_000
PATIENCE_S = 60.0
LOOK_S = 5.0


def looks(*steps: tuple[float, int, bool]) -> list[tuple[Stalled, ...]]:
    """``steps``: seconds since the last look, the part's count, whether it is due."""
    vitals, now_ns, found = Vitals(2 * LOOK_S), 0, []
    for seconds, count, due in steps:
        now_ns += int(seconds * SECOND_NS)
        sign = Sign("flow", count, due, PATIENCE_S)
        found.append(vitals.look(now_ns, [sign]))
    return found


TABLE = {
    "moves at every look": ([(5.0, n, True) for n in range(40)], None),
    "does not move": ([(5.0, 1, True)] * 14, 13),
    "has nothing to do": ([(5.0, 1, False)] * 100, None),
    "moves just in time": (
        ([(5.0, n, True) for n in range(9) for _ in range(13)]),
        None,
    ),
    "has something to do at last": (
        [(5.0, 1, False)] * 50 + [(5.0, 1, True)] * 12,
        None,
    ),
    "slept for a day": ([(5.0, 1, True), (86_400.0, 1, True), (5.0, 1, True)], None),
    "slept, and never woke up": ([(5.0, 1, True), (86_400.0, 1, True)] * 8, 9),
    "a clock that goes backwards": ([(5.0, 1, True), (-5.0, 1, True)] * 4, None),
}


@pytest.mark.parametrize("case", TABLE)
def test_who_is_stalled(case: str) -> None:
    steps, first = TABLE[case]
    stalled = [n for n, found in enumerate(looks(*steps)) if found]
    assert (stalled[0] if stalled else None) == first


def test_a_stalled_part_that_moves_is_stalled_no_more() -> None:
    found = looks(*[(5.0, 1, True)] * 20, (5.0, 2, True))
    assert found[-2] == (Stalled("flow", 95.0),)
    assert found[-1] == ()


def test_parts_are_judged_one_by_one_and_new_ones_start_afresh() -> None:
    vitals = Vitals(2 * LOOK_S)
    for n in range(40):
        signs = [Sign("flow", n, True, 60.0), Sign("uplink", 7, True, 180.0)]
        if n >= 30:
            signs.append(Sign("tap", 0, True, 60.0))
        found = vitals.look(n * 5 * SECOND_NS, signs)
        names = [one.part for one in found]
        assert names == (["uplink"] if n > 36 else [])


@given(
    st.lists(
        st.tuples(st.floats(0.0, 30.0), st.sampled_from([0, 0, 0, 1]), st.booleans()),
        max_size=25,
    )
)
def test_a_stall_is_that_much_watched_time_without_a_step(
    steps: list[tuple[float, int, bool]],
) -> None:
    """The slow judge: watched seconds since the last step, or since it was due."""
    count, watched, told, expected = 0, 0, [], []
    for n, (seconds, step, due) in enumerate(steps):
        count += step
        told.append((float(int(seconds)), count, due))
        watched += min(int(seconds), 10)
        if step or not due or not n:
            watched = 0
        expected.append(watched > PATIENCE_S)
    assert [bool(found) for found in looks(*told)] == expected


def test_the_line_for_systemctl_status() -> None:
    now = Summary("fleet", 42, "active", 3, 4, "draining", 12_897_484, ())
    assert sentence(now) == (
        "policy fleet 42 active; 3 of 4 sources; draining; 12.3 MiB spooled"
    )
    trouble = Summary("fleet", 42, "trial", 4, 4, "offline", 0, ("a\nb" * 99, "c"))
    assert "; offline; 0.0 MiB spooled; 2 problems, first: a ba b" in sentence(trouble)
    assert len(sentence(trouble)) < 250
    assert "\n" not in sentence(trouble)


def test_the_line_of_an_alarm_names_everybody() -> None:
    said = alarm((Stalled("flow", 61.0), Stalled("store", 125.4)))
    assert said == "no progress: flow (61 s), store (125 s)"
