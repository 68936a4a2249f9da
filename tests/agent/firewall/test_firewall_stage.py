"""The firewall in the flow: whose rules judged, what is counted, what is left alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from agent.firewall.stage import Firewall
from agent.records import VerdictRow
from protocols.modbus.exchanges import Reason, Verdict
from tests.support.exchange_rows import Row as AnyRow
from tests.support.exchange_rows import exchanges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.modbus.exchanges import ExchangeBatch

Row = partial(AnyRow, 1)  # at one time
ALLOWED, REFUSED = int(Verdict.ALLOWED), int(Verdict.REFUSED)


class Allowing:
    """Allows by its rule 0 what nobody has judged, as the judge does."""

    def judge_batch(
        self, exchanges: ExchangeBatch, names: Sequence[str], *, clock_ok: bool
    ) -> ExchangeBatch:
        del names, clock_ok
        mine = exchanges.verdict == Verdict.UNJUDGED
        return replace(
            exchanges,
            verdict=np.where(mine, np.uint8(Verdict.ALLOWED), exchanges.verdict),
            rule=np.where(mine, np.int16(0), exchanges.rule),
        )


def stage() -> Firewall:
    return Firewall(Allowing(), ["others"], ["plc1"], ["new", "kept"])


def test_what_a_tap_saw_is_judged_by_our_rules() -> None:
    seen, rows = stage().judged(exchanges([Row(), Row()]), None, clock_ok=True)
    assert seen is not None
    assert seen.verdict.tolist() == [ALLOWED, ALLOWED]
    assert rows == (VerdictRow("plc1", "new", "allowed", "none", 2),)


def test_what_a_proxy_judged_is_counted_by_the_rules_it_had() -> None:
    """The policy changed meanwhile: `kept` is another number, `gone` is no more."""
    batch = exchanges(
        [
            Row(verdict=ALLOWED, rule=0),
            Row(verdict=REFUSED, rule=1, reason=int(Reason.DENIED)),
            Row(verdict=REFUSED, rule=-1, reason=int(Reason.NO_RULE)),
        ]
    )
    seen, rows = stage().judged(batch, ("kept", "gone"), clock_ok=True)
    assert seen is not None
    assert seen.rule.tolist() == [1, -1, -1]
    assert set(rows) == {
        VerdictRow("plc1", "kept", "allowed", "none", 1),
        VerdictRow("plc1", "gone", "refused", "denied", 1),
        VerdictRow("plc1", "", "refused", "no_rule", 1),
    }


def test_what_a_proxy_never_sent_is_not_judged() -> None:
    batch = exchanges([Row(), Row(verdict=ALLOWED, rule=1)])
    seen, rows = stage().judged(batch, ("new", "kept"), clock_ok=True)
    assert seen is not None
    assert seen.verdict.tolist() == [int(Verdict.UNJUDGED), ALLOWED]
    assert rows == (VerdictRow("plc1", "kept", "allowed", "none", 1),)


def test_without_a_firewall_verdicts_of_the_proxy_are_still_told() -> None:
    batch = exchanges([Row(verdict=REFUSED, reason=int(Reason.NO_POLICY)), Row()])
    seen, rows = Firewall(links=["plc1"]).judged(batch, (), clock_ok=True)
    assert seen is not None
    assert seen.verdict.tolist() == [REFUSED, int(Verdict.UNJUDGED)]
    assert rows == (VerdictRow("plc1", "", "refused", "no_policy", 1),)
    assert Firewall().judged(None, None, clock_ok=True) == (None, ())


def test_a_device_that_nobody_named_has_no_link() -> None:
    _, rows = stage().judged(exchanges([Row(link=255)]), None, clock_ok=True)
    assert rows == (VerdictRow("", "new", "allowed", "none", 1),)
