"""Counters: growth plus what was told equals the totals, whatever the order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.records import CounterRow, Outcome, StoreStatistics
from agent.telemetry.counters import Counters, merged
from agent.telemetry.prometheus import exposition
from agent.telemetry.state import HOURS_MAX, Autonomy

ROWS = st.builds(
    CounterRow,
    destination=st.sampled_from(["", "oem"]),
    label=st.sampled_from([0, 3 << 8]),
    rule=st.sampled_from(["", "r1"]),
    action=st.sampled_from(["", "encrypt"]),
    outcome=st.sampled_from(list(Outcome)),
    samples=st.integers(0, 10**6),
    bytes_used=st.integers(0, 10**6),
)
STORE = StoreStatistics(1, 1000, 10_000, 0, 5, 4, 7, 0)


def total(rows: tuple[CounterRow, ...]) -> int:
    return sum(row.samples for row in rows)


@given(st.lists(st.lists(ROWS, max_size=6), max_size=8), st.sets(st.integers(0, 7)))
def test_snapshots_and_growth_add_up_to_the_totals(
    passes: list[list[CounterRow]], snapshots: set[int]
) -> None:
    counters = Counters((), ())
    told = 0
    for number, rows in enumerate(passes):
        counters.add(rows)
        if number in snapshots:
            told += total(counters.grown())
            counters.snapshot_taken()
    made = sum(row.samples for rows in passes for row in rows)
    assert told + total(counters.grown()) == total(counters.totals()) == made


@given(st.lists(ROWS, max_size=20))
def test_merging_keeps_the_sum_and_makes_keys_unique(rows: list[CounterRow]) -> None:
    once = merged(rows)
    assert total(once) == sum(row.samples for row in rows)
    keys = [(r.destination, r.label, r.rule, r.action, r.outcome) for r in once]
    assert len(keys) == len(set(keys))


def test_prometheus_text_escapes_and_names() -> None:
    row = CounterRow('o"em\n', 0, "r\\1", "encrypt", Outcome.SENT, 3, 9)
    page = exposition([row], STORE, {"autonomy_hours": 1.5}, {"kernel": 2})
    assert r'destination="o\"em\n"' in page
    assert r'rule="r\\1"' in page
    assert 'sluicegate_lost_total{cause="kernel"} 2' in page
    assert "sluicegate_evicted_records_total 7\n" in page
    assert page.endswith("\n")
    assert all(line.startswith(("#", "sluicegate_")) for line in page.splitlines())


def test_autonomy_is_what_is_left_over_the_rate() -> None:
    autonomy = Autonomy()
    assert autonomy.hours(STORE) == -1.0
    for _ in range(10):
        autonomy.made(100, 1.0)
    assert abs(autonomy.hours(STORE) - 9000 / 100 / 3600) < 1e-9


def test_a_rate_that_is_almost_forgotten_gives_a_figure_all_the_same() -> None:
    autonomy = Autonomy()
    autonomy.made(1000, 1.0)
    told = []
    for _ in range(2000):  # passes that made nothing, while nothing else was said
        autonomy.made(0, 150.0)
        told.append(autonomy.hours(STORE))
    assert max(told) == HOURS_MAX
    assert told[-1] == -1.0
