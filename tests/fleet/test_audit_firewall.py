"""`firewall.snap` in an audit: sums are told, tampering is found."""

from __future__ import annotations

from typing import Any

import pytest

from agent.evidence import Evidence
from agent.records import VerdictRow
from fleet.audit.entries import FirewallSnap, decode_entry
from fleet.audit.firewall import REASONS, FirewallBooks
from protocols.modbus.exchanges import Reason

ROWS = (
    VerdictRow("plc1", "poll", "allowed", "none", 7),
    VerdictRow("plc1", "", "refused", "no_rule", 2),
)


def snap(before: int = 0, rows: tuple[Any, ...] = ROWS) -> FirewallSnap:
    (entry,) = Evidence("gw-1", bytes(16), "1").firewall(1, 2, rows, before)
    found = decode_entry(entry)
    assert isinstance(found, FirewallSnap)
    return found


def test_an_honest_log_holds_and_is_added_up() -> None:
    books = FirewallBooks()
    assert [*books.take(snap()), *books.take(snap(9))] == []
    assert (books.passed, books.refused) == (14, 4)


def test_nothing_judged_is_no_entry() -> None:
    assert Evidence("gw-1", bytes(16), "1").firewall(1, 2, (), 0) == ()


@pytest.mark.parametrize(
    ("before", "row", "words"),
    [
        (3, ROWS[0], "0 were told"),
        (0, VerdictRow("plc1", "", "allowed", "none", 1), "no rule let through"),
        (0, VerdictRow("plc1", "poll", "refused", "none", 1), "without a reason"),
        (0, VerdictRow("plc1", "poll", "allowed", "luck", 1), "known reason"),
        (0, VerdictRow("plc1", "poll", "allowed", "none", 0), "without a count"),
        (0, VerdictRow("plc1", "poll", "perhaps", "none", 1), "verdict that is none"),
    ],
)
def test_what_does_not_hold_is_told(before: int, row: VerdictRow, words: str) -> None:
    problems = [*FirewallBooks().take(snap(before, (row,)))]
    assert any(words in problem for problem in problems)


def test_a_row_twice_is_told() -> None:
    assert any("twice" in one for one in FirewallBooks().take(snap(0, ROWS + ROWS)))


def test_the_log_speaks_of_every_reason() -> None:
    assert {reason.name.lower() for reason in Reason} == REASONS
