"""What detectors say of a simulated network: decoded, judged, inspected in batches."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from agent.firewall.judge import Judge
from agent.firewall.memory import Memory
from agent.inspection.findings import CanId, View
from agent.inspection.modbus import modbus_detectors
from agent.inspection.ocsf import Context
from agent.inspection.stage import Inspector
from firmware_sim.network.attacks import lasts_ns
from firmware_sim.schema import nanoseconds
from policies.files import load
from policies.inspection import CompiledInspection
from protocols.frames import empty_frames
from protocols.modbus.pairs import decode_pairs
from tests.support.network_pairs import network_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.inspection.findings import Finding
    from firmware_sim.network.model import AttackSpec
    from policies.tables import CompiledPolicy
    from protocols.modbus.exchanges import ExchangeBatch
    from tests.support.network_pairs import Truth

NS = 10**9
BATCH_S = 5
GRACE_S = 45  # M11 compares with polls of every 10 s, three times in a row


@dataclass
class Detected:
    """A scenario's truth, the findings that became events, and the stage's counts."""

    truth: Truth
    exchanges: ExchangeBatch
    events: list[Finding]
    alerts: int
    notices: int
    context: Context


def detected(
    name: str,
    *,
    with_rules: bool = True,
    alter: Callable[[ExchangeBatch], ExchangeBatch] = lambda same: same,
) -> Detected:
    """Return what is said of a shipped scenario under the policy ``sim-network``.

    ``alter``: what detectors see instead of what was judged.
    """
    pairs, truth = network_pairs(name)
    policy = network_policy(truth)
    exchanges = decode_pairs(pairs)
    firewall = policy.firewall if with_rules else None
    if firewall is not None:
        judge = Judge(firewall, Memory())
        exchanges = judge.judge_batch(exchanges, truth.peers.names, clock_ok=True)
    exchanges = alter(exchanges)
    told = policy.inspection or CompiledInspection()
    inspector = Inspector(
        modbus_detectors(firewall, told), off=told.off, repeat_ns=10 * NS
    )
    events = []
    cuts = np.arange(
        int(exchanges.time_ns[0]), int(exchanges.time_ns[-1]), BATCH_S * NS
    )
    edges = [*np.searchsorted(exchanges.time_ns, cuts).tolist(), len(exchanges)]
    for first, behind in pairwise(edges):
        part = cut(exchanges, first, behind)
        view = View(
            empty_frames(), np.empty(0, np.int32), (), (), part, truth.peers.names
        )
        now = int(part.time_ns[-1]) if len(part) else truth.base_ns
        events += inspector.inspect(view, now)
    counts = inspector.statistics()
    assert counts.suppressed == 0
    context = Context("gw", (), policy.digest, "high", "1", tuple(truth.links))
    return Detected(
        truth, exchanges, events + inspector.flush(), counts.alerts, counts.notices,
        context,
    )  # fmt: skip


def network_policy(truth: Truth) -> CompiledPolicy:
    """Return the shipped policy of the network, compiled for its links."""
    loaded = load("sim-network", ["sim-network"], links=tuple(truth.links))
    return loaded.compiled.policy


def cut(exchanges: ExchangeBatch, first: int, behind: int) -> ExchangeBatch:
    """Return rows ``first`` up to ``behind`` as a batch of their own."""
    parts: dict[str, Any] = {}
    for one in fields(exchanges):
        column = getattr(exchanges, one.name)
        if one.name.endswith("_offset"):
            parts[one.name] = column[first : behind + 1]
        elif one.name.endswith("_values"):
            parts[one.name] = column
        elif one.name == "texts":
            parts[one.name] = tuple(
                (row - first, number, text)
                for row, number, text in column
                if first <= row < behind
            )
        else:
            parts[one.name] = column[first:behind]
    return replace(exchanges, **parts)


def about(found: Detected, attack: AttackSpec) -> list[Finding]:
    """Return the events about an attack: its hosts, its time, a while behind it."""
    scenario, base = found.truth.scenario, found.truth.base_ns
    hosts = {plc.name: plc.address for plc in scenario.plcs}
    hosts |= {client.name: client.address for client in scenario.clients}
    begin = base + nanoseconds(attack.at)
    end = begin + lasts_ns(attack) + GRACE_S * NS
    return [
        one
        for one in found.events
        if not isinstance(one.subject, CanId)
        and one.subject.client == hosts[attack.source]
        and one.subject.server in {hosts[attack.to], ""}
        and one.last_ns >= begin
        and one.first_ns <= end
    ]
