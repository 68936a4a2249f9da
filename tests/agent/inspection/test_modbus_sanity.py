"""M10: every Problem has its level."""

from __future__ import annotations

import pytest

from agent.inspection.findings import Level
from agent.inspection.modbus_sanity import IN_REQUEST, Malformed
from protocols.modbus.exchanges import Problem
from tests.support.exchange_rows import Row, S, seen

EXPECTED = {
    Problem.PROTOCOL: ("", Level.ALERT),
    Problem.LENGTH: ("", Level.ALERT),
    Problem.QUANTITY: ("", Level.ALERT),
    Problem.RANGE: ("", Level.ALERT),
    Problem.BYTE_COUNT: ("", Level.ALERT),
    Problem.VALUE: ("", Level.ALERT),
    Problem.FUNCTION: ("reply", Level.ALERT),
    Problem.ECHO: ("reply", Level.ALERT),
    Problem.REPLY_LENGTH: ("reply", Level.ALERT),
    Problem.UNSOLICITED: ("reply", Level.ALERT),
    Problem.EXCEPTION: ("reply", Level.ALERT),
    Problem.REPEATED: ("", Level.NOTICE),
    Problem.CHECKSUM: ("", Level.NOTICE),
    Problem.UNANSWERED: None,
    Problem.UNKNOWN: None,
}


@pytest.mark.parametrize("problem", list(Problem), ids=lambda one: one.name)
def test_every_problem_is_said_at_its_level(problem: Problem) -> None:
    found = Malformed().inspect(
        seen([Row(0), Row(S, problems=problem, malformed=bool(problem & IN_REQUEST))])
    )
    expected = EXPECTED[problem]
    if expected is None:
        assert found == []
        return
    (one,) = found
    assert (one.variant, one.level) == expected
    assert str(problem.name).lower().replace("_", " ") in one.detail
    assert one.count == 1


def test_a_reply_of_a_wrong_length_is_a_reply_that_does_not_fit() -> None:
    (one,) = Malformed().inspect(seen([Row(S, problems=Problem.LENGTH)]))
    assert one.variant == "reply"


def test_checks_of_one_conversation_are_told_together() -> None:
    rows = [Row(S, problems=Problem.ECHO), Row(2 * S, problems=Problem.UNSOLICITED)]
    (found,) = Malformed().inspect(seen(rows))
    assert found.detail == "read-holding-registers at 0: echo, unsolicited"
