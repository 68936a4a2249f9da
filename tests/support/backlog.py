"""Fills a gateway's store with a backlog, as a run without a broker would have left it.

    python -m tests.support.backlog GATEWAY.toml BYTES [BYTES OF ONE ENVELOPE]

The envelopes are real: sealed under one epoch to the policy's recipients, each with its
entry in the evidence log, so that a collector opens them and an audit holds. What they
hold is one text of random bytes, which no compression makes smaller. The daemon must
not run.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from agent import VERSION
from agent.adapters.clock import SystemClock
from agent.adapters.identities import signer_of
from agent.adapters.journal import Journal
from agent.adapters.policy.loader import Paths, accept
from agent.adapters.sqlite_open import StoreOptions, open_store
from agent.config import parse_config
from agent.control import permitted
from agent.evidence import Evidence
from agent.protection.epochs import Place, begin
from agent.protection.sealer import rank_of
from agent.protection.vocabulary import Wording
from agent.records import Commit, CounterRow, Outcome, Rank, SpoolRecord
from protocols.content import ContentEncoder, Definition, empty_content
from protocols.envelope import Header, encode_envelope, encode_header, nonce
from protocols.samples import Kind, TextBatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.adapters.sqlite_store import SqliteStore

AT_ONCE: Final = 500
CAP_BYTES: Final = 8 << 30  # more than any backlog of a test
ITEM: Final = "Backlog"
NUMBER: Final = 1  # the item's column


class Builder:
    """One run of a gateway that only seals."""

    def __init__(self, config: Path) -> None:
        text = config.read_bytes()
        self.paths = Paths(str(config), parse_config(text, str(config)))
        self.accepted = accept(self.paths)
        self.policy = self.accepted.compiled.policy
        self.destination = self.policy.destinations[0]
        name = self.destination.name
        self.label = min(one for place, one in permitted(self.policy) if place == name)
        self.rule = next(
            rule for rule in self.policy.rules if self.label in rule.label_out
        )
        self.signer = signer_of(self.paths)
        self.boot = os.urandom(16)
        self.evidence = Evidence(self.signer.device, self.boot, VERSION)
        self.now_ns = time.time_ns()

    def fill(self, total: int, size: int) -> int:
        """Fill the store with ``total`` bytes; return how many envelopes that is."""
        journal = Journal(self.evidence, SystemClock())
        options = StoreOptions(CAP_BYTES, CAP_BYTES, journal.witness, journal.broken)
        folder = Path(self.paths.of(self.paths.config.state_dir))
        store = open_store(folder / "store.db", options)
        store._connection.raw.execute("PRAGMA synchronous = OFF")  # this tool's hurry
        try:
            return self._filled(store, total // size, size)
        finally:
            store.close()

    def _filled(self, store: SqliteStore, count: int, size: int) -> int:
        key = self.signer.public_key()
        start = [
            self.evidence.boot(self.now_ns, key, "high", {"ended": "clean"}),
            self.evidence.policy(self.now_ns, self.policy, "active", "start"),
        ]
        store.commit(Commit(evidence=tuple(start)))
        made = 0
        records = self._records(size)
        store.commit(self._commit([next(records)]))
        while made < count:
            some = [next(records) for _ in range(min(AT_ONCE, count - made))]
            store.commit(self._commit(some))
            made += len(some)
        store.commit(Commit(evidence=self._end(made), snapshot=True))
        return made

    def _commit(self, records: list[SpoolRecord]) -> Commit:
        told = [
            self.evidence.record(
                self.now_ns,
                one,
                self.destination.region,
                [(self.rule.name, one.samples, False)] if one.samples else [],
            )
            for one in records
        ]
        return Commit(records=tuple(records), evidence=tuple(told))

    def _end(self, made: int) -> tuple[bytes, ...]:
        place = (self.destination.name, self.label, self.rule.name)
        rows = [
            CounterRow("", self.label, "backlog", "test", Outcome.READ, made, 0),
            CounterRow(*place, self.rule.action.name.lower(), Outcome.SENT, made, 0),
        ]
        told = self.evidence.counters(self.now_ns, self.now_ns + 1, rows, 0)
        return (*told, self.evidence.stop(self.now_ns, "test"))

    def _records(self, size: int) -> Iterator[SpoolRecord]:
        """Yield the announcement of an epoch, and envelopes under it for ever."""
        cards = [self.accepted.cards[name] for name in self.destination.recipients]
        encoder = ContentEncoder()
        told = Definition(ITEM, "", "test", "test", "", "test", Kind.TEXT, 1.0, 0.0)
        dictionary = encoder.encode(*empty_content(), {NUMBER: told})
        wording = Wording({}, {}, np.zeros(0, np.bool_))
        place = Place(self.destination.name, self.label, "data", self.destination.suite)
        epoch, message = begin(
            place, cards, (wording, dictionary), self.boot, self.signer, os.urandom,
            self.now_ns,
        )  # fmt: skip
        yield self._spooled("key", Rank.CONTROL, epoch.epoch, 0, message)
        assert epoch.aead is not None
        rows, is_float, _ = empty_content()
        while True:
            epoch.sequence += 1
            text = os.urandom(size - 256)
            texts = TextBatch(
                np.array([self.now_ns + epoch.sequence]),
                np.array([NUMBER], np.uint32),
                (text,),
            )
            header = encode_header(
                Header(
                    place.suite, self.signer.device, epoch.epoch, epoch.sequence,
                    self.policy.digest, self.label, place.destination, self.now_ns,
                )
            )  # fmt: skip
            content = encoder.encode(rows, is_float, texts, {})
            sealed = epoch.aead.encrypt(nonce(epoch.sequence), content, header)
            yield self._spooled(
                "data", rank_of(self.label), epoch.epoch, epoch.sequence,
                encode_envelope(header, sealed),
            )  # fmt: skip

    def _spooled(
        self, kind: str, rank: Rank, epoch: bytes, sequence: int, body: bytes
    ) -> SpoolRecord:
        return SpoolRecord(
            kind, self.destination.name, rank, self.label, epoch, sequence,
            self.now_ns, body, self.destination.confirm, 1 if sequence else 0,
        )  # fmt: skip


def main() -> None:
    """Fill the store that the arguments name."""
    os.umask(0o077)
    config, total, *size = sys.argv[1:]
    start = time.perf_counter()
    made = Builder(Path(config)).fill(int(total), int(*size or ["8192"]))
    seconds = time.perf_counter() - start
    sys.stdout.write(f"{made} envelopes, {total} bytes, {seconds:.1f} s\n")


if __name__ == "__main__":
    main()
