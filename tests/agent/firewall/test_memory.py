"""What a judge remembers: registers, writes under way, what passed; all bounded."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.firewall.memory import FLYING_MAX, PAGE, Memory
from policies.firewall.tables import Rate
from tests.support.examples import upto

PLACE = (0, 1, 4)
NS = 1_000_000_000


_near_an_edge = st.integers(PAGE - 12, PAGE + 4)


@settings(max_examples=upto(50))
@given(
    st.lists(
        st.tuples(_near_an_edge, st.lists(st.integers(-1, 3), min_size=1, max_size=9)),
        max_size=5,
    ),
    _near_an_edge,
    st.integers(1, 9),
)
def test_it_is_a_map_of_addresses(
    taught: list[tuple[int, list[int]]], address: int, count: int
) -> None:
    memory, plain = Memory(), dict[int, int]()
    for start, values in taught:
        memory.learn(PLACE, start, values)
        plain.update(enumerate(values, start))
    wanted = [plain.get(at, -1) for at in range(address, address + count)]
    assert memory.last(PLACE, address, count) == (None if -1 in wanted else wanted)
    assert memory.last((0, 2, 4), address, count) is None


def test_a_read_may_lie_over_three_pages() -> None:
    memory = Memory()
    memory.learn(PLACE, PAGE - 1, range(PAGE + 2))
    assert memory.last(PLACE, PAGE - 1, PAGE + 2) == [*range(PAGE + 2)]


def test_the_last_address_is_one_of_them() -> None:
    memory = Memory()
    memory.learn(PLACE, 65_535, [7])
    assert memory.last(PLACE, 65_535, 1) == [7]


def test_pages_are_bounded_and_the_eldest_goes() -> None:
    memory = Memory(pages_max=2)
    for unit in range(3):
        memory.learn((0, unit, 4), 0, [unit])
    assert memory.forgotten == 1
    assert memory.last((0, 0, 4), 0, 1) is None
    assert memory.last((0, 2, 4), 0, 1) == [2]


def test_what_a_write_under_way_may_change_is_not_known() -> None:
    memory = Memory()
    memory.learn(PLACE, 0, [1, 2, 3])
    memory.write_begins(PLACE, 1, 1)
    assert memory.last(PLACE, 0, 1) == [1]
    assert memory.last(PLACE, 0, 2) is None
    memory.learn_read(PLACE, 0, [10, 20, 30])  # may have been read before the write
    assert memory.last(PLACE, 2, 1) == [30]
    memory.write_ends(PLACE, 1, 1)
    assert memory.last(PLACE, 0, 3) == [10, 2, 30]


def test_two_writes_of_the_same_end_one_by_one() -> None:
    memory = Memory()
    memory.learn(PLACE, 0, [1])
    memory.write_begins(PLACE, 0, 1)
    memory.write_begins(PLACE, 0, 1)
    memory.write_ends(PLACE, 0, 1)
    assert memory.last(PLACE, 0, 1) is None
    memory.write_ends(PLACE, 0, 1)
    memory.write_ends(PLACE, 0, 1)  # one that nobody began
    assert memory.last(PLACE, 0, 1) == [1]


def test_answers_that_never_come_are_bounded_and_leave_nothing_known() -> None:
    memory = Memory()
    memory.learn(PLACE, 0, [1, 2])
    for _ in range(FLYING_MAX + 1):
        memory.write_begins(PLACE, 0, 1)
    memory.restart()
    assert memory.last(PLACE, 0, 1) is None
    assert memory.last(PLACE, 1, 1) == [2]
    memory.learn_read(PLACE, 0, [5])
    assert memory.last(PLACE, 0, 1) == [5]


def test_a_rate_counts_a_window_that_slides() -> None:
    memory, rate = Memory(), Rate(2, 60 * NS)
    assert not memory.is_full("r", rate, 0)
    memory.passed("r", rate, 0)
    memory.passed("r", rate, 10 * NS)
    assert memory.is_full("r", rate, 60 * NS - 1)
    assert not memory.is_full("r", rate, 60 * NS)  # the first is as old as the window
    assert not memory.is_full("other", rate, 0)


def test_a_clock_that_goes_back_lets_no_more_through() -> None:
    memory, rate = Memory(), Rate(1, 60 * NS)
    memory.passed("r", rate, 1000 * NS)
    assert memory.is_full("r", rate, 5 * NS)
    assert memory.is_full("r", rate, 64 * NS)
    assert not memory.is_full("r", rate, 65 * NS)  # nor does it close for ever


def test_rates_outlive_a_policy_that_keeps_the_rule() -> None:
    memory, rate = Memory(), Rate(1, 60 * NS)
    memory.passed("kept", rate, 0)
    memory.passed("gone", rate, 0)
    memory.keep_only(frozenset({"kept"}))
    assert memory.is_full("kept", rate, 1)
    assert not memory.is_full("gone", rate, 1)
