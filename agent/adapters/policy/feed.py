"""Walks the policy path (agent/control.py): whose turn it is, the steps, the trial.

One task does all of it, one thing after the other, so that no two steps can meet.
Compiling runs in a thread; the data path goes on meanwhile. The standing and its
documents are `PolicyRecorder`'s, what is trusted is `PolicyMessages`', who decides is
`Steering`'s.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from agent.activation import STARTS_MAX, Event, State, after, starts_before
from agent.adapters.health import reading
from agent.adapters.policy.messages import SETTLE_S, PolicyMessages
from agent.adapters.steering import SPOOLED_UNDER
from agent.control import approve, turn
from agent.errors import Refused
from agent.leftovers import mark
from agent.store.documents import ACTIVE, TRIAL, opened
from agent.trial import SECOND_NS, Breach, Trial
from policies.diff.compare import compare
from policies.trust import proof

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.activation import Standing
    from agent.adapters.policy.inbox import PolicyInbox
    from agent.adapters.policy.recorder import PolicyRecorder
    from agent.adapters.policy.shelf import Restored
    from agent.adapters.steering import Desk, Steering
    from agent.control import Accepted, Turn, Update
    from agent.trial import Reading
    from policies.trust import SignedPolicy

# A start compiles it again before anything else runs, and is given up at some time.
COMPILE_NS_MAX: Final = 30 * SECOND_NS
LOOK_S: Final = 1.0  # how often a trial, a window or an expiry is looked at
WHAT_TIME: Final = "waits for the fleet to answer what time it is"
NOTHING: Final[Mapping[str, bytes]] = {}
SETTLED: Final = frozenset({State.ACTIVE, State.REFUSED, State.REVERTED})


class PolicyFeed:
    """Takes pushed policies, from the first byte to the end of their trial."""

    def __init__(
        self,
        desk: Desk,
        inbox: PolicyInbox,
        recorder: PolicyRecorder,
        restored: Restored,
        groups: tuple[str, ...],
        load: Callable[[SignedPolicy], Accepted],
    ) -> None:
        """``load`` compiles a signed policy, or raises Refused; it reads files."""
        self._desk = desk
        self._inbox = inbox
        self._recorder = recorder
        self._restored = restored
        self._groups = groups
        self._load = load
        self._messages = PolicyMessages(
            desk, inbox, recorder, restored.trusted, restored.offered
        )
        self._trial: Trial | None = None

    async def begin(self, steering: Steering) -> None:
        """Record what the start found; before anything else runs."""
        self._steering = steering
        restored, recorder = self._restored, self._recorder
        if restored.step:
            documents = {TRIAL: b""} if restored.step == "reverted" else NOTHING
            standing = restored.standing
            await recorder.record(restored.step, standing, restored.accepted, documents)
        else:
            recorder.tell(restored.accepted)
        self._mended()
        for trouble in restored.troubles:
            self._desk.now.troubles["policy"] = trouble

        self._watch_trial()

    async def run(self) -> None:
        """Take what comes and look at what time changes, for ever."""
        while True:
            if await self._inbox.wait(LOOK_S):
                await self._desk.clock.sleep(SETTLE_S)
            await self.look()

    async def look(self) -> None:
        """Take what has come, then do what time asks for."""
        await self._messages.answers()
        async with self._messages.newest() as update:
            if update is not None:
                await self._news(update)
        self._messages.look()
        if self._trial is not None:
            await self._try(self._trial)
        elif self._messages.early:
            self._wait("clock", WHAT_TIME)
        elif self._messages.offered is not None:
            await self._turn(NOTHING)

    async def _news(self, update: Update) -> None:
        """Take what messages have changed."""
        try:
            await self._turn(self._messages.taken(update))
        except Refused as error:  # good metadata, and their policy is not for us
            await self._messages.refuse(error)
        else:
            self._mended()

    def _mended(self) -> None:
        """After good news: what is wrong still is what the standing says."""
        standing, troubles = self._recorder.standing, self._desk.now.troubles
        troubles.pop("policy", None)
        if standing.state in {State.REFUSED, State.REVERTED}:
            word = standing.state.value
            troubles["policy"] = f"{word}: {standing.rule}: {standing.reason}"

    # --- whose turn it is -----------------------------------------------------------

    async def _turn(self, documents: Mapping[str, bytes]) -> None:
        """Do what the signed rollout wants of us; keep ``documents`` with it."""
        offered, watch = self._messages.offered, self._desk.watch
        assert offered is not None
        known_ns = watch.known_ns()
        try:
            told = turn(
                offered,
                self._desk.identity.device,
                self._groups,
                (known_ns or 0, known_ns is not None),
                self._recorder.standing,
                self._steering.confirmed,
            )
        except Refused:
            if documents:  # said once, when it came
                await self._keep(documents)
                raise
            return
        if self._recorder.standing.state is State.TRIAL:
            ends = _ends(told, self._recorder.standing)
            if ends is None:
                await self._keep(documents)
                return
            await self._revert(ends, documents)
            documents = NOTHING
        signed = told.take
        if signed is None or told.matches or told.failed:
            await self._rest(told, documents)
        elif known_ns is None:
            await self._keep(documents)
            self._wait("clock", WHAT_TIME)
        elif self._messages.is_expired(known_ns):
            await self._keep(documents)
            self._wait("expired", "the metadata have expired")
        else:
            await self._take(told, signed, documents)

    async def _rest(self, told: Turn, documents: Mapping[str, bytes]) -> None:
        """Nothing begins: say why, and keep what is known of the candidate."""
        standing = self._recorder.standing
        is_told = (
            standing.state in SETTLED
            and standing.attempt == told.attempt
            and standing.version in {told.offers, told.candidate}
        )
        if not is_told:
            event = Event.MATCH if told.matches else Event.WAIT
            signed = told.take
            standing = after(
                standing,
                event,
                name="" if signed is None else signed.name,
                version=told.candidate if signed is None else signed.version,
                digest="" if signed is None else signed.digest.hex(),
                attempt=told.attempt,
                slot=told.slot,
                rule="failed" if told.failed else "",
                reason="" if told.matches else told.why,
                approvers=() if signed is None else signed.signers,
                weakens=0,
            )
        if documents:
            await self._recorder.record(
                "metadata", standing, self._desk.now.accepted, documents
            )
        else:
            self._recorder.wait(standing, self._desk.now.accepted)

    def _wait(self, rule: str, reason: str) -> None:
        """Say that something good waits, and for what."""
        standing = self._recorder.standing
        if standing.state in {State.NONE, State.WAITING, State.ACTIVE}:
            waits = after(standing, Event.WAIT, rule=rule, reason=reason)
            self._recorder.wait(waits, self._desk.now.accepted)

    async def _keep(self, documents: Mapping[str, bytes]) -> None:
        """Make newer metadata durable; nothing else has changed."""
        if documents:
            standing, accepted = self._recorder.standing, self._desk.now.accepted
            await self._recorder.record("metadata", standing, accepted, documents)

    # --- the steps ------------------------------------------------------------------

    async def _take(
        self, told: Turn, signed: SignedPolicy, documents: Mapping[str, bytes]
    ) -> None:
        """VERIFIED, then STAGED or REFUSED, then TRIAL."""
        recorder, now = self._recorder, self._desk.now
        digest = signed.digest.hex()
        verified = after(
            recorder.standing,
            Event.VERIFY,
            name=signed.name,
            version=signed.version,
            digest=digest,
            attempt=told.attempt,
            slot=told.slot,
            approvers=signed.signers,
            weakens=0,
            restarts=starts_before(recorder.standing, digest, told.attempt),
        )
        await recorder.record("verified", verified, now.accepted, documents)
        try:
            _check_starts(verified)
            accepted, weakens = await self._weighed_by_now(signed)
        except Refused as error:
            refused = after(
                verified, Event.REFUSE, rule=error.rule, reason=error.reason
            )
            now.troubles["policy"] = f"refused: {error}"
            await recorder.record("refused", refused, now.accepted)
            return
        kept = proof(self._messages.trusted, signed)
        staged = after(recorder.standing, Event.STAGE, weakens=weakens)
        await recorder.record("staged", staged, now.accepted, {TRIAL: kept})
        await self._steering.begin(accepted, partial(self._begun, accepted))
        self._watch_trial()

    async def _weighed_by_now(self, signed: SignedPolicy) -> tuple[Accepted, int]:
        """Return the policy and what it weakens, by the local files as they are now.

        Who asked for a reload meanwhile has a floor that it was not held against.
        """
        while True:
            reloads = self._steering.reloads
            weighed = await asyncio.to_thread(self._weighed, signed)
            if self._steering.reloads == reloads:
                return weighed

    def _weighed(self, signed: SignedPolicy) -> tuple[Accepted, int]:
        """Steps (5) to (9), in a thread: the policy, and what it weakens."""
        began_ns = self._desk.clock.monotonic_ns()
        accepted = self._load(signed)
        took_ns = self._desk.clock.monotonic_ns() - began_ns
        if took_ns > COMPILE_NS_MAX:
            reason = f"takes {took_ns / SECOND_NS:.0f} s to compile, at every start"
            raise Refused("slow", reason)
        confirmed = self._steering.confirmed
        found = compare(
            confirmed.compiled, accepted.compiled, (confirmed.cards, accepted.cards)
        )
        return accepted, approve(signed, found)

    async def _begun(self, accepted: Accepted) -> None:
        """Within the swap: from here on it decides, whatever happens to the power."""
        trial = after(self._recorder.standing, Event.BEGIN, restarts=0)
        documents = {SPOOLED_UNDER: mark(self._steering.confirmed, accepted)}
        await self._recorder.record("trial", trial, accepted, documents)
        self._desk.now.troubles.pop("policy", None)

    # --- the trial ------------------------------------------------------------------

    def _watch_trial(self) -> None:
        signed = self._desk.now.accepted.signed
        if self._recorder.standing.state is State.TRIAL and signed is not None:
            self._trial = Trial(signed.terms, self._reading())

    def _reading(self) -> Reading:
        desk = self._desk
        return reading(desk.clock, desk.uplink, desk.keeper, desk.losses)

    async def _try(self, trial: Trial) -> None:
        breach = trial.look(self._reading())
        if breach is not None:
            await self._revert(breach, NOTHING)
        elif trial.is_over():
            await self._confirm()

    async def _confirm(self) -> None:
        store, ask = self._desk.keeper.store, self._desk.keeper.ask
        staged = await ask(store.document, TRIAL)
        try:
            documents = {ACTIVE: opened(TRIAL, staged or b""), TRIAL: b""}
        except ValueError as error:
            await self._revert(Breach("damaged", f"what was staged {error}"), NOTHING)
            return
        active = after(self._recorder.standing, Event.CONFIRM)
        accepted = self._desk.now.accepted
        self._trial = None
        await self._steering.confirm(
            lambda: self._recorder.record("active", active, accepted, documents)
        )

    async def _revert(self, breach: Breach, documents: Mapping[str, bytes]) -> None:
        """Take the policy back: what was confirmed decides again."""
        reverted = after(
            self._recorder.standing,
            Event.REVERT,
            rule=breach.rule,
            reason=breach.reason,
        )
        confirmed = self._steering.confirmed
        said = f"reverted: {breach.rule}: {breach.reason}"
        self._desk.now.troubles["policy"] = said
        self._trial = None
        await self._steering.revert(
            lambda: self._recorder.record(
                "reverted", reverted, confirmed, {TRIAL: b"", **documents}
            )
        )


def _check_starts(standing: Standing) -> None:
    """Refused where the process has ended too often before the candidate's trial."""
    if standing.restarts > STARTS_MAX:
        reason = f"the process ended {standing.restarts} times before its trial"
        raise Refused("restarts", reason)


def _ends(told: Turn, standing: Standing) -> Breach | None:
    """Return why the rollout ends this trial; None where it goes on."""
    wanted = None if told.take is None else told.take.digest.hex()
    if wanted == standing.digest:
        return None
    if told.aborts:
        return Breach("aborted", "the rollout was aborted")
    if wanted is not None:
        return Breach("superseded", f"version {told.candidate} is wanted instead")
    return None
