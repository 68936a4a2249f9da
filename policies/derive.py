"""What a transform makes of a label, and whether a claim (``becomes``) is justified.

GOV-06: outputs are re-classified by what was done, never by what is wished. Only these
lower a label; all other transforms leave it as it is:

  grid of 1 km or more         geo coarse (latitude and longitude only)
  ... and 60 s or slower       the label of ``location.coarse``
  pseudonymise, mask, blank    form deidentified (still personal, PIPL art. 73)
  blank                        geo none
  aggregate (without ``last``) form aggregate
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from policies.tables import (
    Aggregate,
    Blank,
    Every,
    Grid,
    Mask,
    Pseudonymise,
    Role,
    Transform,
)
from protocols.labels import Form, Geo, Label, Pi, Recognition, Tier

if TYPE_CHECKING:
    from collections.abc import Iterable

COARSE_GRID_M: Final = 1000.0  # IOV-LOC-03: a cell of 1 km or more
COARSE_PERIOD_NS: Final = 60_000_000_000  # ours: slower than this is no track
MASK_KEPT_MAX: Final = 8  # ours: more visible characters still tell who it is
WINDOW_NS_MIN: Final = 1_000_000_000  # a shorter aggregate is a sample

COARSE_CATEGORY: Final = "location.coarse"
COARSE_LABEL: Final = Label(
    Tier.G2, Pi.PERSONAL, Form.DEIDENTIFIED, Geo.COARSE, Recognition.NONE
)
POSITION_ROLES: Final = (Role.LATITUDE, Role.LONGITUDE)


@dataclass(frozen=True, slots=True)
class Derived:
    """The label after the transforms; ``category`` where they give one, else ""."""

    label: Label
    category: str = ""


def derive(label: Label, role: Role, transforms: Iterable[Transform]) -> Derived:
    """Return what is justified to say of the output of ``transforms``."""
    steps = tuple(transforms)
    out = label
    for step in steps:
        out = _after(out, role, step)
    coarse = role in POSITION_ROLES and label.geo > Geo.COARSE >= out.geo
    if coarse and slowest_ns(steps) >= COARSE_PERIOD_NS and _lowerable(label):
        low = replace(COARSE_LABEL, recognition=label.recognition)
        return Derived(replace(low, form=min(low.form, out.form)), COARSE_CATEGORY)
    return Derived(out)


def _after(label: Label, role: Role, step: Transform) -> Label:
    match step:
        case Grid(size_m=size):
            if role in POSITION_ROLES and size >= COARSE_GRID_M:
                return replace(label, geo=min(label.geo, Geo.COARSE))
        case Pseudonymise():
            return replace(label, form=min(label.form, Form.DEIDENTIFIED))
        case Mask(keep_first=first, keep_last=last):
            if first + last <= MASK_KEPT_MAX:
                return replace(label, form=min(label.form, Form.DEIDENTIFIED))
        case Blank():
            form = min(label.form, Form.DEIDENTIFIED)
            return replace(label, form=form, geo=Geo.NONE)
        case Aggregate(window_ns=window, of=statistics):
            # The last sample of a window is a sample, and a precise place stays one.
            if "last" not in statistics and window >= WINDOW_NS_MIN:
                return replace(label, form=Form.AGGREGATE)
        case _:
            pass
    return label


def slowest_ns(transforms: Iterable[Transform]) -> int:
    """Return the longest time that one sample stands for, 0 where nothing thins."""
    found = 0
    for step in transforms:
        if isinstance(step, Every):
            found = max(found, step.period_ns)
        elif isinstance(step, Aggregate):
            found = max(found, step.window_ns)
    return found


def _lowerable(label: Label) -> bool:
    """Tell whether a transform may lower the tier: of important data none may alone."""
    return label.tier < Tier.IMPORTANT


def unjustified(label: Label, derived: Derived, claim: Label, *, approved: bool) -> str:
    """Return why ``claim`` may not be said of the output, "" where it may.

    ``label`` is the input's. A claim may always be graver than what was derived. The
    tier may fall where form or geo really fell; personal information stays personal;
    ``approved`` (a reference of an approval) lets important data be re-classified.
    """
    have = derived.label
    if claim.geo < have.geo:
        return f"nothing here makes a place {claim.geo.name.lower()}"
    if claim.form < have.form:
        return f"nothing here makes the data {claim.form.name.lower()}"
    if claim.pi < have.pi:
        if have.pi == Pi.PERSONAL or claim.pi == Pi.NONE:
            return "personal information stays personal (PIPL art. 4, 73)"
        return "sensitive personal information stays sensitive"
    if claim.tier >= have.tier:
        return ""
    if not (approved or _lowerable(label)):
        return "important data is not re-classified without an approval"
    if have.form == label.form and have.geo == label.geo:
        return "no transform here lowers the tier"
    return ""
