"""Whether a consent holds now, and why not. Pure: statements and times in.

A consent holds while (1) the policy declares it and tells the person the same as when
it was given  (2) it is no longer than the policy allows  (3) it has not expired, by a
clock that is believed  (4) no ignition cycle began since, unless it survives those
(5) its id has not ended before. Every change is told once, for the evidence.

Ends differ in what they do to data that waits to be sent: what a person takes back and
what has expired is destroyed where it waits; a cycle (4), another policy (1, 2) and a
file that cannot be read end the collecting only. The latter two end nothing for good:
a policy on trial that is taken back leaves people's consents as they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agent.consent_file import Statement
    from policies.tables import CompiledConsent
    from protocols.frames import I64, Bool

AHEAD_NS: Final = 300 * 1_000_000_000  # how far ahead of our clock a giver's may be
ENDED_MAX: Final = 256  # ids that are remembered as ended
SILENCE_NS: Final = 60 * 1_000_000_000  # an ignition item that says nothing is off
UNTIL_LOOKED_NS: Final = 0

ON: Final = "on"
OFF: Final = "off"
REFUSED: Final = "refused"
WAITING: Final = "waiting"
IGNITION: Final = "ignition"
EXPIRY: Final = "expiry"
POLICY: Final = "policy"
FILE: Final = "file"
NOT_LOOKED: Final = "not looked at yet"
NO_SUCH: Final = "the policy has no such consent"
NEW_CYCLE: Final = "a new ignition cycle began"


class Known(msgspec.Struct, frozen=True):
    """A consent that was on, and has not ended for what waits to be sent."""

    name: str
    id: str
    terms: bytes
    classes: tuple[str, ...]
    by: str
    expires_ns: int
    survives: bool
    is_on: bool = True  # False: ended for what is collected, not for what waits


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a consent; goes into the evidence as ``consent.state``."""

    consent: str
    classes: tuple[str, ...]
    state: str  # on | off | refused
    set_by: str  # a role, or: ignition | expiry | policy | file
    expires_ns: int
    survives: bool
    cause: str
    destroys: bool = False  # what waits to be sent under it


@dataclass(frozen=True, slots=True)
class Standing:
    """One consent as `sluicegate status` shows it."""

    name: str
    state: str  # on | off | refused | waiting
    reason: str
    expires_ns: int = 0
    by: str = ""
    survives: bool = False
    id: str = ""  # of the statement that it is about; none: nothing was given


Verdict: TypeAlias = tuple[str, str]  # state, reason


class _Memory(msgspec.Struct, frozen=True):
    known: list[Known]
    ended: dict[str, str]  # id -> why


class Consents:
    """All consents of one device; belongs to the flow's task."""

    def __init__(self, declared: Iterable[CompiledConsent]) -> None:
        """Begin with nothing given; a start is an ignition cycle."""
        self._declared = {one.name: one for one in declared}
        self._known: dict[str, Known] = {}
        self._ended: dict[str, str] = {}  # id -> why
        self._statements: dict[str, Statement] | None = None
        self._unread = "not read yet"  # why there are no statements
        self._told: dict[str, Verdict] = {}  # what was refused and is recorded
        self._verdicts: dict[str, Verdict] = {}
        self._changes: list[Change] = []
        self._next_ns = UNTIL_LOOKED_NS
        self._clock_ok = False
        self._starting = True
        self._ignition: tuple[bool, int] | None = None  # whether it was on, and when
        self.holding: Mapping[str, int] = {}  # name -> wall-clock ns of its end

    # --- what happens -----------------------------------------------------------------

    def remember(self, memory: bytes) -> None:
        """Take over what ``encode`` gave in the run before."""
        kept = _remembered(memory)
        self._known = {one.name: one for one in kept.known}
        self._ended = dict(kept.ended)

    def declare(self, declared: Iterable[CompiledConsent]) -> None:
        """Another policy decides from now on."""
        self._declared = {one.name: one for one in declared}
        self._next_ns = UNTIL_LOOKED_NS

    def take(self, statements: Sequence[Statement]) -> None:
        """The file says this from now on."""
        self._statements = {one.name: one for one in statements}
        self._unread = ""
        self._verdicts = {}
        self._next_ns = UNTIL_LOOKED_NS
        if self._starting:
            self._starting = False
            self.ignition()

    def unread(self, reason: str) -> None:
        """The file cannot be read: nothing holds until it can."""
        self._statements = None
        self._unread = reason
        self._next_ns = UNTIL_LOOKED_NS

    def ignition(self) -> None:
        """A new ignition cycle begins: what does not survive it is off (COL-02)."""
        for known in [*self._known.values()]:
            if not known.survives:
                self._end(known.id, NEW_CYCLE)
                if known.is_on:
                    self._off(known, IGNITION, NEW_CYCLE)
        for statement in (self._statements or {}).values():
            if not self._survives(statement):
                self._end(statement.id, NEW_CYCLE)
        self._next_ns = UNTIL_LOOKED_NS

    def ignition_seen(self, is_on: Bool, time_ns: I64) -> None:
        """Take in what the ignition's item said [K], in order of time.

        A cycle begins where off becomes on. An item that said nothing for
        ``SILENCE_NS`` was off, or nobody listened: then nobody knows that it stayed on.
        What it says first begins none: the start of the agent did.
        """
        if not len(is_on):
            return
        first = int(time_ns[0])
        was_on, when_ns = self._ignition or (bool(is_on[0]), first)
        before = np.concatenate(([was_on], is_on[:-1]))
        silence_ns = np.diff(time_ns, prepend=when_ns)
        if (is_on & (~before | (silence_ns > SILENCE_NS))).any():
            self.ignition()
        self._ignition = bool(is_on[-1]), int(time_ns[-1])

    def look(self, now_ns: int, *, clock_ok: bool) -> None:
        """Judge everything at this moment; costs nothing where nothing is due."""
        if now_ns < self._next_ns and clock_ok == self._clock_ok:
            return
        self._clock_ok = clock_ok
        if self._statements is None:
            self._without_file(now_ns)
        else:
            self._judge(self._statements, now_ns)
        on = {n: k for n, k in self._known.items() if k.is_on}
        self.holding = {name: known.expires_ns for name, known in on.items()}
        ends = [known.expires_ns for known in self._known.values()]
        ends += [s.given_ns - AHEAD_NS for s in (self._statements or {}).values()]
        self._next_ns = min((one for one in ends if one > now_ns), default=2**63)

    def changes(self) -> list[Change]:
        """Return what changed since this was asked last."""
        found, self._changes = self._changes, []
        return found

    # --- judging ----------------------------------------------------------------------

    def _without_file(self, now_ns: int) -> None:
        for known in [*self._known.values()]:
            if self._clock_ok and now_ns >= known.expires_ns:
                self._off(known, EXPIRY, "expired", for_good=True)
            elif known.is_on:
                self._off(known, FILE, self._unread)
        self._verdicts = {}

    def _judge(self, statements: Mapping[str, Statement], now_ns: int) -> None:
        for known in [*self._known.values()]:
            self._still(known, statements.get(known.name), now_ns)
        self._verdicts = {}
        self._told = {n: told for n, told in self._told.items() if n in statements}
        for name, statement in statements.items():
            verdict = self._verdict(statement, now_ns)
            self._verdicts[name] = verdict
            if verdict[0] == ON:
                self._on(statement)
            elif verdict[0] == REFUSED and self._told.get(name) != verdict:
                self._refuse(statement, verdict[1])
            if verdict[0] != REFUSED:
                self._told.pop(name, None)

    def _still(self, known: Known, statement: Statement | None, now_ns: int) -> None:
        """End a consent that was on and may be no longer."""
        if statement is None:
            self._off(known, known.by, "withdrawn", for_good=True)
            return
        if self._clock_ok and now_ns >= known.expires_ns:
            self._off(known, EXPIRY, "expired", for_good=True)
            return
        state, reason = self._verdict(statement, now_ns)
        if statement.id != known.id:
            # Another id that holds: it was renewed, and nothing ends.
            if state != ON and self._clock_ok:
                self._off(known, known.by, "withdrawn", for_good=True)
        elif known.is_on and state in {REFUSED, OFF}:
            self._off(known, POLICY, reason)

    def _verdict(self, statement: Statement, now_ns: int) -> Verdict:
        declared = self._declared.get(statement.name)
        if declared is None:
            return REFUSED, NO_SUCH
        span_ns = statement.expires_ns - statement.given_ns
        if span_ns <= 0:
            return REFUSED, "ends before it was given"
        if span_ns > declared.at_most_ns:
            return REFUSED, "longer than the policy allows"
        if statement.opt_in and not declared.survives_ignition:
            return REFUSED, "the policy lets it survive no ignition cycle"
        ended = self._ended.get(statement.id)
        if ended is not None:
            return OFF, ended
        known = self._known.get(statement.name)
        if known and known.id == statement.id and known.terms != declared.terms:
            return OFF, "the policy tells other terms"
        if not self._clock_ok:
            return WAITING, "the clock is not believed"
        if statement.given_ns > now_ns + AHEAD_NS:
            return WAITING, "given in the future"
        if now_ns >= statement.expires_ns:
            return OFF, "expired"
        return ON, ""

    def _survives(self, statement: Statement) -> bool:
        declared = self._declared.get(statement.name)
        return bool(statement.opt_in and declared and declared.survives_ignition)

    # --- changing ---------------------------------------------------------------------

    def _on(self, statement: Statement) -> None:
        before = self._known.get(statement.name)
        if before is not None and before.is_on and before.id == statement.id:
            return
        declared = self._declared[statement.name]
        known = Known(
            statement.name,
            statement.id,
            declared.terms,
            declared.classes,
            statement.by,
            statement.expires_ns,
            self._survives(statement),
        )
        self._known[statement.name] = known
        cause = "given"
        if before is not None:
            cause = "again" if before.id == statement.id else "renewed"
            if cause == "renewed":
                self._end(before.id, "renewed")
        self._changes.append(_change(known, ON, known.by, cause))

    def _off(
        self, known: Known, set_by: str, cause: str, *, for_good: bool = False
    ) -> None:
        """End a consent; ``for_good``: what waits to be sent under it ends too."""
        if for_good:
            del self._known[known.name]
        else:
            off = msgspec.structs.replace(known, is_on=False)
            self._known[known.name] = off
        if set_by not in {FILE, POLICY}:  # it may be read, and declared, again
            self._end(known.id, cause)
        self._changes.append(_change(known, OFF, set_by, cause, destroys=for_good))

    def _end(self, identity: str, why: str) -> None:
        self._ended.setdefault(identity, why)
        while len(self._ended) > ENDED_MAX:
            del self._ended[next(iter(self._ended))]

    def _refuse(self, statement: Statement, reason: str) -> None:
        self._told[statement.name] = REFUSED, reason
        known = self._known.get(statement.name)
        if known is not None and known.id == statement.id:
            return  # told as its end
        declared = self._declared.get(statement.name)
        self._changes.append(
            Change(
                statement.name,
                declared.classes if declared else (),
                REFUSED,
                statement.by,
                statement.expires_ns,
                statement.opt_in,
                reason,
            )
        )

    # --- telling ----------------------------------------------------------------------

    def standings(self) -> list[Standing]:
        """Return every declared consent, then what was given and is none of them."""
        given = self._statements or {}
        names = dict.fromkeys((*self._declared, *given))
        return [self._standing(name, given.get(name)) for name in names]

    def _standing(self, name: str, statement: Statement | None) -> Standing:
        if statement is None:
            if name in self.holding:  # it went, and no batch was judged since
                return Standing(name, WAITING, NOT_LOOKED)
            unread = self._statements is None
            return Standing(name, OFF, self._unread if unread else "not given")
        state, reason = self._verdicts.get(name, (WAITING, NOT_LOOKED))
        if state == ON and not self._clock_ok:
            state, reason = WAITING, "the clock is not believed"
        return Standing(
            name,
            state,
            reason,
            statement.expires_ns,
            statement.by,
            self._survives(statement),
            statement.id,
        )

    def encode(self) -> bytes:
        """Return what the next run must know."""
        return msgspec.msgpack.encode(_Memory([*self._known.values()], self._ended))


def _change(
    known: Known, state: str, set_by: str, cause: str, *, destroys: bool = False
) -> Change:
    return Change(
        known.name,
        known.classes,
        state,
        set_by,
        known.expires_ns,
        known.survives,
        cause,
        destroys,
    )


def _remembered(memory: bytes) -> _Memory:
    """Return what the run before knew; nothing where it cannot be read: all is off."""
    try:
        return msgspec.msgpack.decode(memory, type=_Memory)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Memory([], {})
