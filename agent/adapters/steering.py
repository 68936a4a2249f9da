"""Changes the policy that decides: between two batches, with evidence, never half.

The flow task asks ``waiting`` between two batches and lets ``swap`` close the old flow;
everything else only asks for a swap. What is refused is said in the state and in the
evidence, and what decided goes on to decide.

While a policy is on trial, what is spooled and lost its permission is held back: it is
destroyed when the trial is confirmed, and leaves after all when it is taken back.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent.adapters.cards import stale_cards
from agent.adapters.sqlite_sending import Held
from agent.assembly import assemble
from agent.control import IN_THE_OPEN, permitted
from agent.errors import BadInput, Refused
from agent.inspection.kept import Kept
from agent.inspection.modbus import Learned
from agent.leftovers import is_left, places_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.adapters.buses import Buses
    from agent.adapters.eve_file import EveLog
    from agent.adapters.keeper import Keeper
    from agent.adapters.modbus.between import Between
    from agent.adapters.outside import Now
    from agent.adapters.publisher import Publisher
    from agent.adapters.uplink import Uplink
    from agent.adapters.watch import ClockWatch, WallClock
    from agent.assembly import Identity
    from agent.classification.volumes import Volumes
    from agent.control import Accepted
    from agent.evidence import Evidence
    from agent.flow import Flow
    from agent.sources.losses import Losses
    from policies.tables import CompiledPolicy

REASON_MAX: Final = 400  # characters of a refusal's reason in the evidence
SPOOLED_UNDER: Final = "policy"  # the document: by which policy, or a trial's mark


@dataclass(frozen=True, slots=True)
class Desk:
    """What a policy is changed with."""

    now: Now
    identity: Identity
    evidence: Evidence
    clock: WallClock
    watch: ClockWatch
    keeper: Keeper
    uplink: Uplink
    publisher: Publisher
    losses: Losses
    volumes: Volumes  # what left so far; outlives policies
    between: Between  # proxied links: who judges there changes with the flow
    buses: Buses  # CAN: what the kernel lets through may change with the policy
    load: Callable[[Accepted], Accepted]  # the same again; reads files: in a thread
    adopt: Callable[[Accepted], None]  # whose receipts settle what, from now on
    learned: Learned = field(default_factory=Learned)  # by detectors; outlives policies
    eve: EveLog | None = None


@dataclass(frozen=True, slots=True)
class Swap:
    """Who is to decide next, and why."""

    accepted: Accepted
    reason: str
    instead_of: Accepted | None = None  # only where this one decides still
    record: Callable[[], Awaitable[None]] | None = None  # makes the step durable
    on_trial: bool | None = None  # None: as it is
    done: asyncio.Event | None = None


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
        self.reloads = 0  # how often one was asked for
        self._reloads_before = 0  # the trial
        self._swaps: asyncio.Queue[Swap] = asyncio.Queue()
        self._asked = asyncio.Event()  # as long as there are some
        # The one that a trial is reverted to; else the one that decides.
        self.confirmed = desk.now.confirmed or desk.now.accepted
        self.on_trial = self.confirmed is not desk.now.accepted

    # --- asked from outside ---------------------------------------------------------

    def reload(self) -> None:
        """Read the local files again; bad ones are recorded and the old ones stay."""
        self.reloads += 1
        self._reload.set()

    async def run(self) -> None:
        """Serve reloads, for ever."""
        while True:
            await self._reload.wait()
            self._reload.clear()
            before = self._now.accepted
            try:
                accepted = await asyncio.to_thread(self._desk.load, before)
            except (Refused, BadInput, ValueError) as error:
                await self._refused(error)
            else:
                self._ask(Swap(accepted, "reload", instead_of=before))

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
        accepted = self._now.accepted
        if set(self._stale(accepted)) != set(self._now.closed) and not self.waiting:
            self._ask(Swap(accepted, "cards", instead_of=accepted))

    async def begin(
        self, accepted: Accepted, record: Callable[[], Awaitable[None]]
    ) -> None:
        """Let a policy decide on trial; returns once it does."""
        done = asyncio.Event()
        self._reloads_before = self.reloads
        self._ask(Swap(accepted, "trial", record=record, on_trial=True, done=done))
        await done.wait()

    async def revert(self, record: Callable[[], Awaitable[None]]) -> None:
        """Let the confirmed policy decide again; returns once it does."""
        done = asyncio.Event()
        old = self.confirmed
        self._ask(Swap(old, "revert", record=record, on_trial=False, done=done))
        await done.wait()
        if self.reloads != self._reloads_before:
            self.reload()  # what was read again meanwhile was the candidate

    async def confirm(self, record: Callable[[], Awaitable[None]]) -> None:
        """End the trial of what decides: what it holds back is destroyed."""
        async with self._desk.uplink.paused():
            await record()
            self.confirmed, self.on_trial = self._now.accepted, False
            await self._settle_spool()

    def _ask(self, swap: Swap) -> None:
        self._swaps.put_nowait(swap)
        self._asked.set()
        self._wake()

    # --- between two batches --------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Tell whether a swap is to be done."""
        return not self._swaps.empty()

    async def asked(self) -> None:
        """Return when a swap is to be done."""
        await self._asked.wait()

    async def swap(self, flow: Flow) -> Flow:
        """Close the old flow, return the new one; nothing in between."""
        one = self._swaps.get_nowait()
        if self._swaps.empty():
            self._asked.clear()
        if one.instead_of is not None and one.instead_of is not self._now.accepted:
            self.reload()  # another one decides by now: read that one's files again
            return flow
        desk = self._desk
        now_ns = desk.clock.now_ns()
        await desk.keeper.keep(flow.finish(now_ns, one.reason))
        await self._snapshot()
        async with desk.uplink.paused():
            new = self.assembled(one.accepted)
            if one.record is not None:
                await one.record()
            self._now.accepted = one.accepted
            self.on_trial = self.on_trial if one.on_trial is None else one.on_trial
            if not self.on_trial:
                self.confirmed = one.accepted
            desk.adopt(one.accepted)
            firewall = one.accepted.compiled.policy.firewall
            desk.between.adopt(firewall, clock_ok=desk.watch.ok)
            desk.buses.adopt(one.accepted.compiled)
            if one.reason == "reload":
                self._now.troubles.pop("policy", None)
            await self.activated("" if one.record is not None else one.reason)
        if one.done is not None:
            one.done.set()
        return new

    def assembled(self, accepted: Accepted) -> Flow:
        """Return a flow of a policy."""
        desk, now = self._desk, self._now
        now.closed = self._stale(accepted)
        return assemble(
            accepted.compiled,
            desk.identity,
            accepted.cards,
            desk.evidence,
            closed=frozenset(now.closed),
            clock=now.clock_level,
            lost=desk.losses.total,
            volumes=desk.volumes,
            firewall=desk.between.stage(
                accepted.compiled.policy.firewall, accepted.compiled.links
            ),
            held=desk.between.held,
            kept=Kept(
                desk.learned,
                now.findings,
                None if desk.eve is None else desk.eve.lines,
            ),
        )

    def _stale(self, accepted: Accepted) -> dict[str, str]:
        """Return the destinations that a card closes now, and why."""
        now_ns = self._desk.watch.cards_ns()
        return stale_cards(accepted.compiled.policy, accepted.cards, now_ns)

    async def activated(self, reason: str) -> None:
        """Record the policy ("": that is done), and see to what is spooled."""
        desk, accepted = self._desk, self._now.accepted
        if reason:
            entry = desk.evidence.policy(
                desk.clock.now_ns(), accepted.compiled.policy, accepted.state, reason
            )
            await desk.keeper.testify(entry)
        await self._settle_spool()
        desk.publisher.state_changed()

    # --- what is spooled ------------------------------------------------------------

    async def _settle_spool(self) -> None:
        """Destroy, or on trial hold back, what may not leave under this policy."""
        policy, keeper = self._now.accepted.compiled.policy, self._desk.keeper
        if self.on_trial:
            gone, sealed = await self._lost_permission(policy)
            held = [Held(*place, False) for place in gone]
            held += [Held(*place, True) for place in sealed]
        else:
            await self._disallowed(policy)
            held = []
        await keeper.ask(keeper.store.hold, held)

    async def _disallowed(self, policy: CompiledPolicy) -> None:
        """Destroy what is spooled and may not leave, or no longer in the open."""
        keeper = self._desk.keeper
        store = keeper.store
        gone, sealed = await self._lost_permission(policy)
        if gone:
            await keeper.let_go(lambda: store.destroy(gone))
        spooled_under = await keeper.ask(store.document, SPOOLED_UNDER)
        if spooled_under == policy.digest:
            return  # the same as when it was spooled; nothing to look into
        if sealed:
            await keeper.let_go(lambda: store.destroy(sealed, only_open=True))
        if left := await self._left(*places_of(spooled_under, policy.digest)):
            await keeper.let_go(lambda: store.destroy((), epochs=left))
        await keeper.let_go(lambda: store.keep_document(SPOOLED_UNDER, policy.digest))

    async def _left(self, digest: bytes, destinations: list[str]) -> list[bytes]:
        """Return the epochs that a policy taken back sealed to strangers."""
        keeper, accepted = self._desk.keeper, self._now.accepted
        ours = self._desk.identity.signer.public_key()
        last = [
            one
            for name in destinations
            for one in await keeper.ask(keeper.store.last_of_epochs, name)
        ]
        return [
            epoch
            for epoch, kind, body in last
            if is_left(kind, body, digest, accepted, ours)
        ]

    async def _lost_permission(
        self, policy: CompiledPolicy
    ) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """Return spooled places that may not leave, and those not in the open."""
        keeper, allowed = self._desk.keeper, permitted(policy)
        in_the_open = permitted(policy, IN_THE_OPEN)
        spooled = await keeper.ask(keeper.store.spooled_places)
        places = [place for place in spooled if place[0]]
        return (
            [place for place in places if place not in allowed],
            [p for p in places if p in allowed and p not in in_the_open],
        )
