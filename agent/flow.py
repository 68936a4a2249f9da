"""THE DATA PATH, on one page.

    decode -> judge -> inspect -> classify -> [each destination: transform -> seal]
    -> commit

``Flow.process`` turns what the sources brought into one ``Commit``. It does no I/O and
awaits nothing; ``agent/runtime.py`` feeds it and hands its commits to the store. A flow
belongs to one policy: to swap policies, make a new one between two batches and let the
old one ``finish``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.classification.stage import kept_back
from agent.inspection.findings import View
from agent.passes import Pass, Sources
from agent.protection.bundles import bundles
from agent.store.documents import VOLUMES, closed
from protocols.frames import empty_frames
from protocols.samples import concat_texts, empty_samples

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.classification.context import Context
    from agent.classification.ignition import Ignition
    from agent.classification.stage import Classifier
    from agent.consents import Consents
    from agent.decoding import Decoder
    from agent.events import Events
    from agent.evidence import Evidence
    from agent.firewall.stage import Firewall
    from agent.inspection.stage import InspectionStatistics, Inspector
    from agent.protection.protector import Protected, Protector
    from agent.protection.sealer import Sealer
    from agent.records import Arrival, Commit
    from agent.tally import ItemTally
    from policies.tables import CompiledDestination, CompiledPolicy
    from protocols.modbus.values import Point
    from protocols.samples import SampleBatch, TextBatch


@dataclass(frozen=True, slots=True)
class Gate:
    """One destination and the state of its rules; a closed one gets nothing."""

    index: int
    destination: CompiledDestination
    protector: Protector
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of one policy, in the order in which data meets them."""

    decoder: Decoder
    firewall: Firewall
    inspector: Inspector
    events: Events
    context: Context
    ignition: Ignition
    classifier: Classifier
    gates: tuple[Gate, ...]
    sealer: Sealer
    evidence: Evidence


class Flow:
    """Decides and protects, batch by batch, under one policy."""

    def __init__(
        self, policy: CompiledPolicy, stages: Stages, tally: ItemTally | None = None
    ) -> None:
        """Take the policy's tables and stages; ``tally`` counts per item for `scan`."""
        self._policy = policy
        self._stages = stages
        self._tally = tally
        self._sources = Sources(policy.items)
        self._holding: frozenset[str] = frozenset()  # consents, in the last batch

    def process(
        self,
        arrival: Arrival,
        *,
        clock_ok: bool = True,
        consents: Consents | None = None,
    ) -> Commit:
        """Return all that one batch makes durable: nothing leaves without it."""
        stages, now_ns = self._stages, arrival.now_ns
        exchanges, verdicts = stages.firewall.judged(
            stages.decoder.exchanges(arrival), arrival.rules, clock_ok=clock_ok
        )
        decoded = stages.decoder.decode(arrival, exchanges)

        frames = arrival.frames if arrival.frames is not None else empty_frames()
        view = View(
            frames, decoded.message, decoded.diagnostics, decoded.identifiers,
            exchanges, stages.firewall.names, arrival.changes,
        )  # fmt: skip
        findings = stages.inspector.inspect(view, now_ns)
        stages.events.seen(view)
        texts = concat_texts([decoded.texts, stages.events.texts(findings, now_ns)])

        stages.context.volumes.look(now_ns, clock_ok=clock_ok)
        holding = self._consented(decoded.samples, consents, now_ns, clock_ok=clock_ok)
        stages.context.observe(decoded.samples, clock_ok=clock_ok, consents=holding)
        if self._tally is not None:
            self._tally.seen(decoded.samples, texts)
        made = self._pass(now_ns)
        made.read(decoded, texts)
        made.judged(verdicts)
        self._forget(self._holding - holding.keys(), made)
        self._holding = frozenset(holding)
        for gate in stages.gates:
            made.take(
                gate.destination, self._protect(gate, decoded.samples, texts, made)
            )
        return self._counted(made)

    def _consented(
        self,
        samples: SampleBatch,
        consents: Consents | None,
        now_ns: int,
        *,
        clock_ok: bool,
    ) -> Mapping[str, int]:
        """Return the consents that hold for this batch: name -> when it ends."""
        if consents is None:
            return {}
        # A cycle that begins in this batch ends consents for all of it.
        consents.ignition_seen(*self._stages.ignition.seen(samples))
        consents.look(now_ns, clock_ok=clock_ok)
        return consents.holding

    def _forget(self, ended: frozenset[str], made: Pass) -> None:
        """Destroy what waits inside rules whose consent has ended."""
        if not ended:
            return
        for gate in self._stages.gates:
            made.take(gate.destination, gate.protector.forget(ended))
        self._stages.sealer.forget(ended)

    def _protect(
        self, gate: Gate, samples: SampleBatch, texts: TextBatch, made: Pass
    ) -> Protected:
        """Classify, transform and seal for one destination."""
        stages = self._stages
        rules = stages.classifier.classify(samples, stages.context, gate.index)
        text_rules = stages.classifier.classify_texts(texts, stages.context, gate.index)
        if not gate.is_open:
            rules, text_rules = kept_back(rules), kept_back(text_rules)
        protected = gate.protector.protect(
            samples, rules, texts, text_rules, made.now_ns
        )
        if self._tally is not None:
            self._tally.decided(gate.index, samples, rules, texts, text_rules)
        self._seal(gate, protected, made)
        return protected

    def _seal(self, gate: Gate, protected: Protected, made: Pass) -> None:
        events = self._stages.events
        for bundle in bundles(protected.released, self._policy, events.item):
            sealed = self._stages.sealer.seal(gate.destination, bundle, made.now_ns)
            made.sealed(gate.destination, bundle, sealed)
            for part in bundle.parts if self._policy.volumes else ():
                limits = [self._policy.volumes[n] for n in part.rule.volumes]
                recipients = gate.destination.recipients
                self._stages.context.volumes.left(limits, recipients, part.rows)
            if self._tally is not None:
                self._tally.sent(gate.index, bundle)

    def use_points(self, points: Sequence[Point]) -> None:
        """Decode these Modbus points from now on: discovery found more."""
        self._stages.decoder.use_points(points)

    def finish(self, now_ns: int, reason: str) -> Commit:
        """Close windows and trips, tell open findings: the last commit of this flow."""
        stages = self._stages
        made = self._pass(now_ns)
        texts = stages.events.texts(stages.inspector.flush(), now_ns)
        if self._tally is not None:
            self._tally.seen(empty_samples(), texts)
        made.read_texts(texts)
        for gate in stages.gates:
            made.take(
                gate.destination, self._protect(gate, empty_samples(), texts, made)
            )
            last = gate.protector.flush(reason)
            self._seal(gate, last, made)
            made.take(gate.destination, last)
        return self._counted(made)

    def _counted(self, made: Pass) -> Commit:
        """Return the pass with the counters of what it lets out."""
        volumes = self._stages.context.volumes
        if volumes.changed:
            made.keep(VOLUMES, closed(VOLUMES, volumes.document()))
        return made.commit()

    def inspected(self) -> InspectionStatistics:
        """Return what inspection saw so far."""
        return self._stages.inspector.statistics()

    def _pass(self, now_ns: int) -> Pass:
        return Pass(self._policy, self._sources, self._stages.evidence, now_ns)
