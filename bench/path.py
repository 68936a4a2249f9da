"""The whole path on one core: a recording in, committed envelopes out.

Beside it thingsboard-gateway's CAN converter, alone: no bus, no queue, no storage, no
protection; it turns the bytes of one frame into the same signals' values. Both take the
same frames and give the same signals. Run alone: ``python -m bench.path``.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agent.adapters.captures import open_capture, write_candump
from agent.limits import BATCH_FRAMES_MAX
from bench import drive, thingsboard
from bench.decode import synthetic
from bench.row import Row
from protocols.frames import FrameBatch, concat_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.drive import Line
    from policies.compile import Compiled

COPIES = 50  # 411,650 frames
DENSE_COPIES = 4  # 240,000 frames
RUNS = 5
FRAMES_BUDGET = 500_000
RATIO_BUDGET = 40.0
PEER_FRAMES = 30_000


class Recording(NamedTuple):
    """Frames as a capture has them, and what to decide about them with."""

    name: str
    frames: FrameBatch
    buses: list[str]
    policies: dict[str, Compiled]

    @property
    def known(self) -> tuple[str, ...]:
        """Return the bus names of the policies: they share their bindings."""
        return next(iter(self.policies.values())).buses

    def renumbered(self) -> FrameBatch:
        """Return the frames with the policies' bus numbers."""
        return drive.renumbered(self.frames, self.buses, self.known)


def one_core() -> None:
    """Keep this process (and its children) on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def sparse(data: Path, folder: Path) -> Recording:
    """Return the real drive with the shipped bindings, under two policies."""
    frames, buses = drive.drive(data, COPIES)
    databases = data / drive.FOLDER
    everything = drive.policy_file("everything", folder)
    policies = {
        drive.FLEET: drive.compiled(databases, drive.FLEET),
        "everything sent": drive.compiled(databases, everything),
    }
    return Recording("sparse (comma2k19)", frames, buses, policies)


def dense(folder: Path) -> Recording:
    """Return 60 messages of six signals, every one bound, all sent."""
    _, dbc, once = synthetic(folder)
    many = concat_frames([once] * DENSE_COPIES)
    times = np.arange(len(many), dtype=np.int64) * 100_000 + 1_700_000_000 * 10**9
    frames = replace(many, time_ns=times)
    bound = drive.bind_all(dbc, folder)
    everything = drive.policy_file("everything", folder)
    policies = {"everything sent": drive.compiled(folder, everything, bound)}
    return Recording("dense (60 messages)", frames, ["can0"], policies)


def _from_file(line: Line, log: Path, known: tuple[str, ...]) -> int:
    with open_capture(log, BATCH_FRAMES_MAX) as capture:
        return drive.run(
            line,
            (drive.renumbered(b, capture.buses, known) for b in capture.batches()),
        )


def seconds_of(given: Recording, folder: Path) -> dict[tuple[str, str], float]:
    """Return the median s per frame by (policy, source); runs take turns.

    A new flow and a new store for every run, not timed.
    """
    log = folder / "recording.log"
    write_candump(log, given.frames, given.buses)
    ready = drive.batches(given.renumbered())
    sources: dict[str, Callable[[Line], int]] = {
        "candump file": lambda line: _from_file(line, log, given.known),
        "batches in memory": lambda line: drive.run(line, ready),
    }
    taken: dict[tuple[str, str], list[float]] = {}
    for _ in range(RUNS):
        for (policy, compiled), (source, move) in itertools.product(
            given.policies.items(), sources.items()
        ):
            line = drive.put_together(compiled, folder)
            start = time.perf_counter()
            frames = move(line)
            took = (time.perf_counter() - start) / frames
            taken.setdefault((policy, source), []).append(took)
            line.store.close()
    return {side: statistics.median(times) for side, times in taken.items()}


def measured(given: Recording, folder: Path) -> list[Row]:
    """Return the rows of one recording, ours alone and beside the converter."""
    took = seconds_of(given, folder)
    compiled = next(iter(given.policies.values()))  # all have the same signals
    some = given.renumbered().take(slice(0, PEER_FRAMES))
    theirs = thingsboard.measure(compiled, some)
    found: list[Row] = []
    for (policy, source), seconds in took.items():
        what = f"path, {given.name}, {policy}, from {source}"
        ours = f"{1 / seconds:,.0f} frames/s"
        budget = f">= {FRAMES_BUDGET:,} frames/s"
        found.append(Row(what, ours, "", "", "", budget, 1 / seconds >= FRAMES_BUDGET))
        budget = f">= {RATIO_BUDGET:.0f}x"
        if isinstance(theirs, str):
            found.append(Row(what, ours, thingsboard.NAME, theirs, "", budget, None))
            continue
        ratio = theirs.seconds / seconds
        rate = f"{1 / theirs.seconds:,.0f} frames/s"
        peer = f"{thingsboard.NAME} {theirs.version}"
        ok = ratio >= RATIO_BUDGET
        found.append(Row(what, ours, peer, rate, f"{ratio:.1f}x", budget, ok))
    return found


def rows(data: Path) -> list[Row]:
    """Return DESIGN section 11's rows for the path."""
    one_core()
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if (data / drive.FOLDER).is_dir():
            found += measured(sparse(data, folder), folder)
        found += measured(dense(folder), folder)
    return found


def main() -> int:
    """Print the rows; 1 where a budget is missed."""
    found = rows(drive.data_folder())
    for row in found:
        print(" | ".join(str(cell) for cell in row))
    return 0 if all(row.met for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
