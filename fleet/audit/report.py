"""What a verification found: numbers, and every check that did not hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

import msgspec

Place: TypeAlias = tuple[bytes, int]  # epoch, sequence; 0 is the announcement
PROBLEMS_MAX: Final = 100  # told one by one; the rest is a number


class Named(msgspec.Struct, frozen=True, gc=False):
    """An envelope as the log names it."""

    digest: bytes
    samples: int
    kept: bool


@dataclass(slots=True)
class Report:
    """What was checked and what was found; no problem: every check held."""

    device: str
    logs: int = 0
    entries: int = 0
    boots: int = 0
    checkpoints: int = 0
    covered: int = 0  # entries under the newest good checkpoint of their log
    envelopes: int = 0  # announcements and batches that left, by the log
    received: int = 0  # of these
    kept: int = 0  # envelopes that stay on the device
    waiting: int = 0  # named by the log, neither received nor lost
    stored: int = 0  # envelopes that the device's own store still has
    not_named: int = 0  # received, not named by the log
    lost: dict[str, int] = field(default_factory=dict)  # cause -> count
    samples_sent: int = 0  # by the counters
    exchanges_passed: int = 0  # Modbus requests that the firewall judged
    exchanges_refused: int = 0
    telemetry: int = 0  # messages that say what the log says
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    problems_more: int = 0

    @property
    def holds(self) -> bool:
        """Tell whether every check held."""
        return not self.problems

    def problem(self, text: str) -> None:
        """Note a check that did not hold; past PROBLEMS_MAX only count it."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(text)
        else:
            self.problems_more += 1

    def note(self, text: str) -> None:
        """Note what an auditor should know and what is no problem; once."""
        if text not in self.notes:
            self.notes.append(text)


def told(place: Place) -> str:
    """Return how a place is told to people."""
    epoch, sequence = place
    what = "batch" if sequence else "announcement"
    return f"{what} {epoch.hex()[:12]}/{sequence}"
