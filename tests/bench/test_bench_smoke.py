"""Smoke only: the pieces of `make bench` give rows and a document. No budget here."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench import drive, report, run, section, wire
from protocols.samples import SampleBatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from protocols.frames import FrameBatch

ROW = {
    "what": "a | b", "ours": "1", "peer": "p", "peer_value": "2", "ratio": "2x",
    "budget": ">= 1x", "met": False,
}  # fmt: skip


def test_every_section_is_a_module_with_rows_and_a_meaning() -> None:
    assert set(run.SECTIONS) == set(report.MEANING)


def test_the_document_tells_misses_and_escapes_bars() -> None:
    text = report.document({"decode": [ROW]}, dt.datetime(2026, 3, 2, tzinfo=dt.UTC))
    assert "0 of 1 rows with a budget meet it" in text
    assert "| a / b | 1 | p | 2 | 2x | >= 1x | **not met** |" in text
    assert "2026-03-02" in text
    assert "make bench" in text


def test_a_section_measured_alone_replaces_its_own_and_no_other() -> None:
    now = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
    text = report.document({"decode": [ROW], "audit": [ROW]}, now)
    fresh = {**ROW, "what": "fresh"}
    for name in ("decode", "audit"):
        mended = report.replaced(text, name, [fresh])
        both = {"decode": [ROW], "audit": [ROW], name: [fresh]}
        expected = report.document(both, now)
        assert mended == expected
    more = report.replaced(text, "rollout", [fresh])
    assert more == report.document(
        {"decode": [ROW], "audit": [ROW], "rollout": [fresh]}, now
    )


def test_a_failed_section_is_a_row_that_counts_as_missed() -> None:
    row = run.failed("path", "ValueError: no")
    assert row["met"] is False
    assert "NOT MEASURED" in run.line(row)


def test_a_section_that_is_not_there_says_so() -> None:
    (row,) = section.rows_of("nothing")
    assert row.ours == "not measured"
    assert row.met is None


def test_unknown_sections_are_refused(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "bench/run.py", "speed"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no such section: speed" in done.stderr


def test_peers_hold_the_same_samples() -> None:
    samples = SampleBatch(
        np.arange(1000) * 10**7, np.arange(1000, dtype=np.uint32) % 3,
        np.arange(1000), np.arange(1000) / 4,
    )  # fmt: skip
    names = ("A", "B", "C")
    assert 100 < wire.parquet(names, samples) < 24 * len(samples)
    assert wire.json_lines(names, samples) > 1000


def test_a_batch_of_the_drive_ends_in_the_store(data: Path, tmp_path: Path) -> None:
    recorded, buses = drive.drive(data, 2)
    assert (np.diff(recorded.time_ns) >= 0).all()
    policy = drive.compiled(
        data / drive.FOLDER, drive.policy_file("everything", tmp_path)
    )
    line = drive.put_together(policy, tmp_path)
    frames = drive.renumbered(recorded, buses, policy.buses)
    assert drive.run(line, drive.batches(frames)) == len(recorded)
    assert line.store.statistics().records > 0
    line.store.close()


@pytest.mark.parametrize("cut", [drive.batches, wire.by_time])
def test_cutting_loses_no_frame(
    data: Path, cut: Callable[[FrameBatch], list[FrameBatch]]
) -> None:
    frames, _ = drive.drive(data, 1)
    assert sum(len(batch) for batch in cut(frames)) == len(frames)


def test_rows_travel_as_json(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.section", "nothing"],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)[0]["what"] == "nothing"
