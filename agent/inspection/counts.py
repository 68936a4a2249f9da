"""How often detectors spoke since the start: outlives policies."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class FindingCounts:
    """Written by the inspector only."""

    said: Counter[tuple[str, str]] = field(default_factory=Counter)  # detector, level
    events: int = 0
    suppressed: int = 0
