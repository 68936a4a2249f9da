"""What inspection keeps when the policy changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.inspection.counts import FindingCounts
from agent.inspection.modbus import Learned

if TYPE_CHECKING:
    from agent.inspection.eve import EveLines


@dataclass(frozen=True, slots=True)
class Kept:
    """Each goes on under the next policy."""

    learned: Learned = field(default_factory=Learned)  # by detectors
    counts: FindingCounts = field(default_factory=FindingCounts)
    eve: EveLines | None = None  # the owner's own log
