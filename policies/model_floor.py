"""The owner's floor file, ``sluicegate/floor/1``, as a strict record."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from policies.model import Strict
from policies.model_base import (
    Category,
    GeoName,
    Name,
    PiName,
    Quantity,
    Region,
    Text,
    TierName,
)


class FloorMatch(Strict, frozen=True, kw_only=True):
    """Which data a floor rule is about; all that is given must hold."""

    category: Category | list[Category] | None = None
    item: str | list[str] | None = None
    min_tier: TierName | None = None
    pi: PiName | list[PiName] | None = None
    geo: GeoName | list[GeoName] | None = None


class FloorRule(Strict, frozen=True, kw_only=True):
    """What no policy may go below, whoever signed it."""

    name: Name
    match: FloorMatch
    never_leaves: bool = False
    min_action: Literal["allow", "encrypt", "keep", "drop"] | None = None
    min_grid: Quantity | None = None  # positions: at least this coarse
    max_rate: Quantity | None = None  # at most one sample in this time
    allowed_regions: list[Region] | None = None
    allowed_destinations: list[Name] | None = None
    allowed_suites: list[str] | None = None
    note: Text = ""


class Floor(Strict, frozen=True, kw_only=True):
    """The owner's floor file."""

    schema: Literal["sluicegate/floor/1"]
    note: Text = ""
    rules: Annotated[list[FloorRule], Meta(max_length=1000)] = field(
        default_factory=list
    )
