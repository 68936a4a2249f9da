"""Records and openers that the store's tests share."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from agent.adapters.sqlite_open import StoreOptions, open_store
from agent.records import Rank, RetainedRecord, SpoolRecord

if TYPE_CHECKING:
    from pathlib import Path

    from agent.adapters.sqlite_store import SqliteStore
    from agent.records import Eviction
    from agent.store.salvage import Break

EPOCH = bytes(range(16))
MIB = 1024 * 1024


def witness(cause: str, lost: tuple[Eviction, ...]) -> bytes:
    rows = [[e.kind, e.label, e.records, e.bytes_used, e.samples] for e in lost]
    places = [[[k.hex(), a, b] for k, a, b in e.epoch_ranges] for e in lost]
    return json.dumps({"loss": cause, "rows": rows, "places": places}).encode()


def broken(result: Break) -> bytes:
    facts = asdict(result) | {"log_id": result.log_id.hex()}
    return json.dumps({"broken": facts}).encode()


def opened(
    path: Path, cap_bytes: int = 64 * MIB, retained_bytes: int = 64 * MIB
) -> SqliteStore:
    return open_store(path, StoreOptions(cap_bytes, retained_bytes, witness, broken))


def spool_record(
    sequence: int,
    rank: Rank = Rank.GENERAL,
    size: int = 100,
    *,
    kind: str = "data",
    destination: str = "oem",
    label: int = 5,
    epoch: bytes = EPOCH,
    confirm: str = "receipt",
) -> SpoolRecord:
    body = (sequence % 2**32).to_bytes(4, "big") * (size // 4 + 1)
    return SpoolRecord(
        kind,
        destination,
        rank,
        label,
        epoch,
        sequence,
        1_000 + sequence,
        body[:size],
        confirm,
        samples=3,
    )


def retained_record(sequence: int, expires_ns: int, size: int = 100) -> RetainedRecord:
    body = sequence.to_bytes(4, "big") * (size // 4 + 1)
    return RetainedRecord(
        "location.precise", 7, EPOCH, sequence, 1_000, expires_ns, body[:size], 2
    )
