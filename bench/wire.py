"""Bytes per sample on the wire: ours beside Parquet and JSON lines, both with zstd.

The same samples for all: every bound signal that a catalogue knows. Ours are whole
envelopes (header, columns, zstd, AES-GCM tag), told without and with the announcement
of their epoch, as if it served these few seconds alone. Parquet is written in several
ways, and the smallest counts. Run alone: ``python -m bench.wire``.
"""

from __future__ import annotations

import datetime as dt
import io
import itertools
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from agent.records import Arrival
from bench import drive
from bench.row import Row
from firmware_sim.scenario import VehicleScenario, load_scenario
from firmware_sim.traffic import Traffic
from fleet.keys import generate
from protocols.can.decode import decode
from protocols.samples import SampleBatch, concat_samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from policies.compile import Compiled
    from protocols.frames import FrameBatch

RECIPIENT = "oem-2026"
WINDOW_NS = 100_000_000  # the daemon's batch window; DESIGN section 4
DRIVE_NS = 60 * 10**9
PARQUET_BUDGET = 1.0
JSON_BUDGET = 0.15
LEVELS = (3, 9)
TEXTS_MAX = 10  # VINs: they weigh on our envelopes and are not in the peers' files
SCENARIOS = Path(__file__).resolve().parents[1] / "firmware_sim" / "scenarios"


class Ours(NamedTuple):
    """What our envelopes took."""

    samples: int
    batches: int
    envelopes: int
    announcements: int


def by_time(frames: FrameBatch) -> list[FrameBatch]:
    """Return the batches that the daemon makes of live traffic."""
    window = (frames.time_ns - frames.time_ns[0]) // WINDOW_NS
    edges = [0, *(np.flatnonzero(np.diff(window)) + 1).tolist(), len(frames)]
    return [frames.take(slice(a, b)) for a, b in itertools.pairwise(edges)]


def ours(policy: Compiled, batches: Sequence[FrameBatch], folder: Path) -> Ours:
    """Seal every batch for a real recipient; count the bytes that would be sent."""
    today = dt.datetime.now(dt.UTC).date()
    card = generate(RECIPIENT, today, today).card()
    line = drive.put_together(policy, folder, {RECIPIENT: card})
    commits = [line.flow.process(Arrival(int(b.time_ns[-1]), b)) for b in batches]
    line.store.close()
    sent = [record for commit in commits for record in commit.records]
    data = [record for record in sent if record.kind == "data"]
    keys = {record.epoch for record in data}
    return Ours(
        sum(record.samples for record in data),
        len(data),
        sum(len(record.body) for record in data),
        sum(len(r.body) for r in sent if r.kind == "key" and r.epoch in keys),
    )


def samples_of(policy: Compiled, frames: FrameBatch) -> SampleBatch:
    """Return what the envelopes hold: the samples of classified items."""
    samples = decode(policy.plan, frames).samples
    return samples.take(policy.policy.items.classified[samples.item])


def _orders(samples: SampleBatch) -> Iterator[SampleBatch]:
    yield samples
    yield samples.take(np.lexsort((samples.time_ns, samples.item)))


def parquet(names: Sequence[str], samples: SampleBatch) -> int:
    """Return the bytes of the smallest Parquet file (zstd) of these samples."""
    dictionary = pa.array(list(names))
    sizes = []
    for order in _orders(samples):
        table = pa.table(
            {
                "item": pa.DictionaryArray.from_arrays(
                    pa.array(order.item.astype(np.int32)), dictionary
                ),
                "time": pa.array(order.time_ns),
                "value": pa.array(order.value),
            }
        )
        for level, value in itertools.product(LEVELS, ("", "BYTE_STREAM_SPLIT")):
            encoding = {"time": "DELTA_BINARY_PACKED"}
            plain = ["item", "value"]
            if value:
                encoding["value"], plain = value, ["item"]
            file = io.BytesIO()
            pq.write_table(
                table, file, compression="zstd", compression_level=level,
                use_dictionary=plain, column_encoding=encoding,
                write_statistics=False, store_schema=False,
            )  # fmt: skip
            sizes.append(file.getbuffer().nbytes)
    return min(sizes)


def json_lines(names: Sequence[str], samples: SampleBatch) -> int:
    """Return the bytes of the samples as JSON lines in one zstd frame."""
    lines = (
        json.dumps({"time": time_ns, "item": names[item], "value": value})
        for time_ns, item, value in zip(
            samples.time_ns.tolist(), samples.item.tolist(), samples.value.tolist(),
            strict=True,
        )
    )  # fmt: skip
    return len(zstandard.ZstdCompressor(level=3).compress("\n".join(lines).encode()))


def measure(
    name: str, policy: Compiled, batches: Sequence[FrameBatch], folder: Path
) -> list[Row]:
    """Return the rows of one recording cut into batches in one way."""
    mine = ours(policy, batches, folder)
    parts = [samples_of(policy, batch) for batch in batches]
    whole = concat_samples(parts)
    if not 0 <= mine.samples - len(whole) <= TEXTS_MAX:
        raise RuntimeError(f"{name}: {mine.samples} sent, {len(whole)} compared")
    names = policy.policy.items.name
    with_key = mine.envelopes + mine.announcements
    peers = (
        ("Parquet + zstd, one file a batch", sum(parquet(names, p) for p in parts),
         PARQUET_BUDGET),
        ("Parquet + zstd, one file for all", parquet(names, whole), PARQUET_BUDGET),
        ("JSON lines + zstd, one frame a batch",
         sum(json_lines(names, p) for p in parts), JSON_BUDGET),
        ("JSON lines + zstd, one frame for all", json_lines(names, whole), JSON_BUDGET),
    )  # fmt: skip
    per = 1 / len(whole)
    return [
        Row(
            what=f"bytes per sample, {name}: {len(whole):,} samples in"
            f" {mine.batches:,} envelopes",
            ours=f"{mine.envelopes * per:.2f} B ({with_key * per:.2f} B with the"
            f" announcement of {mine.announcements:,} B)",
            peer=peer,
            peer_value=f"{size * per:.2f} B",
            ratio=f"{mine.envelopes / size:.3f} ({with_key / size:.3f})",
            budget=f"<= {budget:g}",
            met=with_key <= budget * size,
        )
        for peer, size, budget in peers
    ]


def rows(data: Path) -> list[Row]:
    """Return DESIGN section 11's rows for the bytes on the wire."""
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        file = drive.policy_file("everything", folder)
        scenario = load_scenario("city-drive")
        assert isinstance(scenario, VehicleScenario)
        traffic = Traffic(scenario)
        simulated = traffic.frames(0, DRIVE_NS)
        city = drive.compiled(SCENARIOS, file, "sim-vehicle")
        inputs = [
            ("city-drive 60 s", city, simulated, traffic.buses),
        ]
        if (data / drive.FOLDER).is_dir():
            real, buses = drive.drive(data, 1)
            rav4 = drive.compiled(data / drive.FOLDER, file)
            inputs.insert(0, ("comma2k19 5 s", rav4, real, buses))
        for name, policy, recorded, buses in inputs:
            frames = drive.renumbered(recorded, buses, policy.buses)
            for cut, batches in (
                ("4,096-frame batches", drive.batches(frames)),
                ("100 ms batches", by_time(frames)),
            ):
                found += measure(f"{name}, {cut}", policy, batches, folder)
    return found


def main() -> int:
    """Print the rows; 1 where a budget is missed."""
    found = rows(drive.data_folder())
    for row in found:
        print(" | ".join(str(cell) for cell in row))
    return 0 if all(row.met is not False for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
