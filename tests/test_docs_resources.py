"""docs/resources.md tells the limits that the program has."""

from __future__ import annotations

from pathlib import Path

from agent import descriptors, limits, runtime
from agent.adapters import pythoncan, socketcan, sqlite_connection
from agent.config import Modbus
from agent.sources import batcher, gathering
from agent.sources.frame_ranks import WORDS

PAGE = (Path(__file__).parents[1] / "docs" / "resources.md").read_text("utf-8")
TEXT = " ".join(PAGE.split())
MIB = 1 << 20


def test_the_page_tells_the_numbers_of_the_program() -> None:
    reserve = limits.RESERVE_BYTES // MIB
    told = [
        f"| {pythoncan.QUEUE_FRAMES_MAX:,} a bus |",
        f"| {socketcan.BUFFER_BYTES // MIB} MiB a bus |",
        f"| {batcher.BATCHES_WAITING_MAX} batches of {limits.BATCH_FRAMES_MAX:,} |",
        f"| {gathering.TRANSACTIONS_WAITING_MAX:,} batches |",
        f"| exchanges of taps and proxies | {gathering.EXCHANGES_WAITING_MAX:,} |",
        f"page cache | {sqlite_connection.CACHE_KIB // 1024} MiB |",
        f"passes what waits for {runtime.REST_S:.0f} s",
        f"| `masters`, {Modbus(name='a').masters} if not set |",
        f"| {descriptors.STATUS_MAX}; one more is closed |",
        f"| {descriptors.BASE}, and {descriptors.OF_A_SOURCE} for each bus",
        f"`[spool] max_bytes`, {limits.SPOOL_BYTES_DEFAULT // MIB} MiB if not set",
        f"`[retained] max_bytes`, {limits.RETAINED_BYTES_DEFAULT // MIB} MiB if not",
        f"`[evidence] keep_days`, {limits.EVIDENCE_DAYS_MIN} if not set and at least",
        f"deleted on the device, {limits.PRUNED_AT_ONCE} entries in one transaction",
        f"but for the newest {limits.EVIDENCE_ENTRIES_KEPT_MIN:,} entries",
        f"write-ahead log | {limits.WAL_BYTES_MAX // MIB} MiB |",
        f"| reserve | {reserve} MiB, file `reserve`",
        f"has less than {2 * reserve} MiB free, so that new evidence",
        f"| damaged databases | the newest {limits.ASIDE_KEPT} |",
        f"taken again when {2 * reserve} MiB are free",
        f"room for {limits.SPOOL_BYTES_HELD_MIN // MIB} MiB of what is never shed",
    ]
    assert [one for one in told if one not in TEXT] == []


def test_the_page_names_the_causes_of_the_queue() -> None:
    first, *others = WORDS
    assert f"`batcher {first}`, " + ", ".join(f"`{one}`" for one in others) in TEXT
