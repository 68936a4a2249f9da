"""THE POLICY PATH, on one page: from bytes on a topic, or files, to what decides.

    policy/bundle ─(1) size ─(2) form ─(3) trust ─(4) turn ──────────────> VERIFIED
      ─(5) compiles ─(6) lint ─(7) floor ─(8) cards ─(9) two approvers ──> STAGED
      ─(10) swap between two batches ──> TRIAL ─(11) health ──> ACTIVE, or REVERTED

(1) bounded size, topic by topic, before anything is parsed   adapters/policy/inbox.py
(2) a bundle in its one form                                  `read`
(3) TUF: root chain, timestamp, snapshot, targets by two people, rollout, at a time that
    is believed; where the clock is not, nothing is taken until the fleet has answered
    our nonce                                                 `read`
(4) the signed rollout gives it to this device, now, and it has not failed here `turn`
(5) parses within limits, compiles against the bindings  (8) every recipient has a card
                                                              adapters/policy/loader.py
(6) lint finds nothing that regulation refuses  (7) not below the local floor   `judge`
(9) what weakens important or core categories was signed by two people      `approve`
(10) the old flow finishes, the new one begins                adapters/steering.py
(11) the signed limits hold for the signed time               agent/trial.py

Each step is one transaction of evidence entry and documents, then a signed ack
(agent/activation.py, agent/steps.py); the order of steps and their retries is
adapters/policy/feed.py. What was active stays active until the new one has passed all.
A local policy passes (5) to (8) and decides until the first pushed one does.
Recipients whose card is not good *now* close their destinations, which only tightens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from agent.activation import has_failed
from agent.errors import Refused
from policies.rollout import decide, slot
from policies.tables import NO_RULE, Action
from policies.trust import TrustError, combined, offer, open_bundle
from protocols.bundle import TIMESTAMP

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from agent.activation import Standing
    from policies.compile import Compiled
    from policies.diff.compare import Difference
    from policies.files import Loaded
    from policies.tables import CompiledPolicy
    from policies.trust import Offer, SignedPolicy, Trusted
    from protocols.recipients import RecipientCard

APPROVERS_MIN: Final = 2  # different people, for what weakens protection (GOV-04)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A policy that may decide."""

    compiled: Compiled
    cards: Mapping[str, RecipientCard]
    state: str  # active | lockdown: what telemetry says
    signed: SignedPolicy | None = None  # None: of this gateway's own files
    stands_in: bool = False  # lockdown, for a pushed policy that cannot be read

    @property
    def source(self) -> str:
        """Return where it came from, in a word for telemetry."""
        if self.signed is not None:
            return "pushed"
        return "built-in" if self.state == "lockdown" else "local"

    @property
    def digest(self) -> str:
        """Return the SHA-256 of its text, hexadecimal."""
        return self.compiled.policy.digest.hex()


@dataclass(frozen=True, slots=True)
class Update:
    """What messages change: trust, and what it offers."""

    trusted: Trusted
    offered: Offer
    spoiled: Refused | None = None  # the renewal was bad and was left out


def read_renewal(message: bytes) -> dict[str, bytes]:
    """Step (2) of ``policy/timestamp``: its one file. Refused names the rule."""
    try:
        files = open_bundle(message)
    except TrustError as error:
        raise Refused(error.rule, error.reason) from None
    if [*files] != [TIMESTAMP]:
        raise Refused("format", f"a renewal holds {TIMESTAMP} and nothing else")
    return files


def read(
    trusted: Trusted, message: bytes, renewal: Mapping[str, bytes], now_ns: int
) -> Update | None:
    """Steps (2) and (3); None where nothing is new. Refused: nothing has changed.

    ``message``: of ``policy/bundle``, b"" where none has come; ``renewal``: the newest
    of ``policy/timestamp``, or nothing. Both are retained and come in any order.
    ``now_ns``: a time that is known to be past, at least.
    """
    try:
        files = open_bundle(message) if message else {}
        rest = {name: body for name, body in files.items() if name != TIMESTAMP}
        ours = {TIMESTAMP: trusted.timestamp} if trusted.timestamp else {}
        if _is_known(trusted, rest):
            # The bundle may be older than the renewals since: our own timestamp, which
            # was verified when it came, stands for its own then.
            files = combined(files, ours)
        both = combined(files, renewal)
        if _is_known(trusted, both):
            return None
        spoiled = None
        if both != files:
            try:
                update = Update(*offer(trusted, both, now_ns))
            except TrustError as error:
                if not message or _is_known(trusted, files):
                    raise
                spoiled = Refused(error.rule, error.reason)
            else:
                if update.trusted != trusted or _is_known(trusted, files):
                    return update
                # The renewal names what we have: the bundle has its own timestamp.
        return Update(*offer(trusted, files, now_ns), spoiled)
    except TrustError as error:
        raise Refused(error.rule, error.reason) from None


def _is_known(trusted: Trusted, files: Mapping[str, bytes]) -> bool:
    """Tell whether we hold every one of ``files`` already, byte for byte."""
    held = {
        *trusted.roots,
        trusted.timestamp,
        trusted.snapshot,
        trusted.targets,
        trusted.rollout,
    }
    return all(
        body in held or trusted.files.get(name) == body for name, body in files.items()
    )


@dataclass(frozen=True, slots=True)
class Turn:
    """Step (4): what the rollout wants of this device now."""

    take: SignedPolicy | None = None  # this one, from the beginning
    why: str = ""
    matches: bool = False  # what is wanted decides already
    aborts: bool = False  # the candidate is to go, on trial too
    failed: bool = False  # it was refused or reverted here, and nobody asks anew
    candidate: int = 0  # the version that is wanted; else the rollout's candidate
    offers: int = 0  # the rollout's candidate
    attempt: int = 0
    slot: int = -1


def turn(
    offered: Offer,
    device: str,
    groups: Collection[str],
    clock: tuple[int, bool],
    standing: Standing,
    active: Accepted,
) -> Turn:
    """Return what the offered rollout wants of us.

    ``clock``: (ns, whether it is believed); ``active``: the policy last confirmed.
    Refused where the policy it names is not for this device.
    """
    rollout = offered.rollout
    if rollout is None:
        return Turn(why="no rollout")
    place = slot(rollout.salt, device)
    wanted, why = decide(rollout, device, groups, *clock)
    told = Turn(
        why=why,
        aborts=rollout.state == "aborted",
        candidate=rollout.candidate,
        offers=rollout.candidate,
        attempt=rollout.attempt,
        slot=place,
    )
    if wanted is None:
        return told
    try:
        policy = offered.policy(wanted, device)
    except TrustError as error:
        raise Refused(error.rule, error.reason) from None
    digest = policy.digest.hex()
    return replace(
        told,
        take=policy,
        matches=active.signed is not None and active.digest == digest,
        failed=has_failed(standing, digest, rollout.attempt),
        candidate=wanted,
    )


def judge(
    loaded: Loaded, cards: Mapping[str, RecipientCard], lockdown: str
) -> Accepted:
    """Steps (6) and (7): the policy that may decide; Refused names the rule it breaks.

    ``loaded`` has passed step (5) and ``cards`` step (8). ``lockdown``: name of the
    built-in policy.
    """
    if loaded.errors:  # (6)
        first = loaded.errors[0]
        more = len(loaded.errors) - 1
        raise Refused("lint", f"{first}" + (f" (and {more} more)" if more else ""))
    if loaded.violations:  # (7)
        raise Refused("floor", str(loaded.violations[0]))
    name = loaded.compiled.policy.name
    return Accepted(
        loaded.compiled, cards, "lockdown" if name == lockdown else "active"
    )


def approve(signed: SignedPolicy, difference: Difference) -> int:
    """Step (9), GOV-04: return how many guarded lines it weakens, duly approved.

    Refused where it weakens an important or core category and fewer than two different
    people signed it.
    """
    weakens = len(difference.guarded)
    if weakens and len({*signed.signers}) < APPROVERS_MIN:
        first = difference.guarded[0]
        what = f"{first.item} to {first.destination}" if first.item else first.why
        reason = (
            f"weakens {weakens} important or core items, {what} first, and fewer than"
            " two people signed it"
        )
        raise Refused("approvals", reason)
    return weakens


LEAVES: Final = frozenset({Action.ALLOW, Action.ENCRYPT})
IN_THE_OPEN: Final = frozenset({Action.ALLOW})


def permitted(
    policy: CompiledPolicy, actions: frozenset[Action] = LEAVES
) -> set[tuple[str, int]]:
    """Return every (destination, packed label) that may leave by one of ``actions``.

    What is spooled for any other place has lost its permission (DESIGN section 8); what
    is spooled in the open needs a rule that still allows it in the open.
    """
    places: set[tuple[str, int]] = set()
    for destination in policy.destinations:
        for number in np.unique(destination.chain).tolist():
            if number == NO_RULE:
                continue
            rule = policy.rules[number]
            if rule.action in actions:
                items = (destination.chain == number).any(axis=1)
                labels = np.unique(rule.label_out[items]).tolist()
                places |= {(destination.name, label) for label in labels}
    return places
