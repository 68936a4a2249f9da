"""The detectors for Modbus, by what the policy says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.inspection.modbus_commands import Dangerous, Identified
from agent.inspection.modbus_exceptions import ExceptionBurst
from agent.inspection.modbus_flood import Flood, FloodLimits
from agent.inspection.modbus_pairs import NewPair
from agent.inspection.modbus_policy import OutsidePolicy, Watched
from agent.inspection.modbus_polls import PollDeadline
from agent.inspection.modbus_sanity import Malformed
from agent.inspection.modbus_scan import Scan, ScanLimits
from agent.inspection.modbus_shadow import Differing
from agent.inspection.modbus_stale import Frozen

if TYPE_CHECKING:
    from agent.inspection.findings import Detector
    from policies.firewall.tables import CompiledFirewall
    from policies.inspection import CompiledInspection


def modbus_detectors(
    firewall: CompiledFirewall | None, told: CompiledInspection
) -> list[Detector]:
    """Return the detectors in the order in which they look; new ones go here."""
    rules = () if firewall is None else tuple(rule.name for rule in firewall.rules)
    limits, learn_s = told.thresholds, told.learn_s
    scan, flood = limits.scan, limits.flood
    return [
        Malformed(),
        Dangerous(),
        OutsidePolicy(rules),
        Watched(rules),
        NewPair(firewall, learn_s),
        Identified(told.engineering),
        ExceptionBurst(limits.exceptions.count, limits.exceptions.share),
        Scan(
            ScanLimits(scan.units, scan.addresses, scan.functions, scan.devices),
            learn_s,
        ),
        Flood(FloodLimits(flood.per_second, flood.times, flood.unanswered), learn_s),
        PollDeadline(limits.polls.periods, learn_s),
        Frozen(limits.frozen.times, learn_s),
        Differing(learn_s),
    ]
