"""What all scenario files share: times, names, and the parts of a plant.

Times are text with a unit (``500us``, ``20ms``, ``1.5s``, ``2m``, ``1h``).
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

NS: Final = 1_000_000_000
_UNITS_NS: Final = {"us": 1_000, "ms": 1_000_000, "s": NS, "m": 60 * NS, "h": 3600 * NS}
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(us|ms|s|m|h)")

Duration: TypeAlias = Annotated[
    str, Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?(us|ms|s|m|h)$")
]
Name: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
FileName: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\.dbc$")]
Share: TypeAlias = Annotated[float, Meta(ge=0.0, le=1.0)]
Positive: TypeAlias = Annotated[float, Meta(gt=0.0, le=1e6)]


def nanoseconds(text: str) -> int:
    """Return a duration in ns; ValueError for text that is none."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration (such as 500ms, 20s, 2m)")
    number, _, part = match[1].partition(".")
    unit = _UNITS_NS[match[2]]
    fraction: int = int(part or "0") * unit // 10 ** len(part)
    return int(number) * unit + fraction


class Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Base of all parts."""


class ScenarioHead(Strict, frozen=True, kw_only=True):
    """What every scenario file begins with."""

    schema: Literal["sluicegate/scenario/1"]
    name: Name
    title: str = ""
    seed: Annotated[int, Meta(ge=0, le=2**53)] = 0
    start: str
    duration: Duration = "60s"


def start_ns(text: str) -> int:
    """Return ISO 8601 UTC text (ending in Z) as ns since the epoch; ValueError else."""
    if not text.endswith("Z"):
        raise ValueError("start must be UTC, as in 2026-03-02T08:00:00Z")
    moment = dt.datetime.fromisoformat(text)
    return int(moment.timestamp()) * NS + moment.microsecond * 1000


class TankSpec(Strict, frozen=True, kw_only=True):
    """A heated, stirred, closed tank between an inlet valve and an outlet pump."""

    area_m2: Positive = 1.5
    height_m: Positive = 3.0
    level_m: Annotated[float, Meta(ge=0.0)] = 1.0
    temperature_c: float = 20.0
    supply_c: float = 18.0
    inflow_max_m3h: Positive = 40.0
    pump_max_m3h: Positive = 36.0
    heater_kw: Positive = 120.0
    trip_high_m: Positive = 2.7
    trip_low_m: Positive = 0.25
    trip_hot_c: Positive = 92.0


class InverterSpec(Strict, frozen=True, kw_only=True):
    """A solar inverter beside the PLC, as a SunSpec device of its own unit."""

    unit: Annotated[int, Meta(ge=1, le=247)] = 2
    peak_kw: Annotated[float, Meta(ge=1.0, le=100.0)] = 30.0
    energy_kwh: Annotated[float, Meta(ge=0.0, le=4e6)] = 0.0
    serial: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,32}$")] = "SGSIM-PV"


class Phase(Strict, frozen=True, kw_only=True):
    """One step of the recipe; phases repeat for ever."""

    name: Annotated[str, Meta(pattern=r"^[\x20-\x7e]{1,16}$")]
    lasts: Duration
    level_m: Annotated[float, Meta(gt=0.0)]
    temperature_c: float
    pump: Share  # share of the pump's full speed
