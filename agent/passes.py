"""The books of one pass: what was read, what became of it, what it cost on the wire.

Every sample that was read ends in exactly one outcome at every destination, or is held
inside a transform; ``fleet/audit/verify.py`` checks that the sums agree.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from agent.records import Commit, CounterRow, Outcome
from policies.tables import NO_RULE
from protocols.labels import UNCLASSIFIED

if TYPE_CHECKING:
    from agent.decoding import Decoded
    from agent.evidence import Evidence
    from agent.protection.bundles import Bundle, Part
    from agent.protection.protector import Protected
    from agent.protection.sealer import Sealed
    from agent.records import RetainedRecord, SpoolRecord, VerdictRow
    from policies.tables import CompiledDestination, CompiledPolicy, ItemTable
    from protocols.frames import I64, U32, Index
    from protocols.samples import TextBatch

SAMPLE_BYTES = (
    8  # a decoded number in memory; what "bytes" means for data that was read
)


class Sources:
    """Items that are counted as one: same label, category and source. Made once."""

    def __init__(self, items: ItemTable) -> None:
        """Number the (label, category, source) of all items."""
        places: dict[tuple[int, str, str], int] = {}
        names = items.source or ("",) * len(items)
        keys = zip(items.label.tolist(), items.category, names, strict=True)
        numbers = [places.setdefault(key, len(places)) for key in keys]
        self.of_item: Index = np.array(numbers, np.intp)
        self.places = tuple(places)


class Pass:
    """Gathers one ``Commit``."""

    def __init__(
        self,
        policy: CompiledPolicy,
        sources: Sources,
        evidence: Evidence,
        now_ns: int,
    ) -> None:
        """Begin with empty books."""
        self.now_ns = now_ns
        self._sources = sources
        self._policy = policy
        self._evidence = evidence
        self._records: list[SpoolRecord] = []
        self._retained: list[RetainedRecord] = []
        self._entries: list[bytes] = []
        self._rows: list[CounterRow] = []
        self._bytes: dict[tuple[str, int, str], int] = {}
        self._held: dict[str, int] = {}  # by destination: the level after its last take
        self._unbound = self._errors = 0
        self._coverage = (0, 0)
        self._verdicts: tuple[VerdictRow, ...] = ()
        self._documents: dict[str, bytes] = {}

    def read(self, decoded: Decoded, texts: TextBatch) -> None:
        """Book what the sources brought: items, data without an item, decode errors."""
        self._unbound, self._errors = decoded.unbound, decoded.errors
        self._book_items(decoded.samples.item, None)
        self.read_texts(texts)
        unclassified = UNCLASSIFIED.pack()
        for count, what in ((decoded.unbound, "unbound"), (decoded.errors, "errors")):
            if count:
                self._row("", unclassified, "", what, Outcome.READ, count, 0)
        known, unknown = self._coverage
        self._coverage = (known, unknown + decoded.unbound)

    def read_texts(self, texts: TextBatch) -> None:
        """Book texts that were read or made (events)."""
        sizes = np.array([len(text) for text in texts.text], np.int64)
        self._book_items(texts.item, sizes)

    def _book_items(self, item: U32, sizes: I64 | None) -> None:
        items, sources = self._policy.items, self._sources
        source = sources.of_item[item]
        read = np.bincount(source, minlength=len(sources.places))
        used = (
            read * SAMPLE_BYTES
            if sizes is None
            else np.bincount(source, weights=sizes, minlength=len(sources.places))
        )
        for place in np.flatnonzero(read).tolist():
            label, category, name = sources.places[place]
            count, size = int(read[place]), int(used[place])
            self._row("", label, category, name, Outcome.READ, count, size)
        known = int(np.count_nonzero(items.classified[item]))
        total = len(item)
        self._coverage = (
            self._coverage[0] + known,
            self._coverage[1] + total - known,
        )

    def sealed(
        self, destination: CompiledDestination, bundle: Bundle, sealed: Sealed
    ) -> None:
        """Book the envelopes of one bundle, and their evidence."""
        for record in sealed.records:
            told = _told(bundle, sealed, record.epoch, record.sequence)
            self._records.append(record)
            self._entries.append(
                self._evidence.record(self.now_ns, record, destination.region, told)
            )
            if record.kind == "key":
                self._key_bytes(destination, bundle, len(record.body))
        for kept in sealed.retained:
            told = _told(bundle, sealed, kept.epoch, kept.sequence)
            self._retained.append(kept)
            self._entries.append(
                self._evidence.retained(self.now_ns, kept, self._policy.custodian, told)
            )
            if not kept.sequence:
                self._key_bytes(destination, bundle, len(kept.body))
        size = sum(len(r.body) for r in sealed.records if r.kind != "key")
        size += sum(len(kept.body) for kept in sealed.retained if kept.sequence)
        for part, share in zip(bundle.parts, _shares(size, bundle.parts), strict=True):
            key = (destination.name, bundle.label, part.rule.name)
            self._bytes[key] = self._bytes.get(key, 0) + share

    def _key_bytes(
        self, destination: CompiledDestination, bundle: Bundle, size: int
    ) -> None:
        """Book an announcement: bytes without samples, of no rule."""
        key = (destination.name, bundle.label, "")
        self._bytes[key] = self._bytes.get(key, 0) + size

    def judged(self, rows: tuple[VerdictRow, ...]) -> None:
        """Book what the firewall said."""
        self._verdicts = rows

    def keep(self, name: str, body: bytes) -> None:
        """Keep a document in the same transaction."""
        self._documents[name] = body

    def take(self, destination: CompiledDestination, protected: Protected) -> None:
        """Book what became of every sample at one destination."""
        self._held[destination.name] = protected.held
        for number, failure in protected.failures:
            cause = f"rule {self._policy.rules[number].name}: {failure}"
            self._entries.append(self._evidence.loss(self.now_ns, cause, 1))
        for number, outcome, label, samples in protected.cells:
            rule = self._policy.rules[number] if number != NO_RULE else None
            name = rule.name if rule else ""
            out = outcome in {Outcome.SENT, Outcome.KEPT, Outcome.MERGED}
            used = self._bytes.pop((destination.name, label, name), 0) if out else 0
            action = rule.action.name.lower() if rule else ""
            self._row(destination.name, label, name, action, outcome, samples, used)
        unclassified = UNCLASSIFIED.pack()
        for count, outcome in (
            (self._unbound, Outcome.UNCLASSIFIED),
            (self._errors, Outcome.FAILED),
        ):
            if count:
                self._row(destination.name, unclassified, "", "", outcome, count, 0)

    def commit(self) -> Commit:
        """Return the pass as one transaction's worth."""
        # Bytes whose samples were booked in an earlier pass: keys, closed windows.
        for (destination, label, rule), used in self._bytes.items():
            action = "" if rule else "key"
            self._row(destination, label, rule, action, Outcome.SENT, 0, used)
        return Commit(
            tuple(self._records),
            tuple(self._retained),
            tuple(self._entries),
            tuple(self._rows),
            sum(self._held.values()),
            self._coverage,
            verdicts=self._verdicts,
            documents=self._documents,
        )

    def _row(
        self,
        destination: str,
        label: int,
        rule: str,
        action: str,
        outcome: Outcome,
        samples: int,
        used: int,
    ) -> None:
        self._rows.append(
            CounterRow(destination, label, rule, action, outcome, samples, used)
        )


def _shares(size: int, parts: tuple[Part, ...]) -> list[int]:
    """Split ``size`` by rows so that the shares add up to it exactly."""
    rows = sum(part.rows for part in parts)
    edges = [0]
    for part in parts:
        edges.append(edges[-1] + part.rows)
    cuts = [size * edge // rows for edge in edges]
    return [high - low for low, high in itertools.pairwise(cuts)]


def _told(
    bundle: Bundle, sealed: Sealed, epoch: bytes, sequence: int
) -> list[tuple[str, int, bool]]:
    """Return (rule, rows in this envelope, rows are statistics); none for a key."""
    rows = sealed.rows.get((epoch, sequence), ())
    return [
        (part.rule.name, count, part.is_aggregate)
        for part, count in zip(bundle.parts, rows, strict=False)
        if count
    ]
