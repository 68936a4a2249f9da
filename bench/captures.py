"""Reading captures: ours beside python-can's readers, same files, medians of one run.

Run alone: ``python -m bench.captures``. The files are in the page cache for both; ours
goes through the adapter (detection, chunks, batches of 4,096), as `scan` does.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agent.adapters.captures import open_capture, write_candump
from bench.row import Row
from protocols.frames import FrameBatch, concat_frames

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 7
COPIES = 12  # of the 8,233 real frames
SLICE_S = 5
CANDUMP_BUDGET = 8.0
BLF_BUDGET = 3.0


def _drive(data: Path) -> tuple[FrameBatch, list[str]]:
    """Return the real drive, repeated one after the other."""
    source = data / "can-comma2k19-rav4" / "rav4_5s.candump.log"
    with open_capture(source) as capture:
        once = concat_frames(list(capture.batches()))
    buses = capture.buses
    repeated = concat_frames([once] * COPIES)
    copy = np.repeat(np.arange(COPIES, dtype=np.int64), len(once))
    return FrameBatch(
        repeated.time_ns + copy * SLICE_S * 10**9 + 1_700_000_000 * 10**9,
        repeated.bus, repeated.ident, repeated.size, repeated.flags, repeated.payload,
    ), buses  # fmt: skip


def _write_blf(path: Path, log: Path) -> None:
    """Convert with python-can, so that the file is one of its own."""
    import can

    with can.CanutilsLogReader(log) as reader, can.BLFWriter(path) as writer:
        for message in reader:
            message.channel = int(str(message.channel).removeprefix("can"))
            writer.on_message_received(message)


def _ours(path: Path) -> int:
    with open_capture(path) as capture:
        return sum(map(len, capture.batches()))


def _theirs(path: Path) -> int:
    import can

    with can.LogReader(path) as reader:
        return sum(1 for _ in reader)


def _seconds(
    path: Path, sides: tuple[Callable[[Path], int], ...], frames: int
) -> list[float]:
    """Return the median of each side; runs take turns, so noise hits both."""
    taken: list[list[float]] = [[] for _ in sides]
    for _ in range(RUNS):
        for side, times in zip(sides, taken, strict=True):
            start = time.perf_counter()
            read = side(path)
            times.append(time.perf_counter() - start)
            if read != frames:
                raise RuntimeError(f"{path.name}: read {read} of {frames} frames")
    return [statistics.median(times) for times in taken]


def _row(name: str, budget: float, path: Path, frames: int) -> Row:
    ours, theirs = _seconds(path, (_ours, _theirs), frames)
    ratio = theirs / ours
    return Row(
        what=f"reading {name}, {frames:,} frames",
        ours=f"{frames / ours:,.0f} frames/s",
        peer="python-can",
        peer_value=f"{frames / theirs:,.0f} frames/s",
        ratio=f"{ratio:.1f}x",
        budget=f">= {budget:g}x",
        met=ratio >= budget,
    )


def rows(data: Path) -> list[Row]:
    """Return DESIGN section 11's rows for capture reading."""
    frames, buses = _drive(data)
    with tempfile.TemporaryDirectory() as folder:
        log, blf = Path(folder, "drive.log"), Path(folder, "drive.blf")
        write_candump(log, frames, buses)
        _write_blf(blf, log)
        return [
            _row("candump", CANDUMP_BUDGET, log, len(frames)),
            _row("BLF", BLF_BUDGET, blf, len(frames)),
        ]


def main() -> int:
    """Print the rows; 1 where a budget is missed."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    found = rows(Path(os.environ.get("SLUICEGATE_DATA", beside)))
    for row in found:
        print(" | ".join(str(cell) for cell in row))
    return 0 if all(row.met for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
