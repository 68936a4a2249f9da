"""The inspection stage: detectors in, few well-behaved events out.

Findings are aggregated per (detector, variant, subject) in ten-minute buckets: the
first alert leaves at once, its repetitions leave as one count when the bucket closes. A
rate limit holds over all; what it holds back is counted (the AUTOSAR IdsM filter chain:
aggregation, threshold, rate limit).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from agent.inspection.counts import FindingCounts
from agent.inspection.findings import Finding, Level, Subject
from agent.inspection.ocsf import BUCKET_NS
from agent.limits import EVENT_KEYS_MAX, EVENTS_A_MINUTE_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.inspection.findings import Detector, View

MINUTE_NS: Final = 60 * 10**9

# Whoever identifies devices asks each of them again and again: once an hour is enough.
REPEAT_NS: Final = {"M6": 3600 * 10**9}

Key: TypeAlias = tuple[str, str, Subject]


@dataclass(frozen=True, slots=True)
class InspectionStatistics:
    """How much the stage saw and what it held back."""

    notices: int
    alerts: int
    events: int
    suppressed: int


@dataclass(slots=True)
class _Repeated:
    """A finding that was told, and how often it came again since.

    Changed in place: on a bus with a hundred unknown identifiers every batch repeats
    each of them.
    """

    first: Finding
    count: int
    last_ns: int

    def finding(self) -> Finding:
        """Return the repetitions as one finding."""
        return replace(self.first, count=self.count, last_ns=self.last_ns)


class Inspector:
    """Runs every detector on every batch; decides what becomes an event."""

    def __init__(
        self,
        detectors: Sequence[Detector],
        *,
        off: frozenset[str] = frozenset(),
        repeat_ns: int = BUCKET_NS,
        counts: FindingCounts | None = None,
    ) -> None:
        """Take the detectors in the order in which they look.

        ``off``: names of detectors that say nothing; ``repeat_ns``: within so long a
        finding that comes again is one event more. ``counts``: goes on counting there.
        """
        self._detectors = tuple(detectors)
        self._off = off
        self._repeat_ns = repeat_ns
        self._counts = counts or FindingCounts()
        # By what a finding is about: what is not yet told. Written by inspect() only.
        self._open: dict[Key, _Repeated] = {}
        self._minute = 0
        self._sent_this_minute = 0
        self._notices = 0
        self._alerts = 0
        self._events = 0
        self._suppressed = 0

    def inspect(self, view: View, now_ns: int) -> list[Finding]:
        """Return the findings that become events now."""
        out = self._closed(now_ns)
        for detector in self._detectors:
            for finding in detector.inspect(view):
                if finding.detector in self._off:
                    continue
                level = finding.level.name.lower()
                self._counts.said[finding.detector, level] += finding.count
                if finding.level is Level.NOTICE:
                    self._notices += finding.count
                    continue
                self._alerts += finding.count
                first = self._merge(finding)
                if first is not None:
                    out.append(first)
        return self._limited(out, now_ns)

    def flush(self) -> list[Finding]:
        """Return the repetitions not yet told: the process or the capture ends."""
        left = [seen.finding() for seen in self._open.values() if seen.count]
        self._open.clear()
        return left

    def statistics(self) -> InspectionStatistics:
        """Return counts since start."""
        return InspectionStatistics(
            self._notices, self._alerts, self._events, self._suppressed
        )

    def _merge(self, finding: Finding) -> Finding | None:
        key = (finding.detector, finding.variant, finding.subject)
        known = self._open.get(key)
        if known is None and len(self._open) >= EVENT_KEYS_MAX:
            self._suppressed += 1
            self._counts.suppressed += 1
            return None
        if known is None:
            self._open[key] = _Repeated(finding, 0, finding.last_ns)
            return finding
        known.count += finding.count
        known.last_ns = finding.last_ns
        return None

    def _closed(self, now_ns: int) -> list[Finding]:
        """Return the repetitions of buckets that are over."""
        over = [
            key
            for key, seen in self._open.items()
            if now_ns - seen.first.first_ns > self._repeat(key[0])
        ]
        done = [self._open.pop(key) for key in over]
        return [seen.finding() for seen in done if seen.count]

    def _repeat(self, detector: str) -> int:
        return max(self._repeat_ns, REPEAT_NS.get(detector, 0))

    def _limited(self, findings: list[Finding], now_ns: int) -> list[Finding]:
        minute = now_ns // MINUTE_NS
        if minute != self._minute:
            self._minute, self._sent_this_minute = minute, 0
        room = EVENTS_A_MINUTE_MAX - self._sent_this_minute
        passed = findings[:room]
        self._sent_this_minute += len(passed)
        self._events += len(passed)
        self._suppressed += len(findings) - len(passed)
        self._counts.events += len(passed)
        self._counts.suppressed += len(findings) - len(passed)
        return passed
