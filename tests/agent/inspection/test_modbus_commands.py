"""M6 and M7: who may identify, and what stops a device."""

from __future__ import annotations

import pytest

from agent.inspection.findings import Level
from agent.inspection.modbus_commands import Dangerous, Identified
from protocols.modbus.exchanges import Verdict
from tests.support.exchange_rows import Row, S, seen


@pytest.mark.parametrize(
    ("function", "sub", "variant"),
    [
        (8, 1, "restart"),
        (8, 4, "silence"),
        (90, 0xFFFF, "program"),
        (126, 0xFFFF, "program"),
        (125, 0xFFFF, "firmware"),
    ],
)
def test_m7_tells_each_by_what_it_does(function: int, sub: int, variant: str) -> None:
    row = Row(S, function=function, sub=sub)
    (found,) = Dangerous().inspect(seen([Row(0), row]))
    assert (found.detector, found.variant, found.level) == ("M7", variant, Level.ALERT)
    # What a rule allows by name is declared.
    row.verdict, row.rule = Verdict.ALLOWED, 3
    (found,) = Dangerous().inspect(seen([row]))
    assert found.level is Level.NOTICE


def test_m7_leaves_the_harmless_alone() -> None:
    rows = [Row(S, function=f) for f in (1, 3, 6, 16, 43, 17)]
    rows += [Row(S, function=8, sub=sub) for sub in (0, 2, 11, 18)]
    assert Dangerous().inspect(seen(rows)) == []


@pytest.mark.parametrize(
    ("function", "sub"), [(17, 0xFFFF), (43, 14 << 8 | 1), (8, 2), (8, 14)]
)
def test_m6_is_silent_for_engineering_and_for_what_is_declared(
    function: int, sub: int
) -> None:
    row = Row(S, function=function, sub=sub)
    (found,) = Identified().inspect(seen([Row(0), row]))
    assert (found.detector, found.level) == ("M6", Level.ALERT)
    assert Identified(("10.0.0.0/29",)).inspect(seen([row])) == []
    row.verdict, row.rule = Verdict.ALLOWED, 3
    assert Identified().inspect(seen([row])) == []


def test_m6_takes_canopen_and_the_echo_for_what_they_are() -> None:
    rows = [Row(S, function=43, sub=13 << 8), Row(S, function=8, sub=0)]
    assert Identified().inspect(seen(rows)) == []
