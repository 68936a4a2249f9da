"""The whole path on one core: a recording in, committed envelopes out.

Beside it thingsboard-gateway's CAN converter, alone: no bus, no queue, no storage, no
protection; it turns the bytes of one frame into the same signals' values. Both take the
same frames and give the same signals. Run alone: ``python -m bench.path``.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agent.adapters.captures import open_capture, write_candump
from agent.limits import BATCH_FRAMES_MAX
from bench import drive, thingsboard
from bench.row import Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.drive import Line
    from protocols.frames import FrameBatch

COPIES = 50  # 411,650 frames
RUNS = 5
FRAMES_BUDGET = 500_000
RATIO_BUDGET = 40.0
PEER_FRAMES = 4 * 8_233


def one_core() -> None:
    """Keep this process (and its children) on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _seconds(
    sides: dict[str, tuple[str, Callable[[Line], int]]], data: Path, folder: Path
) -> dict[str, float]:
    """Return the median per side; a new flow and store for every run, not timed."""
    policies = {
        name: drive.compiled(data / drive.FOLDER, drive.policy_file(policy, folder))
        for name, (policy, _) in sides.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(RUNS):
        for name, (_, move) in sides.items():
            line = drive.put_together(policies[name], folder)
            start = time.perf_counter()
            frames = move(line)
            taken[name].append((time.perf_counter() - start) / frames)
            line.store.close()
    return {name: statistics.median(times) for name, times in taken.items()}


def _from_file(line: Line, log: Path, known: tuple[str, ...]) -> int:
    with open_capture(log, BATCH_FRAMES_MAX) as capture:
        return drive.run(
            line,
            (drive.renumbered(b, capture.buses, known) for b in capture.batches()),
        )


def rows(data: Path) -> list[Row]:
    """Return DESIGN section 11's rows for the path."""
    one_core()
    recorded, buses = drive.drive(data, COPIES)
    known = drive.compiled(data / drive.FOLDER, drive.FLEET).buses
    frames = drive.renumbered(recorded, buses, known)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        log = folder / "drive.log"
        write_candump(log, recorded, buses)
        ready = drive.batches(frames)
        sides: dict[str, tuple[str, Callable[[Line], int]]] = {
            "candump file, passenger-fleet": (
                drive.FLEET, lambda line: _from_file(line, log, known),
            ),
            "batches in memory, passenger-fleet": (
                drive.FLEET, lambda line: drive.run(line, ready),
            ),
            "candump file, everything sent": (
                "everything", lambda line: _from_file(line, log, known),
            ),
            "batches in memory, everything sent": (
                "everything", lambda line: drive.run(line, ready),
            ),
        }  # fmt: skip
        took = _seconds(sides, data, folder)
    found = [
        Row(
            what=f"path to committed envelopes, {name}, {len(frames):,} frames",
            ours=f"{1 / seconds:,.0f} frames/s",
            peer="",
            peer_value="",
            ratio="",
            budget=f">= {FRAMES_BUDGET:,} frames/s",
            met=1 / seconds >= FRAMES_BUDGET,
        )
        for name, seconds in took.items()
    ]
    return [*found, *_beside(data, frames.take(slice(0, PEER_FRAMES)), took)]


def _beside(data: Path, frames: FrameBatch, took: dict[str, float]) -> list[Row]:
    """Return our slowest way with each policy beside the converter."""
    theirs = thingsboard.measure(data, frames)
    found: list[Row] = []
    for policy in ("passenger-fleet", "everything sent"):
        name = f"candump file, {policy}"
        ratio = 0.0 if isinstance(theirs, str) else theirs.seconds / took[name]
        found.append(
            Row(
                what=f"path, {name}, beside a converter alone",
                ours=f"{1 / took[name]:,.0f} frames/s",
                peer=thingsboard.NAME,
                peer_value=theirs
                if isinstance(theirs, str)
                else f"{1 / theirs.seconds:,.0f} frames/s ({theirs.version})",
                ratio=f"{ratio:.0f}x" if ratio else "",
                budget=f">= {RATIO_BUDGET:.0f}x",
                met=ratio >= RATIO_BUDGET if ratio else None,
            )
        )
    return found


def main() -> int:
    """Print the rows; 1 where a budget is missed."""
    found = rows(drive.data_folder())
    for row in found:
        print(" | ".join(str(cell) for cell in row))
    return 0 if all(row.met for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
