"""The words of a step: what its evidence entry says, and what the ack says. Pure.

Both are made of the same standing, so that the fleet's report of acks and the device's
log cannot tell two stories. Nothing in them was read from a bus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.activation import State
from protocols.acks import APPROVERS_MAX, Ack, pack_ack

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.activation import Standing
    from agent.control import Accepted
    from policies.trust import Offer
    from protocols.acks import AckState


@dataclass(frozen=True, slots=True)
class Versions:
    """Of the metadata that are trusted; 0 before the first update."""

    root: int = 0
    timestamp: int = 0
    targets: int = 0


def versions_of(offered: Offer | None) -> Versions:
    """Return the versions that an offer tells."""
    if offered is None:
        return Versions()
    return Versions(
        offered.root_version, offered.timestamp_version, offered.targets_version
    )


def step_facts(
    standing: Standing, versions: Versions, catalogues: bytes
) -> dict[str, object]:
    """Return the facts of a ``cfg.change`` entry (docs/formats/evidence-log.md)."""
    return {
        "name": standing.name,
        "version": standing.version,
        "digest": bytes.fromhex(standing.digest),
        "catalogues": catalogues,
        "attempt": standing.attempt,
        "rule": standing.rule,
        "reason": standing.reason,
        "approvers": list(standing.approvers),
        "weakens": standing.weakens,
        "metadata": [versions.root, versions.timestamp, versions.targets],
    }


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who says it: what no step changes."""

    device: str
    boot: bytes
    groups: tuple[str, ...]
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Moment:
    """When it is said."""

    number: int
    time_ns: int
    clock: str  # high | low
    nonce: str


def ack_of(
    speaker: Speaker,
    moment: Moment,
    accepted: Accepted,
    standing: Standing,
    versions: Versions,
) -> bytes:
    """Return the signed ack of a standing, while ``accepted`` decides."""
    policy = accepted.compiled.policy
    return pack_ack(
        Ack(
            device=speaker.device,
            number=moment.number,
            time_ns=max(moment.time_ns, 0),
            boot=speaker.boot.hex(),
            nonce=moment.nonce,
            clock="good" if moment.clock == "high" else "low",
            root_version=versions.root,
            timestamp_version=versions.timestamp,
            targets_version=versions.targets,
            policy_name=policy.name,
            policy_version=policy.version,
            policy_digest=policy.digest.hex(),
            candidate_version=standing.version,
            candidate_digest=standing.digest,
            attempt=standing.attempt,
            state=_state(accepted, standing),
            rule=standing.rule,
            reason=standing.reason,
            slot=standing.slot,
            groups=speaker.groups,
            approvers=standing.approvers[:APPROVERS_MAX],
            evidence_index=standing.evidence_index,
            since_ns=max(standing.since_ns, 0),
        ),
        speaker.sign,
    )


# With nothing offered, an ack says what decides.
_WORDS: Final[dict[State, AckState]] = {
    State.WAITING: "waiting",
    State.VERIFIED: "verified",
    State.STAGED: "staged",
    State.TRIAL: "trial",
    State.ACTIVE: "active",
    State.REFUSED: "refused",
    State.REVERTED: "reverted",
}


def _state(accepted: Accepted, standing: Standing) -> AckState:
    if standing.state in _WORDS:
        return _WORDS[standing.state]
    if accepted.state == "lockdown":
        return "lockdown"
    return "local" if accepted.signed is None else "active"
