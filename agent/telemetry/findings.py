"""What Prometheus is told of detectors: how often they spoke, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.telemetry.prometheus import Family

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def finding_families(
    said: Mapping[tuple[str, str], int], events: int, suppressed: int
) -> Iterator[Family]:
    """Yield the counters. ``said``: by (detector, level)."""
    yield Family(
        "findings_total",
        "counter",
        "What detectors said, by detector and level; since the start.",
        [
            ({"detector": detector, "level": level}, count)
            for (detector, level), count in sorted(said.items())
        ],
    )
    yield Family(
        "events_total",
        "counter",
        "Findings by what became of them: an event, or held back by a bound.",
        [({"outcome": "event"}, events), ({"outcome": "suppressed"}, suppressed)],
    )
