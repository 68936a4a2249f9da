"""The signed words of the device: retained state, and counters of an interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocols.labels import unpack
from protocols.telemetry import (
    BusState,
    CounterLine,
    LinkState,
    State,
    TapState,
    Telemetry,
    encode_state,
    encode_telemetry,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.records import CounterRow, StoreStatistics
    from policies.tables import CompiledPolicy


@dataclass(frozen=True, slots=True)
class Situation:
    """What the runtime knows at one moment."""

    number: int
    time_ns: int
    policy_state: str
    policy_source: str
    candidate: tuple[int, str]  # version and state of a pushed policy
    clock: str
    online: bool
    autonomy_h: float
    coverage: tuple[int, int]
    problems: tuple[str, ...]
    links: tuple[LinkState, ...] = ()
    taps: tuple[TapState, ...] = ()
    buses: tuple[BusState, ...] = ()
    certificate_ns: int = 0


def state_body(
    device: str,
    boot: bytes,
    version: str,
    policy: CompiledPolicy,
    store: StoreStatistics,
    now: Situation,
) -> bytes:
    """Return the JSON body of the retained state."""
    classified, unclassified = now.coverage
    total = classified + unclassified
    return encode_state(
        State(
            device=device,
            number=now.number,
            time_ns=now.time_ns,
            boot=boot.hex(),
            agent=version,
            policy_name=policy.name,
            policy_version=policy.version,
            policy_digest=policy.digest.hex(),
            policy_state=now.policy_state,
            policy_source=now.policy_source,
            candidate_version=now.candidate[0],
            candidate_state=now.candidate[1],
            clock=now.clock,
            online=now.online,
            autonomy_h=round(now.autonomy_h, 2),
            spool_records=store.records,
            spool_bytes=store.bytes_used,
            spool_bytes_max=store.bytes_max,
            oldest_ns=store.oldest_ns,
            evidence_size=store.evidence_size,
            coverage=round(classified / total, 6) if total else 1.0,
            links=now.links,
            taps=now.taps,
            buses=now.buses,
            certificate_ns=now.certificate_ns,
            problems=now.problems,
        )
    )


def telemetry_body(
    device: str,
    boot: bytes,
    policy: CompiledPolicy,
    span_ns: tuple[int, int],
    evidence_index: int,
    rows: Sequence[CounterRow],
    held: int,
    losses: Mapping[str, int],
) -> bytes:
    """Return the JSON body of the counters that count.snap ``evidence_index`` holds."""
    return encode_telemetry(
        Telemetry(
            device=device,
            boot=boot.hex(),
            start_ns=span_ns[0],
            end_ns=span_ns[1],
            evidence_index=evidence_index,
            rows=tuple(
                CounterLine(
                    row.destination,
                    str(unpack(row.label)),
                    row.rule,
                    row.action,
                    row.outcome.name.lower(),
                    row.samples,
                    row.bytes_used,
                )
                for row in rows
            ),
            held=held,
            losses=dict(losses),
            policy_digest=policy.digest.hex(),
        )
    )
