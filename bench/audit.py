"""Verification of evidence: entries a second, offline, on one core.

Run alone: ``python -m bench.audit``. The entries are encoded by the agent's own
``Evidence``, with a checkpoint every 512 of them, a snapshot every 64, and an envelope
received for every one that the log names.
"""

from __future__ import annotations

import hashlib
import statistics
import sys
import time
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.evidence import Evidence
from agent.records import CounterRow, Outcome, Rank, SpoolRecord
from bench.row import Row
from fleet.audit.verify import Verifier
from protocols.tlog.checkpoint import Checkpoint, sign_checkpoint
from protocols.tlog.tree import Growth, leaf_hash

if TYPE_CHECKING:
    from pathlib import Path

ENTRIES = 200_000
RUNS = 3
BUDGET = 100_000
CHECKPOINT_EVERY = 512  # entries of a page, agent/limits.py
SNAPSHOT_EVERY = 64
SAMPLES = 400
DEVICE = "bench"
ORIGIN = f"sluicegate/bench/{DEVICE}/00"
LABEL = 1024


class _Signer:
    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(bytes(32))

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()


def _log(count: int) -> list[bytes]:
    """Return entries as a device makes them in a drive of many batches."""
    evidence = Evidence(DEVICE, bytes(16), "bench")
    key = _Signer().public_key()
    epoch = hashlib.sha256(b"epoch").digest()[:16]
    entries = [evidence.boot(0, key, "high", {})]

    def record(kind: str, sequence: int) -> SpoolRecord:
        body = sequence.to_bytes(8, "big")
        samples = SAMPLES if sequence else 0
        return SpoolRecord(
            kind, "oem", Rank.GENERAL, LABEL, epoch, sequence, 0, body, samples=samples
        )

    entries.append(evidence.record(0, record("key", 0), "CN", []))
    sequence = untold = 0
    while len(entries) < count:
        if len(entries) % SNAPSHOT_EVERY < 2 and untold:
            rows = [
                CounterRow(place, LABEL, rule, "", outcome, untold * SAMPLES, 0)
                for place, rule, outcome in (
                    ("", "driving", Outcome.READ),
                    ("oem", "brake-wear", Outcome.SENT),
                )
            ]
            entries += evidence.counters(0, 10**9, rows, 0)
            untold = 0
            continue
        sequence += 1
        untold += 1
        told = [("brake-wear", SAMPLES, False)]
        entries.append(evidence.record(0, record("data", sequence), "CN", told))
    return entries[:count]


def _notes(entries: list[bytes]) -> list[tuple[int, bytes, bytes]]:
    tree, signer, notes = Growth(0, {}), _Signer(), []
    for start in range(0, len(entries), CHECKPOINT_EVERY):
        tree.append([leaf_hash(e) for e in entries[start : start + CHECKPOINT_EVERY]])
        note = sign_checkpoint(Checkpoint(ORIGIN, tree.size, tree.root()), signer)
        notes.append((tree.size, tree.root(), note))
    return notes


def rows(data: Path | None = None) -> list[Row]:
    """Return the row of the performance table; ``data`` is not needed."""
    del data
    entries = _log(ENTRIES)
    notes = _notes(entries)
    key = _Signer().public_key()
    took = []
    for _ in range(RUNS):
        began = time.perf_counter()
        verifier = Verifier(DEVICE, key)
        verifier.log(ORIGIN, entries, notes)
        took.append(time.perf_counter() - began)
        if not verifier.report.holds or verifier.report.covered != ENTRIES:
            raise SystemExit(f"does not verify: {verifier.report.problems[:3]}")
    rate = ENTRIES / statistics.median(took)
    return [
        Row(
            what=f"audit verify, {ENTRIES:,} entries, {len(notes)} checkpoints",
            ours=f"{rate:,.0f} entries/s",
            peer="",
            peer_value="",
            ratio="",
            budget=f">= {BUDGET:,} entries/s",
            met=rate >= BUDGET,
        )
    ]


def main() -> None:
    """Print the row; end with 1 where the budget is not kept."""
    found = rows()
    for row in found:
        print(" | ".join(str(cell) for cell in row))
    sys.exit(0 if all(row.met is not False for row in found) else 1)


if __name__ == "__main__":
    main()
