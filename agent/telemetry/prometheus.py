"""Prometheus text exposition format 0.0.4. Labels are names of ours, never values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocols.labels import unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agent.records import CounterRow, StoreStatistics

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with its rows: (labels, value)."""

    name: str  # without the prefix that all have
    kind: str  # counter | gauge
    help: str
    rows: Sequence[tuple[Mapping[str, str], float]]


def exposition(
    rows: Iterable[CounterRow],
    store: StoreStatistics,
    gauges: Mapping[str, float],
    losses: Mapping[str, int],
    families: Iterable[Family] = (),
) -> str:
    """Return the whole page. ``gauges`` and ``losses`` are keyed by name and cause."""
    lines = [
        "# HELP sluicegate_samples_total Samples by destination, label, rule, outcome.",
        "# TYPE sluicegate_samples_total counter",
    ]
    sizes = [
        "# HELP sluicegate_bytes_total Bytes by destination, label, rule, outcome.",
        "# TYPE sluicegate_bytes_total counter",
    ]
    for row in rows:
        labels = _labels(
            destination=row.destination,
            label=str(unpack(row.label)),
            rule=row.rule,
            action=row.action,
            outcome=row.outcome.name.lower(),
        )
        lines.append(f"sluicegate_samples_total{labels} {row.samples}")
        sizes.append(f"sluicegate_bytes_total{labels} {row.bytes_used}")
    lines += sizes
    lines += ["# TYPE sluicegate_lost_total counter"]
    lines += [
        f"sluicegate_lost_total{_labels(cause=cause)} {count}"
        for cause, count in sorted(losses.items())
    ]
    lines += [
        "# HELP sluicegate_evicted_records_total Records the byte caps cost.",
        "# TYPE sluicegate_evicted_records_total counter",
        f"sluicegate_evicted_records_total {store.evicted_records}",
    ]
    for name, value in {
        "spool_records": store.records,
        "spool_bytes": store.bytes_used,
        "spool_bytes_max": store.bytes_max,
        "retained_records": store.retained_records,
        "evidence_entries": store.evidence_size,
        "evidence_entries_received": store.evidence_sent,
        "evidence_entries_pruned": store.evidence_first,
        "evidence_bytes": store.evidence_bytes,
        **gauges,
    }.items():
        lines += [f"# TYPE sluicegate_{name} gauge", f"sluicegate_{name} {value:g}"]
    for family in families:
        lines += _family(family)
    return "\n".join(lines) + "\n"


def _family(family: Family) -> list[str]:
    name = f"sluicegate_{family.name}"
    head = [f"# HELP {name} {family.help}"] if family.help else []
    head.append(f"# TYPE {name} {family.kind}")
    return head + [f"{name}{_labels(**of)} {value:.12g}" for of, value in family.rows]


def _labels(**labels: str) -> str:
    pairs = (f'{name}="{text.translate(_ESCAPES)}"' for name, text in labels.items())
    return "{" + ",".join(pairs) + "}"
