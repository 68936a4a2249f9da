"""What `sluicegate top` shows: two looks at an agent, as figures and rates. Pure.

Rates are growth between the looks over the time between them; a counter that fell
(the agent was started anew) gives no rate rather than a wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.telemetry.exposed import Page

K = TypeVar("K")

OUTCOMES: Final = ("sent", "merged", "thinned", "dropped", "kept", "kept_back",
                   "unclassified", "failed")  # fmt: skip
HELD_BACK: Final = frozenset({"kept", "kept_back", "unclassified", "dropped", "failed"})


@dataclass(frozen=True, slots=True)
class Look:
    """The agent at one moment: its two pages, and when (monotonic, ns)."""

    state: Mapping[str, object]
    page: Page
    mono_ns: int


@dataclass(frozen=True, slots=True)
class Bus:
    """One CAN bus: what it is, and frames by the second; None: not known yet."""

    name: str
    state: str
    frames: int
    rate: float | None
    lost: int


@dataclass(frozen=True, slots=True)
class Flow:
    """Samples of one destination or label: a second, and since the store was made."""

    name: tuple[str, ...]
    rate: float | None
    samples: dict[str, int]  # by outcome
    bytes_a_s: float | None


@dataclass(frozen=True, slots=True)
class Told:
    """What a detector said: level, how often, and how often a minute lately."""

    detector: str
    level: str
    count: int
    a_minute: float | None


@dataclass(frozen=True, slots=True)
class Picture:
    """All that one redraw shows."""

    head: dict[str, object]
    buses: tuple[Bus, ...]
    destinations: tuple[Flow, ...]
    labels: tuple[Flow, ...]
    spool: dict[str, float]
    findings: tuple[Told, ...]
    lost: dict[str, int]
    problems: tuple[str, ...]


def pictured(before: Look | None, now: Look) -> Picture:
    """Return the picture of ``now``; rates only where there was a look before."""
    state, page = now.state, now.page
    seconds = (now.mono_ns - before.mono_ns) / 1e9 if before is not None else 0.0
    old = before.page if before is not None and _same(before, now) else None
    told = state.get("problems")
    return Picture(
        head={name: state.get(name, "") for name in HEAD},
        buses=_buses(old, page, seconds),
        destinations=_flows(old, page, seconds, ("destination",)),
        labels=_flows(old, page, seconds, ("destination", "label")),
        spool={
            name: page.value(name)
            for name in (
                "spool_records", "spool_bytes", "spool_bytes_max", "autonomy_hours",
                "retained_records", "evidence_entries", "evidence_entries_received",
            )
        },
        findings=_findings(old, page, seconds),
        lost=_whole(page.summed("lost_total", lambda of: (of["cause"],))),
        problems=tuple(map(str, told)) if isinstance(told, list) else (),
    )  # fmt: skip


HEAD: Final = (
    "device", "agent", "policy_name", "policy_version", "policy_state", "clock",
    "online", "coverage", "boot", "time_ns",
)  # fmt: skip


def _same(before: Look, now: Look) -> bool:
    """Tell whether both looks saw the same start of the agent."""
    return before.state.get("boot") == now.state.get("boot")


def _whole(sums: Mapping[tuple[str, ...], float]) -> dict[str, int]:
    return {" ".join(key): int(value) for key, value in sorted(sums.items())}


def _rate(
    before: Mapping[K, float] | None, key: K, now: float, seconds: float
) -> float | None:
    if before is None or seconds <= 0:
        return None
    grown = now - before.get(key, 0.0)
    return grown / seconds if grown >= 0 else None


def _buses(old: Page | None, page: Page, seconds: float) -> tuple[Bus, ...]:
    def by_bus(of: Mapping[str, str]) -> tuple[str, ...]:
        return (of["bus"],)

    frames = page.summed("bus_frames_total", by_bus)
    earlier = old.summed("bus_frames_total", by_bus) if old is not None else None
    states = {
        row.labels["bus"]: row.labels.get("state", "")
        for row in page.rows
        if row.name == "bus_info" and row.value
    }
    lost = page.summed("lost_total", lambda of: tuple(of["cause"].split()[:2]))
    return tuple(
        Bus(
            name,
            states.get(name, ""),
            int(frames.get((name,), 0)),
            _rate(earlier, (name,), frames.get((name,), 0.0), seconds),
            int(lost.get(("bus", name), 0)),
        )
        for name in sorted({*states, *(key for (key,) in frames)})
    )


def _flows(
    old: Page | None, page: Page, seconds: float, by: tuple[str, ...]
) -> tuple[Flow, ...]:
    """Return samples by the labels ``by`` of those rows that name a destination."""

    def key(of: Mapping[str, str]) -> tuple[str, ...] | None:
        if not of["destination"]:
            return None
        return (*(of[name] for name in by), of["outcome"])

    def sent(of: Mapping[str, str]) -> tuple[str, ...] | None:
        if not of["destination"] or of["outcome"] != "sent":
            return None
        return tuple(of[name] for name in by)

    samples = page.summed("samples_total", key)
    size = page.summed("bytes_total", sent)
    old_sent = old.summed("samples_total", sent) if old is not None else None
    old_size = old.summed("bytes_total", sent) if old is not None else None
    now_sent = page.summed("samples_total", sent)
    return tuple(
        Flow(
            name,
            _rate(old_sent, name, now_sent.get(name, 0.0), seconds),
            {
                outcome: int(samples[*name, outcome])
                for outcome in OUTCOMES
                if (*name, outcome) in samples
            },
            _rate(old_size, name, size.get(name, 0.0), seconds),
        )
        for name in sorted({key[:-1] for key in samples})
    )


def _findings(old: Page | None, page: Page, seconds: float) -> tuple[Told, ...]:
    def by_detector(of: Mapping[str, str]) -> tuple[str, ...]:
        return of["detector"], of["level"]

    counts = page.summed("findings_total", by_detector)
    earlier = old.summed("findings_total", by_detector) if old is not None else None
    rows = []
    for key, count in sorted(counts.items()):
        rate = _rate(earlier, key, count, seconds)
        rows.append(
            Told(key[0], key[1], int(count), None if rate is None else rate * 60)
        )
    return tuple(rows)
