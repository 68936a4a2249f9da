"""Which detectors a policy gets, and what outlives a change of it."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.inspection.eve import EveLines
from agent.inspection.kinds import KINDS
from agent.inspection.modbus import Learned, modbus_detectors
from agent.inspection.modbus_polls import PollDeadline
from agent.inspection.modbus_scan import Scan
from agent.inspection.ocsf import Context, event
from agent.inspection.stage import Inspector
from policies.firewall.tables import CompiledFirewall, Default, Mode
from policies.inspection import CompiledInspection
from policies.model_inspection import DetectorName, Inspection, PollsFile
from protocols.modbus.exchanges import Problem
from tests.support.examples import upto
from tests.support.exchange_rows import Row, seen

TOLD = CompiledInspection()
FIREWALL = CompiledFirewall(
    Default.DENY, Mode.ENFORCE, pass_reads_on_failure=False, silent=False, clients=(),
    rules=(),
)  # fmt: skip


def test_what_was_learned_goes_on_where_it_was_told_the_same() -> None:
    learned = Learned()
    first = modbus_detectors(None, TOLD, learned)
    stricter = replace(TOLD, thresholds=Inspection(polls=PollsFile(periods=5)))
    second = modbus_detectors(FIREWALL, stricter, learned)
    kept = {type(one) for one in first if any(one is other for other in second)}
    assert Scan in kept
    assert PollDeadline not in kept
    third = modbus_detectors(FIREWALL, stricter, Learned())
    assert not any(one is other for one in second for other in third)


def test_every_detector_has_words_and_a_name_to_turn_it_off_by() -> None:
    names = set(DetectorName.__args__)
    assert names == {kind.partition("/")[0] for kind in KINDS}
    assert len(modbus_detectors(None, TOLD)) == len(modbus_detectors(FIREWALL, TOLD))


ANY = st.builds(
    Row,
    time_ns=st.integers(0, 4000).map(lambda ms: ms * 10**7),
    client=st.integers(0, 65_535),
    server=st.integers(0, 5),
    link=st.sampled_from([0, 1, 255]),
    unit=st.integers(0, 255),
    function=st.integers(0, 255),
    sub=st.integers(0, 65_535),
    address=st.integers(0, 65_535),
    count=st.integers(0, 65_535),
    exception=st.integers(0, 255),
    problems=st.integers(0, sum(Problem)),
    verdict=st.sampled_from([0, 1, 2]),
    rule=st.integers(-1, 300),
    reason=st.integers(0, 11),
    alert=st.integers(-1, 300),
    answered=st.booleans(),
    malformed=st.booleans(),
    values=st.lists(st.integers(0, 65_535), max_size=4),
)


@settings(max_examples=upto(25), suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(ANY, max_size=20), in_order=st.booleans())
def test_whatever_comes_is_told_in_events_that_can_be_written(
    rows: list[Row], *, in_order: bool
) -> None:
    told = sorted(rows, key=lambda row: row.time_ns) if in_order else rows
    context = Context("gw", (), b"", "high", "1", ("plc",))
    for firewall in (None, FIREWALL):
        inspector = Inspector(modbus_detectors(firewall, replace(TOLD, learn_s=60)))
        for view in (seen(told[:10]), seen(told[10:])):
            found = inspector.inspect(view, 10**9)
            eve = EveLines("all")
            eve.alerts(found, context)
            eve.seen(view)
            assert len(eve.take()) == len(found) + len(view.exchanges)
            for one in found:
                assert json.loads(event(one, context, 0))["count"] > 0
