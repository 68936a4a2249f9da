"""What the devices' signed acks say of a rollout: table, totals, and when to stop.

Pure: acks and the registry's keys in, counts out. Whoever reads a broker or signs is
``rollout_desk.py``; docs/formats/rollout.md section 5 has the rules in words.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from policies.rollout import SLOTS, slot
from protocols.acks import open_ack
from protocols.errors import WireError
from protocols.plain import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from policies.rollout import Rollout
    from protocols.acks import Ack

Outcome: TypeAlias = Literal[
    "silent",
    "waiting",
    "verified",
    "staged",
    "trial",
    "active",
    "refused",
    "reverted",
    "back",
]
OUTCOMES: Final[tuple[Outcome, ...]] = (
    "silent", "waiting", "verified", "staged", "trial", "active", "refused", "reverted",
    "back",
)  # fmt: skip
FINAL: Final = frozenset({"active", "refused", "reverted", "back"})
UNANSWERED: Final = frozenset({"silent", "waiting"})
_ON_THE_WAY: Final[dict[str, Outcome]] = {
    "verified": "verified", "staged": "staged", "trial": "trial",
    "refused": "refused", "reverted": "reverted",
}  # fmt: skip
_ON_ITS_WAY: Final = frozenset({"verified", "staged", "trial"})
TENTHS: Final = 10
NAMED_MAX: Final = 20  # devices that a report names of each kind


class AckBook:
    """The newest valid ack of every enrolled device, and what was not valid."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Take the registry: device -> Ed25519 public key."""
        self.keys = dict(keys)
        self.acks: dict[str, Ack] = {}
        self.bad: dict[str, str] = {}  # device -> why its last bad message is bad
        self.bad_count = 0
        self._bad_digest: dict[str, bytes] = {}
        self.older = 0  # arrived after a newer one: ignored
        self.strangers: set[str] = set()  # names of senders that are not enrolled

    def take(self, device: str, message: bytes) -> bool:
        """Keep a message where it is a newer ack; True where it changed the book."""
        key = self.keys.get(device)
        if key is None:
            if len(self.strangers) < SLOTS:
                self.strangers.add(device)
            return False
        try:
            ack = open_ack(message, key, device)
        except WireError as error:
            digest = sha256(message).digest()
            if self._bad_digest.get(device) != digest:  # a kept one comes again
                self._bad_digest[device] = digest
                self.bad_count += 1
            self.bad[device] = error.reason
            return False
        known = self.acks.get(device)
        if known is not None and ack.number <= known.number:
            self.older += ack.number < known.number
            return False
        self.acks[device] = ack
        return True


@dataclass(slots=True)
class Totals:
    """The cohort in numbers; ``expected`` counts it, ``outcomes`` sum to it."""

    enrolled: int = 0
    expected: int = 0
    unplaced: int = 0  # silent, slot within, group unknown: perhaps of the cohort
    outcomes: Counter[str] = field(default_factory=Counter)
    rules: Counter[tuple[str, str]] = field(default_factory=Counter)
    named: dict[str, list[str]] = field(default_factory=dict)  # outcome -> some devices
    others_active: int = 0  # beyond the cohort and deciding by the candidate

    @property
    def answered(self) -> int:
        """Return how many of the cohort speak of this candidate and attempt."""
        return sum(n for one, n in self.outcomes.items() if one not in UNANSWERED)

    @property
    def final(self) -> int:
        """Return how many of the cohort are at the end of their way."""
        return sum(self.outcomes[one] for one in FINAL)

    @property
    def is_done(self) -> bool:
        """Tell whether every device of the cohort has said how it ended."""
        return self.final >= self.expected


def outcome(rollout: Rollout, ack: Ack | None) -> Outcome:
    """Return where a device stands in this rollout and attempt, by its newest ack.

    A device that has the candidate from an earlier attempt is active; what it said of
    another candidate, or of an earlier attempt's refusal, counts as waiting.
    """
    if ack is None:
        return "silent"
    if rollout.state == "aborted":
        return _after_the_end(rollout, ack)
    if ack.state == "active" and ack.policy_version == rollout.candidate:
        return "active"
    same = (ack.candidate_version, ack.attempt) == (rollout.candidate, rollout.attempt)
    return _ON_THE_WAY.get(ack.state, "waiting") if same else "waiting"


def _after_the_end(rollout: Rollout, ack: Ack) -> Outcome:
    """Return whether a device went back; with no stable policy it keeps what it has."""
    if ack.state in _ON_ITS_WAY:
        return "waiting"
    if ack.policy_version != rollout.candidate:
        return "back"
    return "waiting" if rollout.stable else "active"


class Tally:
    """Counts one rollout over a book; slots are worked out once."""

    def __init__(self, rollout: Rollout, book: AckBook) -> None:
        """Take a rollout; the book may go on changing."""
        self.rollout = rollout
        self.book = book
        self._named = frozenset(rollout.devices)
        self._groups = frozenset(rollout.groups)
        slots = {device: slot(rollout.salt, device) for device in book.keys}
        self._within = {device: one < rollout.upto for device, one in slots.items()}
        tenths = Counter(one * TENTHS // SLOTS for one in slots.values())
        self.slots = tuple(tenths[n] for n in range(TENTHS))

    def totals(self) -> Totals:
        """Return the counts as of now."""
        found = Totals(enrolled=len(self._within))
        for device, within in self._within.items():
            ack = self.book.acks.get(device)
            told = outcome(self.rollout, ack)
            if self._is_expected(device, within, ack):
                _count(found, device, told, ack)
            elif ack is None and within:
                found.unplaced += 1
            elif told == "active":
                found.others_active += 1
        return found

    def expected(self) -> set[str]:
        """Return the devices of the cohort that are not at the end of their way."""
        return {
            device
            for device, within in self._within.items()
            if self._is_expected(device, within, self.book.acks.get(device))
            and outcome(self.rollout, self.book.acks.get(device)) not in FINAL
        }

    def _is_expected(self, device: str, within: bool, ack: Ack | None) -> bool:
        if device in self._named:
            return True
        # only the device itself says which groups it is of; its slot is known
        groups = self._groups
        return within and (not groups or bool(ack and groups & {*ack.groups}))


def _count(found: Totals, device: str, told: Outcome, ack: Ack | None) -> None:
    found.expected += 1
    found.outcomes[told] += 1
    names = found.named.setdefault(told, [])
    if len(names) < NAMED_MAX:
        names.append(device)
    if ack is not None and told in {"refused", "reverted"}:
        found.rules[told, ack.rule or "?"] += 1


def limit_passed(rollout: Rollout, totals: Totals) -> str:
    """Return why the rollout must stop, "" where it need not.

    A share is of those who answered, whatever their state: a refusal comes at once and
    a confirmation after the trial, so a share of those who ended would begin at 100 %.
    It is looked at from ``min_acks`` answers on, or once the whole cohort answered.
    """
    answered = totals.answered
    if not answered or answered < min(rollout.halt.min_acks, totals.expected):
        return ""
    for told, limit in (
        ("refused", rollout.halt.refused_share),
        ("reverted", rollout.halt.reverted_share),
    ):
        count = totals.outcomes[told]
        if count * SLOTS > limit * answered:
            return (
                f"{count} of {answered} {told} ({percent(count, answered)}, the limit"
                f" is {percent(limit, SLOTS)}): {_first_rules(totals, told)}"
            )
    return ""


def _first_rules(totals: Totals, told: str) -> str:
    ranked = [
        f"{rule} {n}" for (kind, rule), n in totals.rules.most_common() if kind == told
    ]
    return ", ".join(ranked[:3])


def percent(part: int, whole: int) -> str:
    """Return a share for people: ``2.5 %``; of nothing: ``-``."""
    if not whole:
        return "-"
    return f"{100 * part / whole:.2f}".rstrip("0").rstrip(".") + " %"


def step_line(rollout: Rollout) -> str:
    """Return a step in one line: ``winter, attempt 1: policy 43 for 1 % of ...``."""
    groups = f" of {', '.join(rollout.groups)}" if rollout.groups else " of the fleet"
    more = f" and {len(rollout.devices)} by name" if rollout.devices else ""
    after = f", {rollout.note}" if rollout.note else ""
    return printable(
        f"{rollout.name}, attempt {rollout.attempt}: policy {rollout.candidate} for"
        f" {percent(rollout.upto, SLOTS)}{groups}{more}, {rollout.state}{after}"
    )


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `sluicectl rollout` tells machines: one line of JSON."""

    step: str  # in words
    rollout: str
    attempt: int
    state: str
    candidate: int
    stable: int
    upto: int
    groups: tuple[str, ...]
    note: str
    enrolled: int
    slots: tuple[int, ...]  # enrolled devices by tenth of the slots: should be even
    expected: int
    unplaced: int
    answered: int
    final: int
    done: bool
    outcomes: dict[str, int]
    rules: dict[str, int]  # "refused floor" -> devices
    named: dict[str, list[str]]  # some devices that refused, reverted or are silent
    others_active: int
    bad_acks: int
    bad_devices: dict[str, str]
    older_acks: int
    strangers: list[str]
    limit: str  # why it must stop, "" where it need not
    seconds: float  # since this command began to watch


def report(tally: Tally, seconds: float) -> Report:
    """Return the facts of this moment, ``seconds`` after watching began."""
    rollout, book, totals = tally.rollout, tally.book, tally.totals()
    told = {str(one): totals.outcomes[one] for one in OUTCOMES if totals.outcomes[one]}
    named = {
        one: names
        for one, names in totals.named.items()
        if one in {"refused", "reverted", "silent"}
    }
    return Report(
        step=step_line(rollout), rollout=rollout.name, attempt=rollout.attempt,
        state=rollout.state,
        candidate=rollout.candidate, stable=rollout.stable, upto=rollout.upto,
        groups=rollout.groups, note=rollout.note, enrolled=totals.enrolled,
        slots=tally.slots, expected=totals.expected, unplaced=totals.unplaced,
        answered=totals.answered,
        final=totals.final, done=totals.is_done, outcomes=told,
        rules={f"{kind} {rule}": n for (kind, rule), n in totals.rules.items()},
        named=named, others_active=totals.others_active, bad_acks=book.bad_count,
        bad_devices=dict(sorted(book.bad.items())[:NAMED_MAX]), older_acks=book.older,
        strangers=sorted(book.strangers)[:NAMED_MAX],
        limit=limit_passed(rollout, totals), seconds=round(seconds, 3),
    )  # fmt: skip
