"""What lifts a label, as strict records: precision, volume, combinations.

Catalogues say these for all policies; a policy may add combinations and volumes of its
own, and can take none away.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from policies.model_base import Category, Mark, Name, Quantity, Text

RAISING_MAX: Final = 64  # combinations, and volumes, of one file
SETS_MAX: Final = 8


class Raising(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Base of the records here."""


class Finer(Raising, frozen=True, kw_only=True):
    """``{than: 1000m, becomes: location.precise}``; or ``{than: 0.5, ...}`` in units.

    A length is about latitudes and longitudes, a number about all other values.
    """

    than: Quantity | float
    becomes: Category


class Members(Raising, frozen=True, kw_only=True):
    """One set of a combination: what leaves under a category, or by its name."""

    category: Category | list[Category] | None = None  # of what leaves
    item: str | list[str] | None = None


class Combination(Raising, frozen=True, kw_only=True):
    """Sets of items that together say more than each of them alone."""

    name: Name
    about: Text = ""
    of: Annotated[list[Members], Meta(min_length=2, max_length=SETS_MAX)]
    every: Quantity | None = None  # what leaves more rarely is no part; none: any rate
    becomes: Category
    basis: list[Text] = []
    basis_mark: Mark = "ours"


class Volume(Raising, frozen=True, kw_only=True):
    """So much of a category to one destination is another category."""

    name: Name
    about: Text = ""
    category: Category | list[Category]  # of what leaves
    more_than: Annotated[int, Meta(ge=1, le=2**53)]
    unit: Literal["samples", "hours", "days"]
    window: Quantity
    becomes: Category
    basis: list[Text] = []
    basis_mark: Mark = "ours"
