"""What detectors say of a simulated network: decoded, judged, inspected in batches."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from agent.firewall.judge import Judge
from agent.firewall.memory import Memory
from agent.inspection.findings import CanId, View
from agent.inspection.modbus import modbus_detectors
from agent.inspection.ocsf import Context
from agent.inspection.stage import Inspector
from firmware_sim.network.attacks import lasts_ns
from firmware_sim.network.model import NetworkScenario
from firmware_sim.network.packets import pcap_bytes
from firmware_sim.scenario import load_scenario
from firmware_sim.schema import nanoseconds, start_ns
from policies.files import load
from policies.inspection import CompiledInspection
from protocols.capture.ethernet import SegmentParser
from protocols.frames import empty_frames
from protocols.modbus.pairs import concat_exchanges, decode_pairs
from protocols.modbus.streams import Streams
from tests.support.network_pairs import Truth, network_pairs, simulated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.inspection.findings import Finding
    from firmware_sim.network.model import AttackSpec
    from policies.tables import CompiledPolicy
    from protocols.modbus.exchanges import ExchangeBatch, PairBatch

NS = 10**9
BATCH_S = 5
SEGMENTS = 512  # of one batch of a tap
PORT = 502
GRACE_S = 45  # M11 compares with polls of every 10 s, three times in a row


@dataclass
class Detected:
    """A scenario's truth, the findings that became events, and the stage's counts."""

    truth: Truth
    exchanges: ExchangeBatch
    events: list[Finding]
    alerts: int
    context: Context


def detected(
    name: str,
    *,
    with_rules: bool = True,
    tapped: bool = False,
    alter: Callable[[ExchangeBatch], ExchangeBatch] = lambda same: same,
) -> Detected:
    """Return what is said of a shipped scenario under the policy ``sim-network``.

    ``tapped``: through a capture and the tap's reassembly, in order of its packets;
    else as the simulation has them, in order of requests. ``alter``: what detectors see
    instead of what was judged.
    """
    batches, truth = (tapped_pairs if tapped else direct_pairs)(name)
    policy = network_policy(truth)
    firewall = policy.firewall if with_rules else None
    judge = None if firewall is None else Judge(firewall, Memory())
    told = policy.inspection or CompiledInspection()
    inspector = Inspector(
        modbus_detectors(firewall, told), off=told.off, repeat_ns=10 * NS
    )
    events, seen, names = [], [], truth.peers.names
    for pairs in batches:
        if not len(pairs):
            continue
        part = decode_pairs(pairs)
        if judge is not None:
            part = judge.judge_batch(part, names, clock_ok=True)
        part = alter(part)
        seen.append(part)
        view = View(empty_frames(), np.empty(0, np.int32), (), (), part, names)
        events += inspector.inspect(view, int(part.time_ns[-1]))
    counts = inspector.statistics()
    assert counts.suppressed == 0
    context = Context("gw", (), policy.digest, "high", "1", tuple(truth.links))
    events += inspector.flush()
    return Detected(truth, concat_exchanges(seen), events, counts.alerts, context)


def direct_pairs(name: str) -> tuple[Iterator[PairBatch], Truth]:
    """Return the simulation's exchanges in batches of some seconds."""
    pairs, truth = network_pairs(name)
    cuts = np.arange(int(pairs.time_ns[0]), int(pairs.time_ns[-1]), BATCH_S * NS)
    edges = [*np.searchsorted(pairs.time_ns, cuts).tolist(), len(pairs)]
    return (cut(pairs, first, behind) for first, behind in pairwise(edges)), truth


def tapped_pairs(name: str) -> tuple[Iterator[PairBatch], Truth]:
    """Return what a tap makes of the simulation's packets."""
    scenario = load_scenario(name)
    assert isinstance(scenario, NetworkScenario)
    run = simulated(name)
    base = start_ns(scenario.start)
    parser = SegmentParser()
    segments = parser.feed(pcap_bytes(run.tape.rows, base))
    links = {(plc.address, PORT): i for i, plc in enumerate(scenario.plcs)}
    streams = Streams(links=links)
    truth = Truth(
        run.transactions, streams.peers, [plc.name for plc in scenario.plcs], scenario,
        base,
    )  # fmt: skip

    def batches() -> Iterator[PairBatch]:
        for at in range(0, len(segments), SEGMENTS):
            yield streams.feed(segments.take(slice(at, at + SEGMENTS)))
        yield streams.finish()

    return batches(), truth


def cut(pairs: PairBatch, first: int, behind: int) -> PairBatch:
    """Return rows ``first`` up to ``behind`` as a batch of their own."""
    columns = {
        one.name: getattr(pairs, one.name)[first:behind]
        for one in fields(pairs)
        if one.name != "chars"
    }
    return replace(pairs, **columns)


def network_policy(truth: Truth) -> CompiledPolicy:
    """Return the shipped policy of the network, compiled for its links."""
    loaded = load("sim-network", ["sim-network"], links=tuple(truth.links))
    return loaded.compiled.policy


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
