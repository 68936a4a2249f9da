"""Steps (2) and (3) of the policy path, as messages come: what is trusted, and when.

The newest bundle and the newest renewal are read together; the same bytes are not read
twice. Where the clock is not believed they are verified at a time that is known to be
past, and wait for the fleet's answer to our nonce: a device that was off for a year is
brought back by that one message.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from agent.adapters.policy.inbox import BUNDLE, TIMESTAMP
from agent.budget import Budget
from agent.control import Update, read, read_renewal
from agent.errors import Refused
from agent.steps import versions_of
from agent.store.documents import TRUST
from policies.trust import TrustError, advance, freshness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.adapters.policy.inbox import Letter, PolicyInbox
    from agent.adapters.policy.recorder import PolicyRecorder
    from agent.adapters.steering import Desk
    from policies.trust import Fresh, Offer, Trusted

SECOND_NS: Final = 1_000_000_000
SETTLE_S: Final = 0.02  # the two retained messages come one after the other
PAUSE_SHARE: Final = 4  # after a refusal rest so many times what it cost
PAUSE_S_MAX: Final = 2.0
REFUSALS_MAX: Final = 32  # recorded at once; then one every REFUSAL_NS
REFUSAL_NS: Final = 10 * SECOND_NS
ASK_NS: Final = 3600 * SECOND_NS  # again, while something is wrong
ASK_ANYWAY_NS: Final = 24 * ASK_NS  # a freeze is seen within a day
ASK_SOON_NS: Final = 10 * SECOND_NS  # again, where who answered was behind us
NONCE_BYTES: Final = 16


class PolicyMessages:
    """What is trusted now, and the messages that are to change it."""

    def __init__(
        self,
        desk: Desk,
        inbox: PolicyInbox,
        recorder: PolicyRecorder,
        trusted: Trusted,
        offered: Offer | None,
    ) -> None:
        """Start from what the store had; a nonce is asked for at every start."""
        self._desk = desk
        self._inbox = inbox
        self._recorder = recorder
        self.trusted = trusted
        self.offered = offered
        self.early = False  # a good update waits for a time that is believed
        self._early: Trusted | None = None
        self._message = b""
        self._renewal: dict[str, bytes] = {}
        self._read: tuple[bytes, bytes] | None = None  # digests of what was read
        self._fresh: Fresh | None = None  # told for the update that is read next
        self._newest_told = 0  # the fleet's newest timestamp, as it told us
        self._asked_ns = 0
        self._was_behind = False  # our nonce was answered, from before our news
        self._budget = Budget(REFUSALS_MAX, REFUSAL_NS)
        self._ask()
        recorder.versions = versions_of(offered)

    # --- what has come --------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def newest(self) -> AsyncIterator[Update | None]:
        """Give what the newest messages change; they are done with behind the block."""
        bundle, renewal = self._inbox.newest(BUNDLE), self._inbox.newest(TIMESTAMP)
        letters = [letter for letter in (bundle, renewal) if letter is not None]
        update: Update | None = None
        began_ns = self._desk.clock.monotonic_ns()
        pause_s = 0.0
        if letters or (self.early and self._desk.watch.known_ns() is not None):
            for letter in letters:
                await self._keep(letter, is_bundle=letter is bundle)
            try:
                update = await self._updated()
            except Refused as error:
                await self.refuse(error)
                spent_ns = self._desk.clock.monotonic_ns() - began_ns
                pause_s = min(PAUSE_SHARE * spent_ns / SECOND_NS, PAUSE_S_MAX)
        yield update
        for letter in letters:
            await letter.dealt_with()
        if pause_s:
            await self._desk.clock.sleep(pause_s)

    async def _keep(self, letter: Letter, *, is_bundle: bool) -> None:
        """Let a message stand for its kind, unless its size or form is bad."""
        try:
            letter.check_size()
            if is_bundle:
                self._message = letter.body
            else:
                self._renewal = read_renewal(letter.body)
        except Refused as error:
            await self.refuse(error)

    async def _updated(self) -> Update | None:
        """Read what there is; None where it brings nothing, or nothing yet."""
        watch = self._desk.watch
        known_ns = watch.known_ns()
        renewal = b"".join(self._renewal.values())
        digests = sha256(self._message).digest(), sha256(renewal).digest()
        if self._read == digests and not (self.early and known_ns is not None):
            return None
        self._read, self.early, self._early = digests, False, None
        # What the fleet told is as good as the keys that told it: as a floor it goes
        # with them. Only an answer by keys of the update itself is simply the time.
        time_ns, floor_ns = watch.own_ns(), watch.fleet_ns()
        if self._fresh is not None:
            time_ns, floor_ns = max(time_ns, floor_ns), 0
        floor_ns = max(floor_ns, self.trusted.time_floor_ns)
        trusted = replace(self.trusted, time_floor_ns=floor_ns)
        try:
            update = await asyncio.to_thread(
                read, trusted, self._message, self._renewal, time_ns
            )
        except Refused as error:
            if error.rule == "missing" and not self._message:
                return None  # a renewal that came before its bundle
            if error.rule != "freeze":
                self._message = b""  # else a renewal may still help it
            raise
        if update is None:
            return None
        if update.spoiled is not None and update.spoiled.rule != "missing":
            self._renewal = {}
            await self.refuse(update.spoiled)
        if update.trusted.time_floor_ns < floor_ns:
            self._forget_told()
            known_ns = watch.known_ns()
        if known_ns is None:
            self.early, self._early = True, update.trusted
            return None
        return update

    def _forget_told(self) -> None:
        """Ask anew what time it is: the keys that told it were taken back."""
        self._desk.watch.forget()
        self._fresh, self._newest_told = None, 0
        self._ask()

    def taken(self, update: Update) -> dict[str, bytes]:
        """Trust an update from here on; return what is to be kept of it."""
        trusted, fresh = update.trusted, self._fresh
        if fresh is not None:
            trusted, self._fresh = advance(trusted, fresh), None
        is_new = trusted != self.trusted
        self.trusted, self.offered = trusted, update.offered
        self._recorder.versions = versions_of(update.offered)
        return {TRUST: trusted.encode()} if is_new else {}

    # --- refusals -------------------------------------------------------------------

    async def refuse(self, error: Refused) -> None:
        """Record a message that was refused; a flood of them is counted only."""
        now = self._desk.now
        now.troubles["policy"] = f"refused: {error}"
        untold = self._budget.refused
        if not self._budget.spend(self._desk.clock.monotonic_ns()):
            return
        more = f" (and {untold} refusals not recorded)" if untold else ""
        self._budget.refused = 0
        await self._recorder.refuse(error.rule, error.reason + more, now.accepted)

    # --- freshness ------------------------------------------------------------------

    async def answers(self) -> None:
        """Take the fleet's answer to our nonce, where one of the commands is it."""
        for letter in self._inbox.commands():
            try:
                letter.check_size()
                await self._answered(letter.body)
            except Refused as error:
                await self.refuse(error)
            await letter.dealt_with()

    async def _answered(self, body: bytes) -> None:
        nonce = self._recorder.nonce
        if not nonce:
            return  # answered before; the broker sends a command again
        fresh, of_early = self._opened(body, nonce)
        self._recorder.nonce = ""
        self._newest_told = fresh.timestamp_version
        self._desk.watch.told(fresh.time_ns)
        if of_early:
            self._fresh = fresh
            return
        self.trusted = advance(self.trusted, fresh)
        await self._recorder.record(
            "fresh",
            self._recorder.standing,
            self._desk.now.accepted,
            {TRUST: self.trusted.encode()},
        )

    def _opened(self, body: bytes, nonce: str) -> tuple[Fresh, bool]:
        """Return the answer, and whether the waiting update's keys were needed."""
        device = self._desk.identity.device
        if self._early is not None:
            # The root may have been rotated while we were off: its keys answer, and
            # none that it took back.
            try:
                return freshness(self._early, body, nonce, device), True
            except TrustError as error:
                if error.rule == "key-id":
                    raise Refused(error.rule, error.reason) from None
        try:
            return freshness(self.trusted, body, nonce, device), False
        except TrustError as error:
            # Theirs and to our nonce, but older than what we have: each nonce is
            # answered once, so another one must be asked.
            self._was_behind |= error.rule == "rollback"
            raise Refused(error.rule, error.reason) from None

    def look(self) -> None:
        """Say what is wrong with time and metadata; ask where an answer helps."""
        now, known_ns = self._desk.now, self._desk.watch.known_ns()
        wrong = self._wrong(known_ns)
        if wrong:
            now.troubles["trust"] = wrong
        else:
            now.troubles.pop("trust", None)
        since_ns = self._desk.clock.monotonic_ns() - self._asked_ns
        wait_ns = ASK_NS if wrong else ASK_ANYWAY_NS
        if self._was_behind:
            wait_ns = ASK_SOON_NS
        # An unanswered nonce is replaced, too: an answer to it that is held back would
        # tell a time that has long passed.
        if since_ns >= wait_ns:
            self._ask()
            self._recorder.tell(now.accepted)

    def _wrong(self, known_ns: int | None) -> str:
        offered = self.offered
        have = 0 if offered is None else offered.timestamp_version
        if self._newest_told > have:
            told = self._newest_told
            return f"frozen: the fleet has timestamp {told}, we were given {have}"
        if known_ns is None:
            return "the clock is not believed: nothing new is taken before an answer"
        if self.is_expired(known_ns):
            return "the metadata have expired (freeze): nothing new is taken"
        return ""

    def is_expired(self, known_ns: int) -> bool:
        """Tell whether what is offered permits nothing new any more."""
        return self.offered is not None and self.offered.expires_ns <= known_ns

    def _ask(self) -> None:
        self._was_behind = False
        self._recorder.nonce = self._desk.identity.entropy(NONCE_BYTES).hex()
        self._asked_ns = self._desk.clock.monotonic_ns()
