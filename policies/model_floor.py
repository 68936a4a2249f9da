"""The owner's floor file, ``sluicegate/floor/1``, as a strict record."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from policies.model import Strict
from policies.model_base import (
    Category,
    GeoName,
    Name,
    Names,
    PiName,
    Quantity,
    Region,
    Text,
    TierName,
)
from policies.model_firewall import (
    AddressSpans,  # noqa: TC001  # msgspec reads it
    Functions,  # noqa: TC001  # msgspec reads it
    NumberSpans,  # noqa: TC001  # msgspec reads it
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


class FloorNever(Strict, frozen=True, kw_only=True):
    """Modbus requests that no policy may let through; what is not given: all."""

    name: Name
    to: Names | None = None  # links
    unit: NumberSpans | None = None
    fc: Functions | None = None  # none: whatever may write
    table: Literal[0, 1, 3, 4] | None = None
    addr: AddressSpans | None = None
    note: Text = ""


class FloorModbus(Strict, frozen=True, kw_only=True):
    """What no policy's firewall may go below."""

    required: bool = False  # a policy without a firewall is refused
    mode: Literal["enforce", "read-only"] | None = None  # at least as strict
    default: Literal["deny"] | None = None
    on_failure: Literal["refuse"] | None = None
    never: Annotated[list[FloorNever], Meta(max_length=1000)] = field(
        default_factory=list
    )


class Floor(Strict, frozen=True, kw_only=True):
    """The owner's floor file."""

    schema: Literal["sluicegate/floor/1"]
    note: Text = ""
    rules: Annotated[list[FloorRule], Meta(max_length=1000)] = field(
        default_factory=list
    )
    modbus: FloorModbus | None = None
