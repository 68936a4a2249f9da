"""M2, M3 and FW read what the firewall said."""

from __future__ import annotations

import pytest

from agent.inspection.findings import Conversation, Level
from agent.inspection.modbus_policy import OutsidePolicy, Watched
from protocols.modbus.exchanges import Reason, Verdict
from tests.support.exchange_rows import HMI, STRANGER, Row, S, seen

REFUSED, ALLOWED = Verdict.REFUSED, Verdict.ALLOWED
RULES = ("poll", "setpoint")


def said(row: Row) -> list[tuple[str, str, Level]]:
    found = OutsidePolicy(RULES).inspect(seen([row]))
    return [(one.detector, one.variant, one.level) for one in found]


@pytest.mark.parametrize(
    ("function", "reason", "expected"),
    [
        (6, Reason.NO_RULE, ("M2", "", Level.ALERT)),
        (16, Reason.DENIED, ("M2", "", Level.ALERT)),
        (5, Reason.NO_RULE, ("M2", "coil", Level.ALERT)),
        (15, Reason.READ_ONLY, ("M2", "coil", Level.ALERT)),
        (90, Reason.NO_RULE, ("M2", "", Level.ALERT)),
        (6, Reason.RATE, ("M2", "", Level.ALERT)),
        (6, Reason.TIME, ("M2", "", Level.ALERT)),
        (6, Reason.VALUE, ("M3", "", Level.ALERT)),
        (16, Reason.DELTA, ("M3", "", Level.ALERT)),
        (16, Reason.UNKNOWN_BEFORE, ("M3", "", Level.NOTICE)),
        (3, Reason.NO_RULE, ("M2", "read", Level.NOTICE)),
        (6, Reason.NO_POLICY, ("M2", "", Level.ALERT)),
    ],
)
def test_a_refusal_is_said_by_its_reason(
    function: int, reason: Reason, expected: tuple[str, str, Level]
) -> None:
    row = Row(S, function=function, verdict=REFUSED, reason=reason)
    assert said(row) == [expected]
    # Under ``default: monitor`` the same passes, with the reason.
    if reason is not Reason.NO_POLICY:
        row.verdict = ALLOWED
        assert said(row) == [expected]


@pytest.mark.parametrize("reason", [Reason.NONE, Reason.MALFORMED, Reason.FAULT])
def test_what_others_say_is_not_said_here(reason: Reason) -> None:
    assert said(Row(S, function=6, verdict=REFUSED, reason=reason)) == []


def test_a_read_that_passes_without_a_policy_is_no_finding() -> None:
    assert said(Row(S, verdict=ALLOWED, reason=Reason.NO_POLICY)) == []


def test_a_finding_names_the_function_the_place_and_the_rule_but_no_value() -> None:
    rows = [
        Row(S, function=6, address=100, verdict=REFUSED, reason=Reason.VALUE, rule=1,
            values=[54321]),
        Row(2 * S, function=6, address=103, verdict=REFUSED, reason=Reason.VALUE,
            rule=1, values=[54322]),
        Row(3 * S, client=STRANGER, function=6, verdict=REFUSED, reason=Reason.NO_RULE),
    ]  # fmt: skip
    ours, other = OutsidePolicy(RULES).inspect(seen(rows))
    assert ours.subject == Conversation("10.0.0.7", "10.0.0.20", 0, 1)
    assert (ours.count, ours.first_ns, ours.last_ns) == (2, S, 2 * S)
    assert ours.detail == "write-single-register at 100 to 103: value of rule setpoint"
    assert ours.refused
    assert isinstance(other.subject, Conversation)
    assert other.subject.client == "10.0.0.66"


def test_what_passed_all_the_same_is_not_told_as_refused() -> None:
    row = Row(S, function=6, verdict=ALLOWED, reason=Reason.NO_RULE)
    (found,) = OutsidePolicy().inspect(seen([row]))
    assert not found.refused


def test_a_rule_that_alerts_is_told_by_its_name() -> None:
    rows = [Row(S, alert=1), Row(2 * S), Row(3 * S, alert=1), Row(4 * S, alert=9)]
    told = Watched(RULES).inspect(seen(rows))
    assert [(one.variant, one.count) for one in told] == [("setpoint", 2), ("9", 1)]
    assert all(one.level is Level.ALERT for one in told)
    assert rows[0].client == HMI
