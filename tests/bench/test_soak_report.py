"""What a soak leaves is measured and drawn, also where it was cut off."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from bench.soak import timetable
from bench.soak_look import COLUMNS, counters
from bench.soak_report import picture, read, report, steady
from bench.soak_slope import slope

if TYPE_CHECKING:
    from pathlib import Path

KIB_PER_HOUR = 120.0


def left_in(folder: Path, lives: int, tail: str = "") -> Path:
    """Write rows of ``lives`` half hours whose memory grows by KIB_PER_HOUR."""
    with (folder / "rows.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for number in range(lives * 90):
            life, within = divmod(number, 90)
            table.writerow({
                "second": number * 20.0, "life": life + 1, "fds": 25, "load_1m": 1.0,
                "rss_kib": 80_000 - 500 * life + KIB_PER_HOUR * within / 180,
                "cpu_s": within, "read": within * 3, "store_bytes": number * 512,
            })  # fmt: skip
        file.write(tail)
    acts = [(10.0, "agent starts, life 1"), (600.0, "outage"), (700.0, "kill")]
    with (folder / "acts.csv").open("w", newline="") as file:
        csv.writer(file).writerows(acts)
    return folder


def test_a_slope_is_within_lives_and_has_bounds() -> None:
    rng = np.random.default_rng(1)
    seconds = np.arange(300) * 20.0
    life = seconds // 1800
    noise = rng.normal(0, 20, len(seconds))
    noise[::25] += 5_000  # a robust line does not see them
    found = slope(
        list(seconds), list(50.0 * seconds / 3600 - 9_000 * life + noise),
        [int(n) for n in life],
    )  # fmt: skip
    assert found.low < found.per_hour < found.high
    assert abs(found.per_hour - 50.0) < 20.0


def test_too_few_rows_have_no_slope() -> None:
    assert np.isnan(slope([0.0, 10.0], [1.0, 2.0], [1, 1]).per_hour)


def test_a_soak_that_was_cut_off_is_drawn(tmp_path: Path) -> None:
    left = read(left_in(tmp_path, lives=2, tail="3600.0,3,17"))
    assert len(left.rows) == 180  # the row that was cut off is left out
    assert steady(left, "rss_kib").per_hour == pytest.approx(KIB_PER_HOUR)
    without = steady(left, "rss_less_cache_kib").per_hour
    assert without == pytest.approx(KIB_PER_HOUR - 180 / 2, abs=3.0)  # 0.5 KiB a row
    assert ET.fromstring(picture(left)).tag.endswith("svg")
    told = report(left)
    assert "nothing was verified" in told
    assert "1 outages" in told
    assert "resident memory, life 2 | +120.0 KiB/h" in told


def test_acts_follow_the_timetable_and_leave_the_end_calm() -> None:
    acts = timetable(7_200.0, 1.0)
    assert acts == sorted(acts)
    assert {name for _, name in acts} == {
        "reload", "kill", "stall", "stall over", "outage", "outage over",
    }  # fmt: skip
    assert max(at for at, _ in acts) <= 7_200.0 - 240.0


def test_counters_are_summed_by_outcome_and_cause() -> None:
    page = (
        'sluicegate_samples_total{destination="",outcome="read"} 7\n'
        'sluicegate_samples_total{destination="oem",rule="a",outcome="sent"} 2\n'
        'sluicegate_samples_total{destination="oem",rule="b",outcome="sent"} 3\n'
        'sluicegate_lost_total{cause="spool full"} 4\n'
        "sluicegate_evidence_entries 9\n"
    )
    found = counters(page)
    assert (found["read"], found["oem_sent"], found["entries"]) == (7, 5, 9)
    assert found["lost"] == '{"spool full": 4}'
