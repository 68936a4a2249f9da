"""The policy's ``inspection:`` section as strict records: unknown fields are refused.

What the thresholds mean stands in ``docs/detection.md``; ``inspection.py`` gives them
to the detectors.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from policies.model_base import Quantity

DetectorName: TypeAlias = Literal[
    "D1", "D2", "D8", "ID1", "ID2", "FW",
    "M1", "M2", "M3", "M4", "M5", "M6", "M7", "M8", "M9", "M10", "M11",
]  # fmt: skip
Count: TypeAlias = Annotated[int, Meta(ge=1, le=100_000)]
Factor: TypeAlias = Annotated[float, Meta(ge=1, le=1000)]


class InspectionRecord(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Base of the records here."""


class ScanFile(InspectionRecord, frozen=True, kw_only=True):
    """M4: more distinct ones than this in ten seconds; what is learned may be more."""

    units: Count = 16
    addresses: Count = 32
    functions: Count = 8
    devices: Count = 16


class ExceptionsFile(InspectionRecord, frozen=True, kw_only=True):
    """M5: so many exceptions in ten seconds, and such a share of all replies."""

    count: Count = 5
    share: Annotated[float, Meta(gt=0, le=1)] = 0.2


class FloodFile(InspectionRecord, frozen=True, kw_only=True):
    """M8: ``times`` the learned rate, at least ``per_second``; silence in 10 s."""

    per_second: Count = 100
    times: Factor = 3.0
    unanswered: Count = 500


class PollsFile(InspectionRecord, frozen=True, kw_only=True):
    """M9: so many periods without an answer."""

    periods: Factor = 3.0


class FrozenFile(InspectionRecord, frozen=True, kw_only=True):
    """M11: so many times as long as a value ever lasted."""

    times: Factor = 20.0


class Inspection(InspectionRecord, frozen=True, kw_only=True):
    """What detectors do; nothing given: all of them, with these thresholds."""

    off: Annotated[list[DetectorName], Meta(max_length=16)] = []
    # Names of ``modbus.clients``, addresses or networks: who may identify devices (M6).
    engineering: Annotated[list[str], Meta(max_length=64)] = []
    learn: Quantity = "30m"  # before a learned detector may alarm
    repeat: Quantity = "10m"  # one event per finding and subject in so long
    scan: ScanFile = ScanFile()
    exceptions: ExceptionsFile = ExceptionsFile()
    flood: FloodFile = FloodFile()
    polls: PollsFile = PollsFile()
    frozen: FrozenFile = FrozenFile()
