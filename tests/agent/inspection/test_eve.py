"""EVE records: Suricata's words, and never a value."""

from __future__ import annotations

import json

from agent.inspection.eve import ROWS_MAX, EveLines, timestamp
from agent.inspection.findings import CanId, Conversation, Finding, Level
from agent.inspection.ocsf import Context
from protocols.modbus.exchanges import Problem, Verdict
from tests.support.exchange_rows import Row, S, seen

CONTEXT = Context("gw", ("can0",), b"", "high", "1", ("plc1",), frozenset({0}))
CANARY = 54321


def lines(eve: EveLines) -> list[dict]:
    taken = eve.take()
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in taken)
    return [json.loads(line) for line in taken]


def test_a_finding_is_an_alert_that_dashboards_understand() -> None:
    eve = EveLines()
    who = Conversation("10.0.0.66", "10.0.0.20", 0, 1)
    said = Finding("M2", Level.ALERT, who, 3, 1_772_431_200 * S, 1_772_431_201 * S,
                   "write-single-register at 100", refused=True)  # fmt: skip
    eve.alerts([said], CONTEXT)
    (told,) = lines(eve)
    assert told["event_type"] == "alert"
    assert told["timestamp"] == "2026-03-02T06:00:00.000000+0000"
    assert (told["src_ip"], told["dest_ip"]) == ("10.0.0.66", "10.0.0.20")
    assert told["alert"]["action"] == "blocked"
    assert told["alert"]["signature_id"] == 0x8102
    assert told["alert"]["severity"] == 1
    assert told["alert"]["metadata"]["mitre_technique_id"] == ["T1692.001", "T0836"]
    assert told["sluicegate"]["count"] == 3
    assert eve.take() == []


def test_a_finding_about_can_has_no_addresses() -> None:
    eve = EveLines()
    eve.alerts([Finding("D1", Level.ALERT, CanId(0, 0x123), 1, S, S)], CONTEXT)
    (told,) = lines(eve)
    assert "src_ip" not in told
    assert told["in_iface"] == "can0"


def test_exchanges_that_are_not_ordinary_are_told_and_never_their_values() -> None:
    eve = EveLines()
    rows = [
        Row(S, values=[CANARY]),
        Row(2 * S, function=6, address=100, values=[CANARY]),
        Row(3 * S, function=3, address=7, count=2, exception=2),
        Row(4 * S, problems=Problem.UNSOLICITED, values=[CANARY]),
        Row(5 * S, function=22, values=[CANARY, CANARY], verdict=Verdict.REFUSED,
            answered=False),
        Row(6 * S, function=1, address=1, count=3, problems=Problem.LENGTH),
    ]  # fmt: skip
    eve.seen(seen(rows))
    taken = eve.take()
    assert str(CANARY).encode() not in b"".join(taken)
    write, exception, unsolicited, mask, coils = (json.loads(one) for one in taken)
    assert write["modbus"]["request"]["write"] == {"address": 100, "quantity": 1}
    assert write["modbus"]["request"]["function_code"] == "WrSingleReg"
    assert exception["modbus"]["response"]["exception"]["raw"] == 2
    assert exception["modbus"]["response"]["function_raw"] == 0x83
    assert exception["modbus"]["request"]["read"] == {"address": 7, "quantity": 2}
    assert "request" not in unsolicited["modbus"]
    assert "response" not in mask["modbus"]
    assert mask["sluicegate"]["verdict"] == "refused"
    request = coils["modbus"]["request"]
    assert request["access_type"] == "READ | COILS"
    assert request["error_flags"] == "DATA_LENGTH"
    assert request["category"] == "PUBLIC_ASSIGNED"


def test_what_the_owner_wants_and_no_more_than_the_bound() -> None:
    rows = [Row(i) for i in range(ROWS_MAX + 5)]
    for wanted, count, left in (("none", 0, 0), ("odd", 0, 0), ("all", ROWS_MAX, 5)):
        eve = EveLines(wanted)
        eve.seen(seen(rows))
        assert (len(eve.take()), eve.left_out) == (count, left)


def test_lines_that_nobody_takes_are_bounded() -> None:
    eve = EveLines("all")
    for _ in range(40):
        eve.seen(seen([Row(i) for i in range(ROWS_MAX)]))
    assert len(eve.take()) == 8192
    assert eve.left_out == 40 * ROWS_MAX - 8192


def test_times_are_suricatas() -> None:
    assert timestamp(1_772_431_200 * S + 123_456_789) == (
        "2026-03-02T06:00:00.123456+0000"
    )
