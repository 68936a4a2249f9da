"""The daemon's one task group: feeds the flow, swaps policies, keeps time.

    sources -> batcher -> Flow.process -> Keeper (store) -> Uplink
                                             ^ snapshot every telemetry interval

One task per source, one for the flow, one for the uplink, one for the clockwork. If a
task dies of a bug, or the store no longer knows itself (Fatal), all stop, and systemd
restarts a process that knows what it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.adapters.cards import stale_cards
from agent.adapters.reading import read_bus
from agent.adapters.status_server import serve_status
from agent.adapters.watch import LinkWatch
from agent.assembly import assemble
from agent.control import IN_THE_OPEN, permitted
from agent.errors import BadInput, Refused, Unavailable
from agent.limits import BATCH_FRAMES_MAX, BATCH_WINDOW_S
from agent.merging import join_commits
from agent.records import Arrival
from agent.sources.batcher import Batcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.adapters.keeper import Keeper
    from agent.adapters.modbus_poll import ModbusPoller
    from agent.adapters.outside import Now, Outside
    from agent.adapters.publisher import Publisher
    from agent.adapters.systemd import Notifier
    from agent.adapters.uplink import Uplink
    from agent.adapters.watch import ClockWatch
    from agent.assembly import Identity
    from agent.config import Config
    from agent.control import Accepted
    from agent.evidence import Evidence
    from agent.flow import Flow
    from agent.ports import Clock, FrameSource
    from agent.sources.losses import Losses
    from agent.telemetry.state import Autonomy
    from policies.tables import CompiledPolicy
    from protocols.frames import FrameBatch
    from protocols.samples import TransactionBatch

TICK_S: Final = 1.0  # windows and trips close with the clock, data or not
CLOCKWORK_S: Final = 5.0
BATCHES_A_COMMIT_MAX: Final = 8
TRANSACTIONS_WAITING_MAX: Final = 1024  # of Modbus links; beyond it the eldest go
DRAIN_S: Final = 3.0  # how long a clean stop waits for the uplink
REASON_MAX: Final = 400  # characters of a refusal's reason in the evidence


@dataclass(frozen=True, slots=True)
class Parts:
    """What ``agent/commands/run.py`` has opened."""

    config: Config
    identity: Identity
    evidence: Evidence
    clock: Clock
    watch: ClockWatch
    keeper: Keeper
    uplink: Uplink
    publisher: Publisher
    losses: Losses
    autonomy: Autonomy
    notifier: Notifier
    now: Now
    outside: Outside
    open_bus: Callable[[int], FrameSource]
    open_links: Callable[[Accepted], list[ModbusPoller]]
    load: Callable[[], Accepted]  # reads files: runs in a thread
    adopt: Callable[[Accepted], None]  # whose receipts settle what, from now on


class Agent:
    """Everything that runs, and what may be asked of it."""

    def __init__(self, parts: Parts) -> None:
        """Take the parts; ``parts.now`` names the policy that decides first."""
        self._parts = parts
        self._now = parts.now
        self._batcher = Batcher(BATCH_FRAMES_MAX, int(BATCH_WINDOW_S * 1e9))
        self._transactions: list[TransactionBatch] = []
        self._transactions_lost = 0
        self._arrived = asyncio.Event()
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._swap: asyncio.Queue[tuple[Accepted, str]] = asyncio.Queue()
        self._watch = parts.watch
        self._links_watch = LinkWatch()
        self._pollers: list[ModbusPoller] = []
        self._links: list[asyncio.Task[None]] = []
        self._revision = 0
        self._told: tuple[str, ...] = ()
        self._passes = 0
        self._flow = self._assembled()
        parts.losses.watch("batcher", lambda: self._batcher.lost)
        parts.losses.watch("modbus queue", lambda: self._transactions_lost)

    # --- life -----------------------------------------------------------------------

    async def run(self) -> None:
        """Run until ``stop`` is called; everything committed stays."""
        parts = self._parts
        metrics = parts.config.metrics
        await self._activated("start")
        async with (
            serve_status(parts.outside.pages(), metrics.socket, metrics.port),
            asyncio.TaskGroup() as tasks,
        ):
            running = [
                tasks.create_task(self._bus(number), name=f"source.{can.name}")
                for number, can in enumerate(parts.config.can)
            ]
            self._poll(tasks)
            uplink = tasks.create_task(parts.uplink.run(), name="uplink")
            running += [
                tasks.create_task(self._clockwork(), name="clockwork"),
                tasks.create_task(self._pulse(), name="pulse"),
                tasks.create_task(self._reloads(), name="reloads"),
            ]
            flow = tasks.create_task(self._run_flow(tasks), name="flow")
            parts.notifier.ready(self._now.accepted.compiled.policy.name)
            await self._stop.wait()
            parts.notifier.stopping()
            parts.keeper.hurry()
            for task in (*running, *self._links):
                task.cancel()
            self._arrived.set()
            await flow
            await self._drained()
            uplink.cancel()

    def stop(self) -> None:
        """End cleanly: what is read is committed, windows close, the log says stop."""
        self._stop.set()

    def reload(self) -> None:
        """Read the policy again; a bad one is recorded and the old one stays."""
        self._reload.set()

    async def _reloads(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            try:
                accepted = await asyncio.to_thread(self._parts.load)
            except (Refused, BadInput, ValueError) as error:
                await self._refused(error)
            else:
                self._swap.put_nowait((accepted, "reload"))
                self._arrived.set()

    async def _refused(self, error: Exception) -> None:
        """Say that a policy was not taken: in the state, and in the evidence."""
        self._now.troubles["policy"] = f"refused: {error}"
        rule = error.rule if isinstance(error, Refused) else type(error).__name__
        parts = self._parts
        reason = str(error)[:REASON_MAX]
        name = self._now.accepted.compiled.policy.name
        entry = parts.evidence.refused(parts.clock.now_ns(), name, rule, reason)
        await parts.keeper.testify(entry)

    # --- sources --------------------------------------------------------------------

    async def _bus(self, number: int) -> None:
        parts = self._parts
        name = parts.config.can[number].name

        def take(batch: FrameBatch) -> None:
            self._batcher.add(batch, parts.clock.monotonic_ns())
            self._arrived.set()

        def open_bus() -> FrameSource:
            return parts.open_bus(number)

        troubles = self._now.troubles
        await read_bus(name, open_bus, take, parts.losses, troubles, parts.clock)

    def _poll(self, tasks: asyncio.TaskGroup) -> None:
        """Poll what the policy's bindings name, and no longer what an old one's did."""
        for task in self._links:
            task.cancel()
        self._pollers = self._parts.open_links(self._now.accepted)
        self._revision = sum(poller.revision for poller in self._pollers)
        self._links = [
            tasks.create_task(self._link(poller), name=f"source.{poller.name}")
            for poller in self._pollers
        ]

    async def _link(self, poller: ModbusPoller) -> None:
        async with contextlib.aclosing(poller.batches()) as batches:  # type: ignore[type-var]  # an async generator, declared as an iterator
            async for batch in batches:
                if len(self._transactions) >= TRANSACTIONS_WAITING_MAX:
                    self._transactions_lost += len(self._transactions.pop(0))
                self._transactions.append(batch)
                self._arrived.set()

    # --- the flow -------------------------------------------------------------------

    async def _run_flow(self, tasks: asyncio.TaskGroup) -> None:
        """Feed the flow; swaps happen here, between two batches."""
        while not self._stop.is_set():
            await self._gathered()
            while not self._swap.empty():
                await self._swapped(*self._swap.get_nowait())
                self._poll(tasks)
            await self._pass()
            if (problems := self._parts.outside.problems()) != self._told:
                self._told = problems
                self._parts.publisher.state_changed()
        await self._pass(last=True)
        now_ns = self._parts.clock.now_ns()
        await self._parts.keeper.keep(self._flow.finish(now_ns, "shutdown"))
        await self._snapshot()
        entry = self._parts.evidence.stop(now_ns, "asked to stop")
        await self._parts.keeper.testify(entry)

    async def _gathered(self) -> None:
        """Wait for the first arrival (or a tick), then for the batch to fill."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TICK_S):
                await self._arrived.wait()
        self._arrived.clear()
        if self._batcher.waiting < BATCH_FRAMES_MAX and not self._stop.is_set():
            await self._parts.clock.sleep(BATCH_WINDOW_S)

    async def _pass(self, *, last: bool = False) -> None:
        commits = []
        for arrival in self._arrivals(last=last):
            commits.append(self._flow.process(arrival, clock_ok=self._watch.ok))
            await asyncio.sleep(0)  # the control plane answers between two batches
        await self._parts.keeper.keep(self._watch.dated(join_commits(commits)))
        now_ns = self._parts.clock.now_ns()
        losses = [
            self._parts.evidence.loss(now_ns, cause, count)
            for cause, count in self._parts.losses.grown()
        ]
        if losses:
            await self._parts.keeper.testify(*losses)
        self._passes += 1

    def _arrivals(self, *, last: bool) -> list[Arrival]:
        """Return what has arrived; one empty arrival where nothing has."""
        now_ns = self._parts.clock.now_ns()
        due_ns = self._parts.clock.monotonic_ns()
        self._rediscovered()
        transactions, self._transactions = self._transactions, []
        found = [Arrival(now_ns, None, batch) for batch in transactions]
        for _ in range(BATCHES_A_COMMIT_MAX):
            frames = self._batcher.flush() if last else self._batcher.ready(due_ns)
            if frames is None:
                break
            found.append(Arrival(now_ns, frames))
        if self._batcher.waiting:
            self._arrived.set()
        return found or [Arrival(now_ns)]

    def _rediscovered(self) -> None:
        """SunSpec discovery found points: the decoder is made anew, nothing is held."""
        revision = sum(poller.revision for poller in self._pollers)
        if revision != self._revision:
            self._revision = revision
            self._flow.use_points([p for one in self._pollers for p in one.points])

    # --- policies -------------------------------------------------------------------

    def _assembled(self) -> Flow:
        parts, now = self._parts, self._now
        now.closed = self._stale()
        return assemble(
            now.accepted.compiled,
            parts.identity,
            now.accepted.cards,
            parts.evidence,
            closed=frozenset(now.closed),
            clock=now.clock_level,
            lost=parts.losses.total,
        )

    def _stale(self) -> dict[str, str]:
        """Return the destinations that a card closes now, and why."""
        accepted, now_ns = self._now.accepted, self._watch.cards_ns()
        return stale_cards(accepted.compiled.policy, accepted.cards, now_ns)

    async def _swapped(self, accepted: Accepted, reason: str) -> None:
        """Close the old flow, start the new one; nothing in between."""
        now_ns = self._parts.clock.now_ns()
        await self._parts.keeper.keep(self._flow.finish(now_ns, reason))
        await self._snapshot()
        async with self._parts.uplink.paused():
            self._now.accepted = accepted
            self._flow = self._assembled()
            self._parts.adopt(accepted)
            if reason == "reload":
                self._now.troubles.pop("policy", None)
            await self._activated(reason)

    async def _activated(self, reason: str) -> None:
        """Record the policy; destroy what is spooled and has no permission now."""
        parts, accepted = self._parts, self._now.accepted
        policy = accepted.compiled.policy
        entry = parts.evidence.policy(
            parts.clock.now_ns(), policy, accepted.state, reason
        )
        await parts.keeper.testify(entry)
        await self._disallowed(policy)
        parts.publisher.state_changed()

    async def _disallowed(self, policy: CompiledPolicy) -> None:
        """Destroy what is spooled and may not leave, or no longer in the open."""
        keeper, allowed = self._parts.keeper, permitted(policy)
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

    # --- clockwork ------------------------------------------------------------------

    async def _clockwork(self) -> None:
        """Clock, retention, cards, snapshots: things that only time moves."""
        parts = self._parts
        next_snapshot_ns = 0
        while True:
            self._watch.look(self._now)
            self._links_watch.look(self._pollers, self._now)
            if set(self._stale()) != set(self._now.closed) and self._swap.empty():
                self._swap.put_nowait((self._now.accepted, "cards"))
            mono_ns = parts.clock.monotonic_ns()
            interval_ns = self._now.accepted.compiled.policy.telemetry_ns
            if mono_ns >= next_snapshot_ns:
                next_snapshot_ns = mono_ns + interval_ns
                await self._snapshot()
                if self._watch.ok:
                    now_ns, store = parts.clock.now_ns(), parts.keeper.store
                    await parts.keeper.let_go(lambda: store.expire(now_ns))  # noqa: B023  # run at once
            await parts.clock.sleep(min(CLOCKWORK_S, interval_ns / 1e9))

    async def _pulse(self) -> None:
        """Feed the watchdog while the data path moves, or waits for the disk."""
        before = -1
        while True:
            if self._passes != before or self._parts.keeper.problem:
                self._parts.notifier.alive(self._now.accepted.state)
            before = self._passes
            await self._parts.clock.sleep(CLOCKWORK_S)

    async def _snapshot(self) -> None:
        parts = self._parts
        await parts.keeper.snapshot(
            self._now.accepted.compiled.policy,
            {**parts.losses.totals(), **await self._let_go()},
            parts.clock.now_ns(),
        )

    async def _let_go(self) -> dict[str, int]:
        """Return the records that the store let go of, by cause."""
        lost: dict[str, int] = {}
        keeper = self._parts.keeper
        for one in await keeper.ask(keeper.store.losses):
            cause = f"spool {one.cause}"
            lost[cause] = lost.get(cause, 0) + one.records
        return lost

    async def _drained(self) -> None:
        """Give the uplink a moment to send the end of the log."""
        parts = self._parts
        if not parts.uplink.online:
            return
        parts.publisher.checkpoint_wanted()
        parts.uplink.nudge()
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(DRAIN_S):
                while not parts.publisher.is_level(parts.keeper.store):
                    await parts.clock.sleep(0.05)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await parts.publisher.leave()
