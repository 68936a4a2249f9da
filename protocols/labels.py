"""Labels: what a datum is in law. Five ordered axes; joining takes the larger of each.

The order on every axis goes from harmless to grave, so that "component-wise maximum" is
MIITM art. 13: of levels that cannot be separated, the highest holds. Packed, a label is
one uint16: tier 3 bits, pi 2, form 2, geo 2, recognition 2 (highest bits first).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Tier(IntEnum):
    """General 1-4 (GB/T 43697 Annex H), important and core data (DSL art. 21)."""

    G1 = 0
    G2 = 1
    G3 = 2
    G4 = 3
    IMPORTANT = 4
    CORE = 5


class Pi(IntEnum):
    """Personal information (PIPL art. 4), sensitive personal information (art. 28)."""

    NONE = 0
    PERSONAL = 1
    SENSITIVE = 2


class Form(IntEnum):
    """What was done to it. De-identified is still personal (PIPL art. 73)."""

    AGGREGATE = 0
    ANONYMOUS = 1
    DEIDENTIFIED = 2
    RAW = 3


class Geo(IntEnum):
    """How much place it tells; surveying = usable for map making."""

    NONE = 0
    COARSE = 1
    PRECISE = 2
    SURVEYING = 3


class Recognition(IntEnum):
    """Who said that it is important: nobody, ourselves, a notice, the law."""

    NONE = 0
    CANDIDATE = 1
    NOTIFIED = 2
    STATUTORY = 3


@dataclass(frozen=True, slots=True, order=False)
class Label:
    """One point on the five axes."""

    tier: Tier
    pi: Pi
    form: Form
    geo: Geo
    recognition: Recognition

    def join(self, other: Label) -> Label:
        """Return the component-wise maximum (MIITM art. 13)."""
        return Label(
            max(self.tier, other.tier),
            max(self.pi, other.pi),
            max(self.form, other.form),
            max(self.geo, other.geo),
            max(self.recognition, other.recognition),
        )

    def covers(self, other: Label) -> bool:
        """Tell whether no axis of ``other`` is above this label's."""
        return self.join(other) == self

    def pack(self) -> int:
        """Return the label as one integer below 2**11."""
        return (
            self.tier << 8
            | self.pi << 6
            | self.form << 4
            | self.geo << 2
            | self.recognition
        )

    def __str__(self) -> str:
        """Return the text form, e.g. ``G4/sensitive/raw/precise/none``."""
        axes = (self.tier, self.pi, self.form, self.geo, self.recognition)
        first, *rest = (axis.name for axis in axes)
        return "/".join(
            [first if first[0] == "G" else first.lower(), *map(str.lower, rest)]
        )


def unpack(code: int) -> Label:
    """Return the label of a packed code; ValueError where an axis is out of range."""
    return Label(
        Tier(code >> 8),
        Pi(code >> 6 & 3),
        Form(code >> 4 & 3),
        Geo(code >> 2 & 3),
        Recognition(code & 3),
    )


def parse_label(text: str) -> Label:
    """Return the label of a text form; ValueError where the text is none."""
    parts = text.upper().split("/")
    if len(parts) != 5:
        message = f"a label has five parts, not {len(parts)}"
        raise ValueError(message)
    try:
        return Label(
            Tier[parts[0]],
            Pi[parts[1]],
            Form[parts[2]],
            Geo[parts[3]],
            Recognition[parts[4]],
        )
    except KeyError as error:
        message = f"no such label part: {error.args[0]}"
        raise ValueError(message) from None


# An item in no catalogue is treated as the gravest general data and never leaves.
UNCLASSIFIED: Final = Label(
    Tier.G4, Pi.SENSITIVE, Form.RAW, Geo.PRECISE, Recognition.NONE
)
