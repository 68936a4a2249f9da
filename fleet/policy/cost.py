"""`sluicectl policy cost`: bytes a day, hours of spool and processor, from a capture.

Measured in the agent's own path, then scaled to a day of the same traffic. Key
announcements are not scaled: a device makes them once a start, and each day anew. The
processor's share is that of batches of 4,096 frames; a live gateway takes smaller ones.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from fleet.errors import BadInput
from fleet.listing import progress, write, write_table
from fleet.policy.scan import scan

if TYPE_CHECKING:
    from fleet.policy.scan import Scan, Wanted

DAY_S: Final = 86_400
SHORT_S: Final = 600  # windows of ten minutes close in it, once
STEP: Final = 1024
_UNITS: Final = {"": 1, "kB": STEP, "MB": STEP**2, "GB": STEP**3}
_SIZE: Final = re.compile(r"([0-9]{1,15}) ?(|kB|MB|GB)")
_CPU_FILE: Final = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class PlaceCost:
    """What one destination would get in a day of the same traffic."""

    destination: str
    region: str
    envelopes_a_day: float
    bytes_a_day: float
    rows_a_day: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What one capture costs."""

    file: str
    policy: str
    version: int
    frames: int
    seconds: float
    places: tuple[PlaceCost, ...]
    bytes_a_day: float  # to all destinations
    evidence_bytes_a_day: float
    spool_bytes: int
    spool_hours: float | None  # None: nothing is spooled at all
    cpu_s: float
    elapsed_s: float
    cpu_share: float  # of one core, at the traffic of the capture
    frames_a_second: float  # that this machine would have taken
    machine: str


def cost(wanted: Wanted, spool_bytes: int, *, as_json: bool) -> int:
    """Print what each capture would cost."""
    costs: list[Cost] = []
    with progress("captures", len(wanted.captures)) as advance:
        for name in wanted.captures:
            (found,) = scan(replace(wanted, captures=(name,)))
            costs.append(reckoned(found, spool_bytes))
            advance()
    if as_json:
        sys.stdout.write(msgspec.json.encode(costs).decode() + "\n")
        return 0
    for number, one in enumerate(costs):
        if number:
            write()
        _print(one)
    if not wanted.bindings:
        write("no bindings: no signal is known, so nothing leaves; give them with -b")
    return 0


def _print(one: Cost) -> None:
    write(f"{one.file}: {one.policy} version {one.version}, {one.frames} frames,"
          f" {one.seconds:.1f} s")  # fmt: skip
    write_table(
        ("to", "region", "envelopes/day", "rows/day", "bytes/day"),
        [
            (
                place.destination,
                place.region,
                f"{place.envelopes_a_day:.0f}",
                f"{place.rows_a_day:.0f}",
                size(place.bytes_a_day),
            )
            for place in one.places
        ],
        right=(2, 3, 4),
    )
    write(f"evidence: {size(one.evidence_bytes_a_day)} a day")
    hours = "nothing is spooled"
    if one.spool_hours is not None:
        hours = f"{one.spool_hours:.0f} h of {size(one.bytes_a_day)} a day"
    write(f"spool of {size(one.spool_bytes)}: {hours}")
    write(
        f"processor: {one.cpu_share:.1%} of one core at this traffic"
        f" ({one.cpu_s:.2f} s for {one.seconds:.1f} s of capture)"
    )
    write(f"measured on: {one.machine}")
    if one.seconds < SHORT_S:
        write("a short capture: windows and thinning show their true rate in hours")


def size(count: float) -> str:
    """Return bytes as people read them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < STEP or unit == "GB":
            break
        count /= STEP
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"


def parse_size(text: str) -> int:
    """Return bytes of ``512MB``, ``2GB``, ``64kB`` or a plain number."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or not 0 < int(found[1]) * _UNITS[found[2]] < 2**63:
        raise BadInput("", "--spool", "not a size", "such as 512MB or 2GB")
    return int(found[1]) * _UNITS[found[2]]


def reckoned(scan_: Scan, spool_bytes: int) -> Cost:
    """Return the cost of one scan; BadInput where it lasted no time."""
    if scan_.seconds <= 0:
        raise BadInput(scan_.file, "", "lasts no time: nothing can be scaled to a day")
    days = scan_.seconds / DAY_S
    places = tuple(
        PlaceCost(
            one.name,
            one.region,
            (one.messages - one.keys) / days + one.keys,
            (one.size_bytes - one.key_bytes) / days + one.key_bytes,
            one.rows / days,
        )
        for one in scan_.destinations
        if one.messages
    )
    a_day = sum(one.bytes_a_day for one in places)
    return Cost(
        scan_.file,
        scan_.policy,
        scan_.version,
        scan_.frames,
        scan_.seconds,
        places,
        a_day,
        scan_.evidence_bytes / days,
        spool_bytes,
        spool_bytes / a_day * 24 if a_day else None,
        scan_.cpu_s,
        scan_.elapsed_s,
        scan_.cpu_s / scan_.seconds,
        scan_.frames / scan_.cpu_s if scan_.cpu_s else 0.0,
        machine(),
    )


def machine() -> str:
    """Return the processor, cores and Python that a measurement was made with."""
    model = platform.machine()
    try:
        lines = _CPU_FILE.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Model"}:
            model = f"{value.strip()}, {platform.machine()}"
            break
    cores = os.cpu_count() or 1
    return f"{model}, {cores} cores, Python {platform.python_version()}"
