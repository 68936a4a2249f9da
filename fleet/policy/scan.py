"""Captures through the gateway's own path: `sluicegate scan --json` as a child.

The operator's side has no data path of its own and imports none: what a test or an
estimate says is what the installed agent would do. No shell, and no word of a file or
person can be taken for an option.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from fleet.errors import BadInput, Unavailable

MODULE: Final = "agent.main"
EXIT_BAD_INPUT: Final = 2
PREFIX: Final = "sluicegate: "


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to scan, and with what."""

    captures: tuple[str, ...]
    policy: str
    bindings: tuple[str, ...] = ()
    databases: str = ""
    consents: tuple[str, ...] = ()


class ScanDecision(msgspec.Struct, frozen=True):
    """What one rule did with one item at one destination."""

    destination: str
    region: str
    rule: str  # "" = none: kept back
    action: str
    samples: int
    rows_left: int
    rows_kept: int
    becomes: str
    label: str


class ScanItem(msgspec.Struct, frozen=True):
    """One item of a capture."""

    name: str
    source: str
    category: str
    label: str
    classified: bool
    samples: int
    decisions: list[ScanDecision]


class ScanDestination(msgspec.Struct, frozen=True):
    """What one destination would get."""

    name: str
    region: str
    messages: int
    size_bytes: int
    rows: int
    keys: int
    key_bytes: int


class Scan(msgspec.Struct, frozen=True):
    """One capture, as `sluicegate scan --json` tells it; other fields are not read."""

    file: str
    format: str
    frames: int
    seconds: float
    items: list[ScanItem]
    destinations: list[ScanDestination]
    classified: int
    unclassified: int
    evidence: int
    evidence_bytes: int
    notices: int
    alerts: int
    policy: str
    version: int
    elapsed_s: float
    cpu_s: float


def scan(wanted: Wanted) -> list[Scan]:
    """Return what becomes of each capture.

    BadInput for a file that the agent refuses, Unavailable where there is no agent.
    """
    if importlib.util.find_spec(MODULE.partition(".")[0]) is None:
        raise Unavailable("sluicegate", "the agent is not installed beside sluicectl")
    done = subprocess.run(  # noqa: S603  # our own interpreter and module, no shell
        command(wanted),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        env=_environment(),
    )
    if done.returncode:
        raise _failure(done.returncode, done.stderr)
    try:
        return msgspec.json.decode(done.stdout, type=list[Scan])
    except msgspec.MsgspecError:
        reason = "its answer is of another version; install both of one release"
        raise Unavailable("sluicegate", reason) from None


def command(wanted: Wanted) -> list[str]:
    """Return the child's words; every option carries its value, files come last."""
    words = [sys.executable, "-P", "-m", MODULE, "scan", "--json", "--jobs=1"]
    words.append(f"--policy={wanted.policy}")
    words += [f"--bindings={one}" for one in wanted.bindings]
    if wanted.databases:
        words.append(f"--databases={wanted.databases}")
    words += [f"--consent={one}" for one in wanted.consents]
    words += ["--", *wanted.captures]
    if any("\0" in word for word in words):
        raise BadInput("", "", "is no name of a file")
    return words


def _environment() -> dict[str, str]:
    """Let the child find what we were loaded from, and nothing in the folder we are in.

    -P leaves the current folder out of the search: a folder ``agent`` that lies there
    is not run.
    """
    here = str(Path(__file__).resolve().parents[1])
    more = os.environ.get("PYTHONPATH")
    path = f"{here}{os.pathsep}{more}" if more else here
    return {**os.environ, "PYTHONPATH": path}


def _failure(code: int, said: bytes) -> BadInput | Unavailable:
    lines = said.decode(errors="replace").strip().splitlines() or [
        "ended without a word"
    ]
    line = lines[-1].removeprefix(PREFIX)
    if code == EXIT_BAD_INPUT:
        return BadInput("", "", line)
    return Unavailable("sluicegate", line)
