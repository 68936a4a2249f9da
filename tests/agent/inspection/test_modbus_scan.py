"""M4: what is asked for, one after the other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.inspection.findings import ALL_UNITS, Finding, Level
from agent.inspection.modbus_scan import ENTRIES_MAX, Scan, ScanLimits
from protocols.modbus.exchanges import Verdict
from tests.support.examples import upto
from tests.support.exchange_rows import STRANGER, Row, S, seen

END = Row(10_000 * S, unit=200, client=9)


def scan(detector: Scan, rows: list[Row]) -> list[Finding]:
    return detector.inspect(seen([*rows, END]))


def test_a_scan_of_each_kind_is_told_as_such() -> None:
    units = [Row(i * S // 10, unit=i) for i in range(1, 40)]
    addresses = [Row(i * S // 10, address=i * 10) for i in range(60)]
    functions = [Row(i * S // 10, function=i) for i in range(1, 60)]
    devices = [Row(i * S // 10, server=i + 10) for i in range(60)]
    for rows, variant in (
        (units, "units"), (addresses, "addresses"), (functions, "functions"),
        (devices, "devices"),
    ):  # fmt: skip
        found = scan(Scan(learn_s=0), rows)
        assert found
        assert {(f.variant, f.level) for f in found} == {(variant, Level.ALERT)}
        assert found[0].subject.client == "10.0.0.7"
        assert (found[0].subject.unit == ALL_UNITS) == (variant in {"units", "devices"})


def test_what_an_ordinary_master_asks_for_is_learned_with_a_margin() -> None:
    detector = Scan(learn_s=100)
    ordinary = [
        Row(t * S + i * 10**7, address=i) for t in range(0, 100, 5) for i in range(50)
    ]
    levels = {f.level for f in detector.inspect(seen(ordinary))}
    assert levels == {Level.NOTICE}
    later = [Row(200 * S + i * 10**7, address=i) for i in range(60)]
    assert detector.inspect(seen([*later, Row(220 * S)])) == []
    more = [Row(300 * S + i * 10**7, address=i) for i in range(61)]
    (found,) = detector.inspect(seen([*more, Row(320 * S)]))
    assert found.detail == "61 addresses in 10 s, ordinary are 60"
    assert found.bound is not None


def test_what_the_firewall_refuses_alarms_while_learning_and_is_not_learned() -> None:
    detector = Scan(learn_s=1000)
    rows = [
        Row(i * S // 10, client=STRANGER, address=i, verdict=Verdict.REFUSED)
        for i in range(60)
    ]
    found = detector.inspect(seen([*rows, Row(20 * S)]))
    assert {f.level for f in found} == {Level.ALERT}
    assert not detector._learned


def test_it_remembers_a_bounded_number_of_things() -> None:
    detector = Scan(ScanLimits(devices=9000), learn_s=0)
    for part in range(5):
        rows = [
            Row(part * S, server=i >> 8, unit=i & 0xFF, address=part)
            for i in range(0, 20_000, 2)
        ]
        detector.inspect(seen(rows))
    assert len(detector._entry) <= ENTRIES_MAX
    assert (np.diff(detector._entry.astype(np.float64)) > 0).all()


ASK = st.tuples(st.integers(0, 1500), st.integers(1, 6))


@settings(max_examples=upto(50))
@given(st.lists(ASK, max_size=60), st.lists(st.integers(0, 60), max_size=4))
def test_units_equal_a_slow_count_however_the_batches_are_cut(
    told: list[tuple[int, int]], cuts: list[int]
) -> None:
    time, rows = 0, []
    for gap_ms, unit in told:
        time += gap_ms * 10**6
        rows.append(Row(time, unit=unit))
    rows.append(Row(time + 50 * S))
    edges = sorted({0, len(rows), *(one for one in cuts if one <= len(rows))})
    detector = Scan(ScanLimits(units=3), learn_s=0)
    found = {
        (f.first_ns // S, int(f.detail.split()[0]))
        for a, b in pairwise(edges)
        for f in detector.inspect(seen(rows[a:b]))
    }
    asked = [(row.time_ns // S, row.unit) for row in rows[:-1]]
    slow = {
        (second, len(units))
        for second in {s for s, _ in asked}
        if len(units := {u for s, u in asked if second - 10 < s <= second}) > 3
    }
    assert found == slow
