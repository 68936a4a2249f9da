"""Prometheus learns how often detectors spoke, by names of ours only."""

from __future__ import annotations

from agent.inspection.counts import FindingCounts
from agent.inspection.findings import CanId, Finding, Level, View
from agent.inspection.stage import Inspector
from agent.telemetry.findings import finding_families
from tests.support.exchange_rows import seen


class Speaker:
    """A detector with two things to say."""

    def inspect(self, view: View) -> list[Finding]:
        assert view.frames is not None
        return [
            Finding("D1", level, CanId(0, 1), 3, 0, 0)
            for level in (Level.NOTICE, Level.ALERT)
        ]


def test_counts_outlive_a_policy_and_say_what_became_of_findings() -> None:
    counts = FindingCounts()
    for _ in range(2):
        Inspector([Speaker()], counts=counts).inspect(seen([]), 0)
    said, events = finding_families(counts.said, counts.events, counts.suppressed)
    assert list(said.rows) == [
        ({"detector": "D1", "level": "alert"}, 6),
        ({"detector": "D1", "level": "notice"}, 6),
    ]
    assert list(events.rows) == [
        ({"outcome": "event"}, 2), ({"outcome": "suppressed"}, 0),
    ]  # fmt: skip
