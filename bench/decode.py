"""Decoding CAN frames: ours beside cantools and asammdf, same frames, same signals.

Run alone: ``python -m bench.decode``. Ours decodes batches of 1,024 frames; cantools
decodes frame by frame; asammdf extracts the whole MF4 at once, with its database loaded
beforehand and the file open (what it reads from the file is in the page cache).
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from bench.row import Row
from protocols.can.database import Database, load_database
from protocols.can.decode import decode
from protocols.can.plan import DecodePlan, SignalBinding, compile_plan
from protocols.frames import FrameBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    import cantools
    from asammdf import MDF
    from canmatrix import CanMatrix

BATCH_FRAMES = 1024
RUNS = 5
RUN_S = 0.1
SLICE_COPIES = 8  # 8,233 frames a copy
SYNTHETIC_MESSAGES = 60
SYNTHETIC_FRAMES = 60_000
CANTOOLS_BUDGET = 10.0
ASAMMDF_BUDGET = 3.0


class Input(NamedTuple):
    """One input for all: a database and the frames of it."""

    name: str
    dbc: Path
    frames: FrameBatch


def comma2k19(data: Path) -> Input:
    """Return the real drive, repeated, with its database."""
    folder = data / "can-comma2k19-rav4"
    lines = (folder / "rav4_5s.candump.log").read_text().splitlines()
    ident = np.empty(len(lines), np.uint32)
    size = np.empty(len(lines), np.uint8)
    payload = np.zeros((len(lines), 8), np.uint8)
    times = np.empty(len(lines), np.int64)
    for row, line in enumerate(lines):
        stamp, _, frame = line.split()
        number, _, text = frame.partition("#")
        data_bytes = bytes.fromhex(text)
        times[row] = int(stamp.strip("()").replace(".", "")) * 1000
        ident[row], size[row] = int(number, 16), len(data_bytes)
        payload[row, : len(data_bytes)] = np.frombuffer(data_bytes, np.uint8)
    span = int(times[-1] - times[0]) + 1_000_000
    count = SLICE_COPIES * len(lines)
    frames = FrameBatch(
        np.concatenate([times + k * span for k in range(SLICE_COPIES)]),
        np.zeros(count, np.uint8),
        np.tile(ident, SLICE_COPIES),
        np.tile(size, SLICE_COPIES),
        np.zeros(count, np.uint8),
        np.tile(payload, (SLICE_COPIES, 1)),
    )
    return Input("comma2k19", folder / "_toyota_2017.dbc", frames)


def synthetic(folder: Path) -> Input:
    """Return 60 messages of six signals (both byte orders, signed, scaled) and frames.

    The frames come at random but seeded, every message as often.
    """
    lines = ['VERSION ""', "NS_ :", "BS_:", "BU_: XXX"]
    for number in range(SYNTHETIC_MESSAGES):
        lines.append(f"BO_ {256 + number} MESSAGE_{number}: 8 XXX")
        places = (
            "0|8@1+ (1,0)",
            "8|12@1- (0.1,-40)",
            "20|4@1+ (1,0)",
            "31|16@0- (0.01,0)",
            "47|12@0+ (0.5,10)",
            "56|8@1+ (1,0)",
        )
        lines += [
            f' SG_ S_{number}_{at} : {place} [0|0] "" XXX'
            for at, place in enumerate(places)
        ]
    dbc = folder / "synthetic.dbc"
    dbc.write_text("\n".join(lines) + "\n")
    rng = np.random.default_rng(60)
    count = SYNTHETIC_FRAMES
    frames = FrameBatch(
        np.arange(count, dtype=np.int64) * 100_000,
        np.zeros(count, np.uint8),
        (256 + rng.integers(0, SYNTHETIC_MESSAGES, count)).astype(np.uint32),
        np.full(count, 8, np.uint8),
        np.zeros(count, np.uint8),
        rng.integers(0, 256, (count, 8), np.uint8),
    )
    return Input("60 messages", dbc, frames)


def _plan(database: Database) -> DecodePlan:
    """Bind every signal: the peers decode them all, too."""
    named = {
        (message.ident, signal.name): None
        for message in database.messages
        for signal in message.signals
    }
    bindings = [
        SignalBinding(0, ident, ((name, 1),), item)
        for item, (ident, name) in enumerate(named)
    ]
    return compile_plan(bindings, {0: [database]})


def _ours(plan: DecodePlan, frames: FrameBatch) -> int:
    samples = 0
    for start in range(0, len(frames), BATCH_FRAMES):
        batch = frames.take(slice(start, start + BATCH_FRAMES))
        samples += len(decode(plan, batch).samples)
    return samples


def _cantools(
    database: cantools.database.can.Database,
    known: frozenset[int],
    rows: list[tuple[int, bytes]],
) -> int:
    samples = 0
    for ident, data in rows:
        if ident in known:
            samples += len(database.decode_message(ident, data, decode_choices=False))
    return samples


def _write_mf4(frames: FrameBatch, path: Path) -> None:
    import can
    from can.io.mf4 import MF4Writer

    with MF4Writer(path) as writer:
        for at, ident, size, payload in zip(
            frames.time_ns.tolist(),
            frames.ident.tolist(),
            frames.size.tolist(),
            frames.payload,
            strict=True,
        ):
            writer.on_message_received(
                can.Message(
                    timestamp=at / 1e9,
                    arbitration_id=ident,
                    is_extended_id=False,
                    data=bytes(payload[:size]),
                )
            )


def _asammdf(mdf: MDF, matrix: CanMatrix) -> int:
    extracted = mdf.extract_bus_logging(
        {"CAN": [(matrix, 0)]}, ignore_value2text_conversion=True
    )
    samples = sum(
        extracted.groups[at].channel_group.cycles_nr
        * (len(extracted.groups[at].channels) - 1)
        for at in range(len(extracted.groups))
    )
    extracted.close()
    return int(samples)


def _timed(calls: dict[str, Callable[[], int]]) -> dict[str, float]:
    """Return median seconds of each call; the calls take turns against noise.

    A run repeats its call for at least RUN_S, so that each is measured in its own
    steady state and not on the caches that another left.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(RUNS):
        for name, call in calls.items():
            start = time.perf_counter()
            took, times = 0.0, 0
            while took < RUN_S:
                call()
                times += 1
                took = time.perf_counter() - start
            seconds[name].append(took / times)
    return {name: statistics.median(runs) for name, runs in seconds.items()}


def measure(given: Input, folder: Path) -> list[Row]:
    """Measure one input; the numbers of samples must agree, or it is no comparison."""
    import cantools
    from asammdf import MDF
    from asammdf.blocks.utils import load_can_database

    frames = given.frames
    plan = _plan(load_database(given.dbc))
    parsed = cast(
        "cantools.database.can.Database",
        cantools.database.load_file(given.dbc, strict=False),
    )
    known = frozenset(message.frame_id for message in parsed.messages)
    rows = [
        (ident, bytes(payload[:size]))
        for ident, size, payload in zip(
            frames.ident.tolist(), frames.size.tolist(), frames.payload, strict=True
        )
    ]
    path = folder / f"{given.name.replace(' ', '_')}.mf4"
    _write_mf4(frames, path)
    matrix = load_can_database(given.dbc)
    with MDF(path) as mdf:
        calls = {
            "ours": lambda: _ours(plan, frames),
            "cantools": lambda: _cantools(parsed, known, rows),
            "asammdf": lambda: _asammdf(mdf, matrix),
        }
        counted = {name: call() for name, call in calls.items()}
        if counted["ours"] != counted["cantools"]:
            raise SystemExit(f"{given.name}: not the same samples: {counted}")
        seconds = _timed(calls)
    peers = (("cantools", CANTOOLS_BUDGET), ("asammdf", ASAMMDF_BUDGET))
    per_frame = {name: took / len(frames) * 1e6 for name, took in seconds.items()}
    return [
        Row(
            what=f"decode, {given.name}, {counted['ours']:,} samples",
            ours=f"{per_frame['ours']:.3f} us/frame",
            peer=name if counted[name] == counted["ours"]
            else f"{name} ({counted[name]:,} samples)",
            peer_value=f"{per_frame[name]:.3f} us/frame",
            ratio=f"{seconds[name] / seconds['ours']:.1f}x",
            budget=f">= {budget:.0f}x",
            met=seconds[name] / seconds["ours"] >= budget,
        )
        for name, budget in peers
    ]  # fmt: skip


def rows(data: Path) -> list[Row]:
    """Return the decode rows of the performance table; ``data`` holds the captures."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        inputs = [synthetic(folder)]
        if (data / "can-comma2k19-rav4").is_dir():
            inputs.insert(0, comma2k19(data))
        return [row for given in inputs for row in measure(given, folder)]


def main() -> None:
    """Print the rows; end with 1 where a budget is not kept."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    found = rows(Path(os.environ.get("SLUICEGATE_DATA", beside)))
    for row in found:
        print(" | ".join(str(cell) for cell in row))
    sys.exit(0 if all(row.met is not False for row in found) else 1)


if __name__ == "__main__":
    main()
