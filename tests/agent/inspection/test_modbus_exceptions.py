"""M5 in windows of ten seconds, against a slow count."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.inspection.modbus_exceptions import ExceptionBurst
from agent.inspection.modbus_seconds import NS
from tests.support.examples import upto
from tests.support.exchange_rows import Row, S, seen

ONE = st.tuples(st.integers(0, 4000), st.booleans(), st.integers(1, 2))


def test_five_exceptions_that_are_a_fifth_of_the_replies() -> None:
    detector = ExceptionBurst()
    rows = [Row(i * S // 4, exception=2 if i % 4 == 0 else 0) for i in range(80)]
    found = detector.inspect(seen(rows))
    assert found
    assert found[0].detail == "5 exceptions in 20 replies of 10 s"
    assert found[0].first_ns == 4 * S


def test_four_exceptions_or_less_than_a_fifth_are_ordinary() -> None:
    few = [Row(i * S, exception=2) for i in range(4)]
    rare = [Row(i * S // 10, exception=2 if i % 10 == 0 else 0) for i in range(400)]
    assert ExceptionBurst().inspect(seen([*few, Row(30 * S)])) == []
    assert ExceptionBurst().inspect(seen([*rare, Row(90 * S)])) == []


def test_what_a_proxy_refused_itself_was_answered_by_no_device() -> None:
    rows = [Row(i * S // 4, exception=2, answered=False) for i in range(80)]
    assert ExceptionBurst().inspect(seen([*rows, Row(60 * S)])) == []


@settings(max_examples=upto(60))
@given(st.lists(ONE, min_size=1, max_size=80), st.lists(st.integers(0, 80), max_size=5))
def test_it_equals_a_slow_count_however_the_batches_are_cut(
    told: list[tuple[int, bool, int]], cuts: list[int]
) -> None:
    time = 0
    rows = []
    for gap_ms, strange, unit in told:
        time += gap_ms * 10**6
        rows.append(Row(time, unit=unit, exception=2 if strange else 0))
    rows.append(Row(time + 60 * S, unit=9))
    edges = sorted({0, len(rows), *(one for one in cuts if one <= len(rows))})
    detector = ExceptionBurst()
    found = {
        (one.subject.unit, one.first_ns // NS, one.count)
        for a, b in pairwise(edges)
        for one in detector.inspect(seen(rows[a:b]))
    }
    assert found == slow(rows)


def slow(rows: list[Row]) -> set[tuple[int, int, int]]:
    """Every second in which a unit answers with exceptions, window by window."""
    replies = [(row.unit, (row.time_ns + 10**6) // NS, row.exception) for row in rows]
    said = set()
    for unit, second, _ in replies[:-1]:
        window = [e for u, s, e in replies if u == unit and second - 10 < s <= second]
        now = sum(e > 0 for u, s, e in replies if u == unit and s == second)
        strange = sum(e > 0 for e in window)
        if now and strange >= 5 and strange * 5 >= len(window):
            said.add((unit, second, now))
    return said
