"""What a scan found, as data: the table prints it, ``--json`` writes all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from policies.tables import NO_RULE, Action
from protocols.labels import unpack

if TYPE_CHECKING:
    from agent.records import VerdictRow
    from agent.tally import ItemTally
    from policies.tables import CompiledPolicy, CompiledRule

KEPT_BACK = "kept back"


@dataclass(frozen=True, slots=True)
class Decision:
    """What one rule did with one item at one destination."""

    destination: str
    region: str
    rule: str  # "" = no rule: kept back
    action: str
    samples: int  # that the rule decided
    rows_left: int  # rows in envelopes that leave, the rule's own (statistics too)
    rows_kept: int  # rows sealed to the custodian, which stay here
    becomes: str  # category of what the rule lets out, "" = no rule
    label: str  # ... and its label


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a capture was not scanned, or not to its end. Travels between processes."""

    line: str
    is_bad_input: bool


@dataclass(frozen=True, slots=True)
class ItemResult:
    """One item of the capture."""

    name: str
    source: str
    category: str
    label: str
    classified: bool
    samples: int
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True)
class DestinationResult:
    """What one destination would get."""

    name: str
    region: str
    messages: int  # announcements of keys too
    size_bytes: int
    rows: int
    keys: int = 0  # announcements alone: once a start, a day, or a rotation
    key_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What one capture holds and what of it would leave."""

    file: str
    format: str
    frames: int
    seconds: float
    items: tuple[ItemResult, ...]
    destinations: tuple[DestinationResult, ...]
    classified: int
    unclassified: int
    envelopes: int
    envelope_bytes: int
    kept_records: int
    evicted_records: int
    evidence: int
    notices: int
    alerts: int
    skipped: tuple[tuple[str, int], ...]
    unbound_buses: tuple[tuple[str, int], ...]  # (bus that no binding names, frames)
    store: str  # where the envelopes are kept, "" where they are not
    policy: str  # name
    version: int
    evidence_bytes: int
    elapsed_s: float  # wall clock from the first frame to the last commit
    cpu_s: float  # of this process, in that time
    what: str = "frames"  # what ``frames`` counts: frames, or Modbus exchanges
    verdicts: tuple[VerdictRow, ...] = ()  # of the policy's firewall
    error: str = ""  # the capture broke here; what stands above was read before

    @property
    def failed(self) -> Failed | None:
        """Return why the capture breaks off; None where it does not."""
        return Failed(self.error, is_bad_input=True) if self.error else None

    @property
    def coverage(self) -> float:
        """Return classified / all samples, 0..1; 1 where there are none."""
        total = self.classified + self.unclassified
        return self.classified / total if total else 1.0


def item_results(policy: CompiledPolicy, tally: ItemTally) -> tuple[ItemResult, ...]:
    """Return every item that was read, by name."""
    items = policy.items
    found = [
        ItemResult(
            items.name[row],
            items.source[row] if items.source else "",
            items.category[row],
            str(unpack(int(items.label[row]))),
            bool(items.classified[row]),
            int(tally.read[row]),
            _decisions(policy, tally, row),
        )
        for row in np.flatnonzero(tally.read).tolist()
    ]
    return tuple(sorted(found, key=lambda item: (item.name, item.source)))


def _decisions(
    policy: CompiledPolicy, tally: ItemTally, row: int
) -> tuple[Decision, ...]:
    found = []
    for place, destination in enumerate(policy.destinations):
        counts = tally.decisions[place][row]
        for number in np.flatnonzero(counts).tolist():
            is_rule = number < len(policy.rules)
            rule = policy.rules[number] if is_rule else None
            rows = int(tally.left[place][row, number]) if is_rule else 0
            keeps = rule is not None and rule.action == Action.KEEP
            found.append(
                Decision(
                    destination.name,
                    destination.region,
                    rule.name if rule else "",
                    _action(policy, rule),
                    int(counts[number]),
                    0 if keeps else rows,
                    rows if keeps else 0,
                    rule.category_out[row] if rule else "",
                    str(unpack(int(rule.label_out[row]))) if rule else "",
                )
            )
    return tuple(found)


def _action(policy: CompiledPolicy, rule: CompiledRule | None) -> str:
    """Return what happens; ``keep`` without a custodian is a drop, and told as one."""
    if rule is None:
        return KEPT_BACK
    if rule.action == Action.KEEP and not policy.custodian:
        return Action.DROP.name.lower()
    return rule.action.name.lower()


assert NO_RULE < 0  # the tally's last column, never a rule's number
