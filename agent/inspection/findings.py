"""What a detector says: few rows, never values, on two levels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.can.isotp import DiagnosticMessage
    from protocols.can.uds import Identifier
    from protocols.frames import I32, FrameBatch


class Level(IntEnum):
    """A notice stays on the device and is counted; an alert leaves as an event."""

    NOTICE = 0
    ALERT = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """One detector's word on one subject in one batch, with how often it was seen."""

    detector: str  # D1, D2, ID1 ... as in the detector table
    level: Level
    bus: int
    ident: int  # CAN identifier with flags; the subject of the finding
    count: int
    first_ns: int
    last_ns: int
    detail: str = ""  # names and sizes, never payload


@dataclass(frozen=True, slots=True)
class View:
    """All that a detector may look at: one batch, decoded as far as the flow did it."""

    frames: FrameBatch
    message: I32  # [N] message row of the plan, -1 unknown id, -2 no data frame
    diagnostics: Sequence[DiagnosticMessage]
    identifiers: Sequence[Identifier]


class Detector(Protocol):
    """A place in the stage. State lives in the detector; time is in the frames."""

    def inspect(self, view: View) -> list[Finding]:
        """Return the findings of one batch, aggregated per subject."""
