"""In a virtual machine: the installed package on eight real, full CAN buses.

User-mode Linux on one processor of this machine: user code runs at its speed, a system
call costs some 50 times more than outside. So shares are those of a slow gateway, and
what calls the kernel once a frame looks worse than it is. Needs `make deb` and root.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from bench.row import Row

ROOT: Final = Path(__file__).resolve().parents[1]
SCENARIO: Final = "bench_can8"
LIMIT_S: Final = 600


def rows(_: Path) -> list[Row]:
    """Return what the scenario measured; one row that says so where it cannot run."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "told.json")
        words = [sys.executable, "-m", "tests.vm", SCENARIO, "--json", str(file)]
        done = subprocess.run(
            words, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S,
            check=False,
        )  # fmt: skip
        if not file.exists():
            return [_away((done.stdout or done.stderr).strip().splitlines())]
        scenarios = json.loads(file.read_text())["scenarios"]
    told = next((one for one in scenarios if one["name"] == SCENARIO), None)
    if told is None or told["failed"]:
        return [_away([told["failed"] if told else "the package did not install"])]
    return _rows({row["what"]: row for row in told["results"]})


def _rows(told: dict[str, dict[str, Any]]) -> list[Row]:
    ours = told["no uncounted loss"]
    theirs = told["python-can's loop on the same traffic"]
    share = theirs["received"] / theirs["sent"]
    return [
        Row(
            f"eight vcan buses, {ours['per_second']:,} frames/s, the whole agent",
            f"{ours['cpu_percent']} % of a core, {ours['us_per_frame']} us a frame,"
            f" {ours['lost']} lost, all counted",
            "python-can, receive only",
            f"{theirs['cpu_percent']} % of a core, {theirs['us_per_frame']} us a frame,"
            f" {1 - share:.0%} lost, none counted",
            f"{theirs['us_per_frame'] / max(ours['us_per_frame'], 0.1):.1f}x",
            "no uncounted loss",
            bool(ours["ok"]),
        )
    ]


def _away(lines: list[str]) -> Row:
    why = lines[-1] if lines else "no reason given"
    return Row(SCENARIO, "not measured", "", why[:160], "", "", None)
