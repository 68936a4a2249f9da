"""How the demo ends: the ledger is verified, the gateway's files are searched."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Final

from agent.adapters.processes import run_once

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.commands.demo_parts import Stage

VERIFY_S: Final = 60.0
POSITIONS_MAX: Final = 400
DECIMALS: Final = 5  # about a metre: shorter texts would match by chance
OURS_ONLY: Final = {"vehicle.truth.jsonl", "plant.truth.jsonl"}  # the simulators' own


def verified(stage: Stage) -> tuple[bool, list[str]]:
    """Return whether every check of the ledger holds, and what to print."""
    code, output = run_once(stage.verification(), VERIFY_S)
    try:
        reports = [json.loads(line) for line in output.splitlines()]
    except ValueError:
        return False, output.strip().splitlines()[-5:]
    lines = []
    for one in reports:
        lost = ", ".join(f"{n} {cause}" for cause, n in one["lost"].items())
        lines.append(
            f"evidence of {one['device']}: {one['entries']} entries over {one['boots']}"
            f" starts, {one['covered']} of them under signed checkpoints"
        )
        lines.append(
            f"messages: {one['envelopes']} named by the log, {one['received']} came,"
            f" {one['waiting']} missing; {one['kept']} kept on the device"
        )
        lines.append(f"samples lost with a cause: {lost or 'none'}")
        agree = "agree" if one["holds"] else "DISAGREE"
        lines.append(f"counters, telemetry and log: {agree}")
        lines += [f"  problem: {text}" for text in one["problems"]]
    return code == 0 and bool(reports), lines


def leaks(stage: Stage) -> list[str]:
    """Return where a true position or the VIN stands in what the gateway wrote.

    All files of the gateway, the logs of all processes, and the collector's ledger are
    searched; only the simulators' own records of the truth are not.
    """
    needles = list(_needles(stage.folder / "vehicle.truth.jsonl"))
    found = []
    for file in sorted(stage.folder.rglob("*")):
        if not file.is_file() or file.name in OURS_ONLY or "keys" in file.parts:
            continue
        body = file.read_bytes()
        name = file.relative_to(stage.folder).as_posix()
        found += [f"{name}: {what}" for what, needle in needles if needle in body]
    return found


def _needles(truth: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (what it is, bytes to look for) from the simulated car's truth."""
    positions: set[float] = set()
    with truth.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if "vin" in row:
                yield "VIN", str(row["vin"]).encode()
            positions |= {
                value
                for name, value in row.get("values", {}).items()
                if name.endswith((".Latitude", ".Longitude"))
            }
    step = max(1, len(positions) // POSITIONS_MAX)
    for value in sorted(positions)[::step]:
        yield "position as text", f"{value:.{DECIMALS + 2}f}"[:-2].encode()
        yield "position as float64", struct.pack("<d", value)
        yield "position as float64", struct.pack(">d", value)
