"""Changes the policy that decides: between two batches, with evidence, never half.

The flow task asks ``waiting`` between two batches and lets ``swap`` close the old flow;
everything else only asks for a swap. What is refused is said in the state and in the
evidence, and what decided goes on to decide.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.adapters.cards import stale_cards
from agent.assembly import assemble
from agent.control import IN_THE_OPEN, permitted
from agent.errors import BadInput, Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.adapters.keeper import Keeper
    from agent.adapters.outside import Now
    from agent.adapters.publisher import Publisher
    from agent.adapters.uplink import Uplink
    from agent.adapters.watch import ClockWatch
    from agent.assembly import Identity
    from agent.control import Accepted
    from agent.evidence import Evidence
    from agent.flow import Flow
    from agent.ports import Clock
    from agent.sources.losses import Losses
    from policies.tables import CompiledPolicy

REASON_MAX: Final = 400  # characters of a refusal's reason in the evidence


@dataclass(frozen=True, slots=True)
class Desk:
    """What a policy is changed with."""

    now: Now
    identity: Identity
    evidence: Evidence
    clock: Clock
    watch: ClockWatch
    keeper: Keeper
    uplink: Uplink
    publisher: Publisher
    losses: Losses
    load: Callable[[], Accepted]  # reads files: runs in a thread
    adopt: Callable[[Accepted], None]  # whose receipts settle what, from now on


class Steering:
    """Who decides now, and who is to decide next."""

    def __init__(
        self,
        desk: Desk,
        snapshot: Callable[[], Awaitable[None]],
        wake: Callable[[], None],
    ) -> None:
        """``snapshot`` tells the counters; ``wake`` lets the flow task look here."""
        self._desk = desk
        self._now = desk.now
        self._snapshot = snapshot
        self._wake = wake
        self._reload = asyncio.Event()
        self._swaps: asyncio.Queue[tuple[Accepted, str]] = asyncio.Queue()

    # --- asked from outside ---------------------------------------------------------

    def reload(self) -> None:
        """Read the local files again; bad ones are recorded and the old ones stay."""
        self._reload.set()

    async def run(self) -> None:
        """Serve reloads, for ever."""
        while True:
            await self._reload.wait()
            self._reload.clear()
            try:
                accepted = await asyncio.to_thread(self._desk.load)
            except (Refused, BadInput, ValueError) as error:
                await self._refused(error)
            else:
                self._ask(accepted, "reload")

    async def _refused(self, error: Exception) -> None:
        """Say that a policy was not taken: in the state, and in the evidence."""
        self._now.troubles["policy"] = f"refused: {error}"
        rule = error.rule if isinstance(error, Refused) else type(error).__name__
        desk = self._desk
        reason = str(error)[:REASON_MAX]
        name = self._now.accepted.compiled.policy.name
        entry = desk.evidence.refused(desk.clock.now_ns(), name, rule, reason)
        await desk.keeper.testify(entry)

    def look_at_cards(self) -> None:
        """Make the flow anew where a card has closed or opened a destination."""
        if set(self._stale()) != set(self._now.closed) and not self.waiting:
            self._swaps.put_nowait((self._now.accepted, "cards"))

    def _ask(self, accepted: Accepted, reason: str) -> None:
        self._swaps.put_nowait((accepted, reason))
        self._wake()

    # --- between two batches --------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Tell whether a swap is to be done."""
        return not self._swaps.empty()

    async def swap(self, flow: Flow) -> Flow:
        """Close the old flow, return the new one; nothing in between."""
        accepted, reason = self._swaps.get_nowait()
        desk = self._desk
        now_ns = desk.clock.now_ns()
        await desk.keeper.keep(flow.finish(now_ns, reason))
        await self._snapshot()
        async with desk.uplink.paused():
            self._now.accepted = accepted
            new = self.assembled()
            desk.adopt(accepted)
            if reason == "reload":
                self._now.troubles.pop("policy", None)
            await self.activated(reason)
        return new

    def assembled(self) -> Flow:
        """Return a flow of the policy that decides now."""
        desk, now = self._desk, self._now
        now.closed = self._stale()
        return assemble(
            now.accepted.compiled,
            desk.identity,
            now.accepted.cards,
            desk.evidence,
            closed=frozenset(now.closed),
            clock=now.clock_level,
            lost=desk.losses.total,
        )

    def _stale(self) -> dict[str, str]:
        """Return the destinations that a card closes now, and why."""
        accepted, now_ns = self._now.accepted, self._desk.watch.cards_ns()
        return stale_cards(accepted.compiled.policy, accepted.cards, now_ns)

    async def activated(self, reason: str) -> None:
        """Record the policy; destroy what is spooled and has no permission now."""
        desk, accepted = self._desk, self._now.accepted
        policy = accepted.compiled.policy
        entry = desk.evidence.policy(
            desk.clock.now_ns(), policy, accepted.state, reason
        )
        await desk.keeper.testify(entry)
        await self._disallowed(policy)
        desk.publisher.state_changed()

    async def _disallowed(self, policy: CompiledPolicy) -> None:
        """Destroy what is spooled and may not leave, or no longer in the open."""
        keeper, allowed = self._desk.keeper, permitted(policy)
        store = keeper.store
        places = [p for p in await keeper.ask(store.spooled_places) if p[0]]
        gone = [place for place in places if place not in allowed]
        if gone:
            await keeper.let_go(lambda: store.destroy(gone))
        if await keeper.ask(store.document, "policy") == policy.digest:
            return  # the same as when it was spooled; nothing to look into
        in_the_open = permitted(policy, IN_THE_OPEN)
        sealed = [p for p in places if p in allowed and p not in in_the_open]
        if sealed:
            await keeper.let_go(lambda: store.destroy(sealed, only_open=True))
        await keeper.let_go(lambda: store.keep_document("policy", policy.digest))
