"""How often which rule decided what."""

from __future__ import annotations

from agent.firewall.counts import Cell, VerdictCounts
from protocols.modbus.exchanges import Reason, Verdict
from protocols.modbus.pairs import decode_pairs
from tests.support.firewall_events import Asked, pairs_of


def test_rows_are_counted_by_link_rule_verdict_and_reason() -> None:
    talk = [Asked(n, "10.0.0.7", n % 2, 1, b"\x03\0\0\0\1", b"") for n in range(5)]
    exchanges = decode_pairs(pairs_of(talk)[0])
    exchanges.verdict[:] = [1, 1, 1, 2, 0]
    exchanges.rule[:] = [0, 1, 0, -1, -1]
    exchanges.reason[:] = [0, 0, 0, Reason.NO_RULE, 0]
    counts = VerdictCounts()
    counts.add(exchanges, ("poll", "write"))
    counts.add(exchanges, ("write", "poll"))  # another policy: names stay
    allowed, none = Verdict.ALLOWED, Reason.NONE
    assert counts.cells == {
        Cell(0, "poll", allowed, none): 2,
        Cell(1, "write", allowed, none): 1,
        Cell(0, "write", allowed, none): 2,
        Cell(1, "poll", allowed, none): 1,
        Cell(1, "", Verdict.REFUSED, Reason.NO_RULE): 2,
    }


def test_what_nobody_judged_is_not_counted() -> None:
    exchanges = decode_pairs(
        pairs_of([Asked(0, "10.0.0.7", 0, 1, b"\x03\0\0\0\1", b"")])[0]
    )
    counts = VerdictCounts()
    counts.add(exchanges, ())
    assert not counts.cells
