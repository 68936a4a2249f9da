"""Aggregation, rate limit and the OCSF form of events."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np

from agent.inspection.findings import CanId, Conversation, Finding, Level, View
from agent.inspection.ocsf import Context, event
from agent.inspection.stage import Inspector
from agent.limits import EVENTS_A_MINUTE_MAX
from protocols.frames import empty_frames

S = 10**9
NOTHING = View(empty_frames(), np.empty(0, np.int32), (), ())


@dataclass
class Scripted:
    """A detector that says what it is told to."""

    findings: list[Finding] = field(default_factory=list)

    def inspect(self, view: View) -> list[Finding]:
        assert view is NOTHING
        said, self.findings = self.findings, []
        return said


def alert(ident: int, time_s: int, count: int = 1) -> Finding:
    return Finding("D1", Level.ALERT, CanId(0, ident), count, time_s * S, time_s * S)


def test_the_first_alert_leaves_at_once_and_repetitions_as_one_count() -> None:
    script = Scripted()
    stage = Inspector([script])
    told = []
    for second in (0, 10, 20, 700):
        script.findings = [alert(1, second, 3)] if second < 700 else []
        told += [f.count for f in stage.inspect(NOTHING, second * S)]
    assert told == [3, 6]


def test_what_is_off_says_nothing_and_is_not_counted() -> None:
    stage = Inspector([Scripted([alert(1, 0)])], off=frozenset({"D1"}))
    assert stage.inspect(NOTHING, 0) == []
    assert stage.statistics().alerts == 0


def test_how_long_a_finding_repeats_is_the_policys_and_m6s_own() -> None:
    who = Conversation("10.0.0.9", "10.0.0.20", 0, 1)
    script = Scripted()
    stage = Inspector([script], repeat_ns=60 * S)
    told = []
    for minute in range(0, 180, 2):
        now = minute * 60 * S
        script.findings = [
            Finding(name, Level.ALERT, who, 1, now, now) for name in ("M6", "M2")
        ]
        told += [f.detector for f in stage.inspect(NOTHING, now)]
    assert told.count("M2") == 90
    assert 3 <= told.count("M6") <= 6


def test_variants_and_conversations_are_told_apart() -> None:
    one, other = (Conversation("a", "b", 0, unit) for unit in (1, 2))
    said = [
        Finding("M2", Level.ALERT, who, 1, 0, 0, variant=variant)
        for who in (one, other)
        for variant in ("", "coil")
    ]
    stage = Inspector([Scripted([*said, *said])])
    assert stage.inspect(NOTHING, 0) == said


def test_repetitions_not_yet_told_are_flushed() -> None:
    script = Scripted([alert(1, 0), alert(1, 0, 5)])
    stage = Inspector([script])
    assert [f.count for f in stage.inspect(NOTHING, 0)] == [1]
    assert [f.count for f in stage.flush()] == [5]


def test_a_notice_never_leaves_but_is_counted() -> None:
    stage = Inspector([Scripted([Finding("D1", Level.NOTICE, CanId(0, 1), 2, 0, 0)])])
    assert stage.inspect(NOTHING, 0) == []
    assert stage.statistics().notices == 2


def test_a_storm_yields_the_rate_limit_and_the_rest_is_counted() -> None:
    stage = Inspector([Scripted([alert(i, 0) for i in range(1000)])])
    passed = stage.inspect(NOTHING, 0)
    assert len(passed) == EVENTS_A_MINUTE_MAX
    assert stage.statistics().suppressed == 1000 - EVENTS_A_MINUTE_MAX


def test_an_event_is_an_ocsf_detection_finding() -> None:
    context = Context("gw-1", ("can0",), b"\x11" * 32, "good", "0.1.0")
    body = json.loads(event(alert(0x1FF, 5, 7), context, lost_frames=2))
    assert body["class_uid"] == 2004
    assert body["type_uid"] == body["class_uid"] * 100 + body["activity_id"]
    assert body["category_uid"] == 2
    assert body["time"] == 5000
    assert body["count"] == 7
    assert body["severity_id"] in range(1, 7)
    assert body["metadata"]["version"]
    assert body["metadata"]["product"]["vendor_name"]
    assert body["finding_info"]["uid"]
    assert body["unmapped"]["can"] == {"bus": "can0", "ident": "1FF"}
    assert body["unmapped"]["degraded"] is True


def test_the_dedupe_key_is_stable_within_ten_minutes_and_then_changes() -> None:
    context = Context("gw-1", ("can0",), b"", "good", "0.1.0")

    def uid(second: int) -> str:
        body = json.loads(event(alert(1, second), context, 0))
        return str(body["finding_info"]["uid"])

    assert uid(0) == uid(599)
    assert uid(0) != uid(600)
