"""The detectors for Modbus, by what the policy says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

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
    from collections.abc import Callable

    from agent.inspection.findings import Detector
    from policies.firewall.tables import CompiledFirewall
    from policies.inspection import CompiledInspection

Told: TypeAlias = tuple[object, ...]  # what a detector was made with


class Learned:
    """Detectors that learn, by what they were told: they outlive a change of policy.

    Written between two batches only, where flows are made.
    """

    def __init__(self) -> None:
        """Begin with nothing learned."""
        self._kept: dict[Told, Detector] = {}

    def keep(self, wanted: dict[Told, Callable[[], Detector]]) -> list[Detector]:
        """Return a detector for each; one that was told the same goes on."""
        kept = {told: self._kept.get(told) or make() for told, make in wanted.items()}
        self._kept = kept
        return [*kept.values()]


def modbus_detectors(
    firewall: CompiledFirewall | None,
    told: CompiledInspection,
    learned: Learned | None = None,
) -> list[Detector]:
    """Return the detectors in the order in which they look; new ones go here.

    ``learned``: those of the policy before, whose learning goes on where they are told
    the same.
    """
    rules = () if firewall is None else tuple(rule.name for rule in firewall.rules)
    limits, learn_s = told.thresholds, told.learn_s
    scan = ScanLimits(
        limits.scan.units, limits.scan.addresses, limits.scan.functions,
        limits.scan.devices,
    )  # fmt: skip
    flood = FloodLimits(
        limits.flood.per_second, limits.flood.times, limits.flood.unanswered
    )
    periods, times = limits.polls.periods, limits.frozen.times
    wanted: dict[Told, Callable[[], Detector]] = {
        ("M4", scan, learn_s): lambda: Scan(scan, learn_s),
        ("M8", flood, learn_s): lambda: Flood(flood, learn_s),
        ("M9", periods, learn_s): lambda: PollDeadline(periods, learn_s),
        ("M11", times, learn_s): lambda: Frozen(times, learn_s),
        ("M11/other", learn_s): lambda: Differing(learn_s),
    }
    if firewall is None:
        wanted["M1", learn_s] = lambda: NewPair(None, learn_s)
    declared = [] if firewall is None else [NewPair(firewall, learn_s)]
    return [
        Malformed(),
        Dangerous(),
        OutsidePolicy(rules),
        Watched(rules),
        *declared,
        Identified(told.engineering),
        ExceptionBurst(limits.exceptions.count, limits.exceptions.share),
        *(learned or Learned()).keep(wanted),
    ]
