"""What becomes of a policy that was pushed: its states as a table, and what is kept.

    waiting ──> verified ──> staged ──> trial ──> active
                    │           │         └─────> reverted
                    └─> refused └─> dropped

WAITING   signed well, and not for this device, or not yet
VERIFIED  signatures hold and the rollout gives it to this device
STAGED    it compiles, passes lint, floor and approvals, and lies durably with its proof
TRIAL     it decides, and is watched; what lost its permission waits, held back
ACTIVE    it decides, confirmed
REFUSED   it never decided; the rule says why
REVERTED  it decided and was taken back; the rule says why

Every step is one transaction: the standing, the documents it speaks of and the evidence
entry that says so. So after a power cut there is the standing before a step or the one
after it. A bundle that is refused for its signatures is no step: it changes nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

STARTS_MAX: Final = 3  # a candidate that ends the process is not compiled for ever
FAILURES_MAX: Final = 16  # candidates that are remembered as refused or reverted
REASON_MAX: Final = 200  # characters


class State(Enum):
    """Where the candidate is; its value is what acks and documents say."""

    NONE = "none"
    WAITING = "waiting"
    VERIFIED = "verified"
    STAGED = "staged"
    TRIAL = "trial"
    ACTIVE = "active"
    REFUSED = "refused"
    REVERTED = "reverted"


class Event(Enum):
    """What happens to the candidate."""

    WAIT = "wait"  # it is not this device's turn
    MATCH = "match"  # what is wanted decides already
    VERIFY = "verify"
    STAGE = "stage"
    REFUSE = "refuse"
    DROP = "drop"  # another one came, or the process ended, before its trial
    BEGIN = "begin"
    CONFIRM = "confirm"
    REVERT = "revert"


# Where nothing is under way: the one place from which something new may begin.
RESTING: Final = (
    State.NONE,
    State.WAITING,
    State.ACTIVE,
    State.REFUSED,
    State.REVERTED,
)

# Every transition is in this table. If it is not here, it cannot happen.
NEXT: Final[dict[tuple[State, Event], State]] = {
    **{(state, Event.WAIT): State.WAITING for state in RESTING},
    **{(state, Event.MATCH): State.ACTIVE for state in RESTING},
    **{(state, Event.VERIFY): State.VERIFIED for state in RESTING},
    (State.VERIFIED, Event.STAGE): State.STAGED,
    (State.VERIFIED, Event.REFUSE): State.REFUSED,
    (State.VERIFIED, Event.DROP): State.NONE,
    (State.STAGED, Event.BEGIN): State.TRIAL,
    (State.STAGED, Event.DROP): State.NONE,
    (State.TRIAL, Event.CONFIRM): State.ACTIVE,
    (State.TRIAL, Event.REVERT): State.REVERTED,
}


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A candidate that is not tried again until the rollout's attempt rises."""

    digest: str
    attempt: int


class Standing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How things stand with the candidate; one document of the store."""

    v: int = 1
    state: State = State.NONE
    name: str = ""
    version: int = 0
    digest: str = ""  # SHA-256 of the candidate's text, hexadecimal
    attempt: int = 0
    slot: int = -1
    rule: str = ""
    reason: str = ""
    approvers: tuple[str, ...] = ()
    weakens: int = 0  # lines of important or core categories that it loosens
    since_ns: int = 0
    evidence_index: int = -1
    restarts: int = 0  # of the process since the candidate was verified, or on trial
    decided: bool = False  # a pushed policy was confirmed: nothing local may replace it
    failures: tuple[Failure, ...] = ()


def after(standing: Standing, event: Event, **facts: object) -> Standing:
    """Return the standing after ``event``; ValueError where the table lacks it (a bug).

    ``facts``: fields that change with it; rule and reason are those of this step only.
    """
    try:
        state = NEXT[standing.state, event]
    except KeyError:
        message = f"{event.value!r} cannot happen while {standing.state.value}"
        raise ValueError(message) from None
    changed: dict[str, object] = {"rule": "", "reason": "", **facts, "state": state}
    changed["reason"] = str(changed["reason"])[:REASON_MAX]
    new = msgspec.structs.replace(standing, **changed)
    if event in {Event.CONFIRM, Event.MATCH}:
        new = msgspec.structs.replace(new, decided=True)
    if event in {Event.REFUSE, Event.REVERT}:
        failed = Failure(new.digest, new.attempt)
        older = tuple(one for one in new.failures if one.digest != new.digest)
        kept = (*older, failed)[-FAILURES_MAX:]
        new = msgspec.structs.replace(new, failures=kept)
    return new


def has_failed(standing: Standing, digest: str, attempt: int) -> bool:
    """Tell whether this candidate failed here, and nobody has asked for it anew."""
    return any(
        one.digest == digest and attempt <= one.attempt for one in standing.failures
    )


def restarted(standing: Standing) -> Standing:
    """Return the standing as a new process finds it: a trial goes on, and is counted.

    What was only verified or staged has decided nothing; it comes again.
    """
    counted = msgspec.structs.replace(standing, restarts=standing.restarts + 1)
    if standing.state is State.TRIAL:
        return counted
    if standing.state in {State.VERIFIED, State.STAGED}:
        return after(counted, Event.DROP)
    return standing


def starts_before(standing: Standing, digest: str, attempt: int) -> int:
    """Return how often the process has ended between verifying this and trying it."""
    is_same = (standing.digest, standing.attempt) == (digest, attempt)
    return standing.restarts if is_same and standing.state is State.NONE else 0


def encode_standing(standing: Standing) -> bytes:
    """Return the document of a standing."""
    return msgspec.json.encode(standing)


def decode_standing(document: bytes) -> Standing:
    """Return the standing of a document; ValueError where it is none."""
    try:
        return msgspec.json.decode(document, type=Standing)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
