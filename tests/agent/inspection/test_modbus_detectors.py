"""Which detectors a policy gets, and what outlives a change of it."""

from __future__ import annotations

from dataclasses import replace

from agent.inspection.kinds import KINDS
from agent.inspection.modbus import Learned, modbus_detectors
from agent.inspection.modbus_polls import PollDeadline
from agent.inspection.modbus_scan import Scan
from policies.firewall.tables import CompiledFirewall, Default, Mode
from policies.inspection import CompiledInspection
from policies.model_inspection import DetectorName, Inspection, PollsFile

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
