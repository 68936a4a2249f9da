"""``make bench``: DESIGN section 11's rows in one run, written to docs/performance.md.

Every section is a process of its own, so that imports and memory of one do not weigh on
another. What fails, or a peer that is missing, is a row that says so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = (
    "decode",
    "captures",
    "path",
    "wire",
    "memory",
    "start",
    "push",
    "evidence",
    "audit",
    "trust",
    "rollout",
    "live",
    "vm",
    "modbus_proxy",
    "modbus_judge",
    "modbus_passive",
)
SECTION_S = 240
LONGER_S = {"vm": 900, "rollout": 3600}  # 50,000 bundles are verified, by a core or two
DOCUMENT = ROOT / "docs" / "performance.md"


def measure(section: str) -> tuple[list[dict[str, Any]], float]:
    """Run one section in its own process; return its rows and its seconds."""
    start, limit_s = time.monotonic(), LONGER_S.get(section, SECTION_S)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bench.section", section],
            cwd=ROOT, capture_output=True, timeout=limit_s, check=False,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return [failed(section, f"not done after {limit_s} s")], limit_s
    took = time.monotonic() - start
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    if done.returncode or not lines:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return [failed(section, said[-1] if said else "no reason given")], took
    rows: list[dict[str, Any]] = json.loads(lines[-1])
    return rows, took


def failed(section: str, reason: str) -> dict[str, Any]:
    """Return the row of a section that could not be measured."""
    return {
        "what": section, "ours": "NOT MEASURED", "peer": "", "peer_value": reason[:160],
        "ratio": "", "budget": "", "met": False,
    }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    """Return a row as a line for people."""
    verdict = {True: "met", False: "NOT MET", None: ""}[row["met"]]
    beside = f"{row['peer']} {row['peer_value']}".strip()
    cells = (row["what"], row["ours"], beside, row["ratio"], row["budget"], verdict)
    return " | ".join(cell for cell in cells if cell)


def main(arguments: list[str]) -> int:
    """Measure the sections; 0 whatever the budgets say, 1 where a section failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=str(SECTIONS))
    parser.add_argument(
        "--write", action="store_true", help="write the sections that are named, too"
    )
    told = parser.parse_args(arguments)
    chosen = told.sections or list(SECTIONS)
    unknown = sorted(set(chosen) - set(SECTIONS))
    if unknown:
        parser.error(f"no such section: {', '.join(unknown)}")
    results: dict[str, list[dict[str, Any]]] = {}
    for number, section in enumerate(chosen, 1):
        if sys.stderr.isatty():
            print(f"\r[{number}/{len(chosen)}] {section} ...", end="", file=sys.stderr)
        rows, took = measure(section)
        results[section] = rows
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
        print(f"{section} ({took:.0f} s)")
        for row in rows:
            print(f"  {line(row)}", flush=True)
    whole = chosen == list(SECTIONS)
    if whole or told.write:
        only = [] if whole else ["--only"]
        written = subprocess.run(
            [sys.executable, "-m", "bench.report", str(DOCUMENT), *only],
            cwd=ROOT, input=json.dumps(results).encode(), check=False,
        )  # fmt: skip
        print(f"written: {DOCUMENT.relative_to(ROOT)}")
        return written.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
