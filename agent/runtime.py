"""The daemon's one task group: opens the ports, feeds the flow, swaps policies.

    sources -> batcher -> Flow.process -> Keeper (store) -> Uplink
                                             ^ snapshot every telemetry interval

One task per source, one for the flow, one for the uplink, one for the clockwork. If a
task dies of a bug, all stop, and systemd restarts a process that knows what it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.adapters.cards import stale_cards
from agent.adapters.status_server import serve_status
from agent.assembly import assemble
from agent.control import permitted
from agent.errors import BadInput, Refused, Unavailable
from agent.limits import BATCH_FRAMES_MAX, BATCH_WINDOW_S
from agent.merging import join_commits
from agent.records import Arrival
from agent.sources.batcher import Batcher
from agent.telemetry.prometheus import exposition
from agent.telemetry.report import Situation, state_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.adapters.clock import ClockConfidence, SystemClock
    from agent.adapters.keeper import Keeper
    from agent.adapters.modbus_poll import ModbusPoller
    from agent.adapters.publisher import Publisher
    from agent.adapters.store_thread import StoreThread
    from agent.adapters.systemd import Notifier
    from agent.adapters.uplink import Uplink
    from agent.assembly import Identity
    from agent.config import Config
    from agent.control import Accepted
    from agent.evidence import Evidence
    from agent.flow import Flow
    from agent.ports import FrameSource
    from agent.sources.losses import Losses
    from agent.telemetry.state import Autonomy
    from protocols.samples import TransactionBatch

TICK_S: Final = 1.0  # windows and trips close with the clock, data or not
CLOCKWORK_S: Final = 10.0
REOPEN_S: Final = 5.0  # a bus that is away is tried again
BATCHES_A_COMMIT_MAX: Final = 8
DRAIN_S: Final = 3.0  # how long a clean stop waits for the uplink


@dataclass(frozen=True, slots=True)
class Parts:
    """What ``agent/commands/run.py`` has opened."""

    config: Config
    identity: Identity
    evidence: Evidence
    clock: SystemClock
    confidence: ClockConfidence
    thread: StoreThread
    keeper: Keeper
    uplink: Uplink
    publisher: Publisher
    losses: Losses
    autonomy: Autonomy
    notifier: Notifier
    open_bus: Callable[[int], FrameSource]
    open_links: Callable[[Accepted], list[ModbusPoller]]
    reload: Callable[[], Accepted]
    agents: list[Agent]  # the publisher asks its state through this


class Agent:
    """Everything that runs, and what the outside may ask of it."""

    def __init__(self, parts: Parts, accepted: Accepted, state_base: int) -> None:
        """Take the parts and the policy that decides first."""
        self._parts = parts
        parts.agents.append(self)
        self._accepted = accepted
        self._state_number = state_base
        self._batcher = Batcher(BATCH_FRAMES_MAX, int(BATCH_WINDOW_S * 1e9))
        self._transactions: list[TransactionBatch] = []
        self._arrived = asyncio.Event()
        self._stop = asyncio.Event()
        self._swap: asyncio.Queue[Accepted] = asyncio.Queue()
        self._troubles: dict[str, str] = {}  # what is wrong now, by where
        self._closed: dict[str, str] = {}
        self._clock_level = "high"
        self._clock_ok = True
        self._pollers: list[ModbusPoller] = []
        self._revision = 0
        self._flow = self._assembled()
        parts.losses.watch("batcher", lambda: self._batcher.lost)

    # --- life -----------------------------------------------------------------------

    async def run(self) -> None:
        """Run until ``stop`` is called; everything committed stays."""
        parts = self._parts
        metrics = parts.config.metrics
        pages = {
            "/status": ("application/json", self.status),
            "/metrics": ("text/plain; version=0.0.4", self.metrics),
        }
        await self._activated("start")
        self._pollers = parts.open_links(self._accepted)
        async with (
            serve_status(pages, metrics.socket, metrics.port),
            asyncio.TaskGroup() as tasks,
        ):
            running = [
                tasks.create_task(self._bus(number), name=f"source.{can.name}")
                for number, can in enumerate(parts.config.can)
            ]
            running += [
                tasks.create_task(self._link(poller), name=f"source.{poller.name}")
                for poller in self._pollers
            ]
            uplink = tasks.create_task(parts.uplink.run(), name="uplink")
            clockwork = tasks.create_task(self._clockwork(), name="clockwork")
            flow = tasks.create_task(self._run_flow(), name="flow")
            parts.notifier.ready(self._accepted.compiled.policy.name)
            await self._stop.wait()
            parts.notifier.stopping()
            for task in (*running, clockwork):
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
        try:
            self._swap.put_nowait(self._parts.reload())
        except (Refused, BadInput, ValueError) as error:
            self._troubles["policy"] = f"refused: {error}"
            self._parts.publisher.state_changed()
        self._arrived.set()

    # --- sources --------------------------------------------------------------------

    async def _bus(self, number: int) -> None:
        """Read one bus; when it goes away, try again and say so."""
        name = self._parts.config.can[number].name
        while True:
            try:
                source = self._parts.open_bus(number)
                self._parts.losses.watch(f"bus {name}", source.lost)
                self._troubles.pop(name, None)
                async with contextlib.aclosing(source.batches()) as batches:  # type: ignore[type-var]  # async generators, declared as iterators
                    async for batch in batches:
                        now_ns = self._parts.clock.monotonic_ns()
                        self._batcher.add(batch, now_ns)
                        self._arrived.set()
                self._troubles[name] = "the bus ended"
            except Unavailable as error:
                self._troubles[name] = str(error)
            await self._parts.clock.sleep(REOPEN_S)

    async def _link(self, poller: ModbusPoller) -> None:
        async with contextlib.aclosing(poller.batches()) as batches:  # type: ignore[type-var]  # the same
            async for batch in batches:
                self._transactions.append(batch)
                self._arrived.set()

    # --- the flow -------------------------------------------------------------------

    async def _run_flow(self) -> None:
        """Feed the flow; swaps happen here, between two batches."""
        while not self._stop.is_set():
            await self._gathered()
            while not self._swap.empty():
                await self._swapped(self._swap.get_nowait())
            await self._pass()
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
            commits.append(self._flow.process(arrival, clock_ok=self._clock_ok))
            await asyncio.sleep(0)  # the control plane answers between two batches
        await self._parts.keeper.keep(join_commits(commits))
        now_ns = self._parts.clock.now_ns()
        losses = [
            self._parts.evidence.loss(now_ns, cause, count)
            for cause, count in self._parts.losses.grown()
        ]
        if losses:
            await self._parts.keeper.testify(*losses)

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
        parts = self._parts
        policy = self._accepted.compiled.policy
        now_ns = max(parts.clock.now_ns(), parts.keeper.store.clock_floor_ns)
        self._closed = stale_cards(policy, self._accepted.cards, now_ns)
        points = [p for one in self._pollers for p in one.points]
        return assemble(
            self._accepted.compiled,
            parts.identity,
            self._accepted.cards,
            parts.evidence,
            closed=frozenset(self._closed),
            points=points or None,
            clock=self._clock_level,
            lost=parts.losses.total,
        )

    async def _swapped(self, accepted: Accepted) -> None:
        """Close the old flow, start the new one; nothing in between."""
        now_ns = self._parts.clock.now_ns()
        await self._parts.keeper.keep(self._flow.finish(now_ns, "policy swap"))
        await self._snapshot()
        self._accepted = accepted
        self._flow = self._assembled()
        self._troubles.pop("policy", None)
        await self._activated("reload")

    async def _activated(self, reason: str) -> None:
        """Record the policy; destroy what is spooled and has no permission now."""
        parts, policy = self._parts, self._accepted.compiled.policy
        now_ns = parts.clock.now_ns()
        entry = parts.evidence.policy(now_ns, policy, self._accepted.state, reason)
        await parts.keeper.testify(entry)
        store = parts.keeper.store
        allowed = permitted(policy)
        gone = [place for place in store.spooled_places() if place not in allowed]
        gone = [(name, label) for name, label in gone if name]
        if gone:
            await parts.thread.run(store.destroy, gone)
        parts.publisher.state_changed()

    # --- clockwork ------------------------------------------------------------------

    async def _clockwork(self) -> None:
        """Clock, retention, cards, snapshots, watchdog: things that only time moves."""
        parts = self._parts
        next_snapshot_ns = 0
        while True:
            self._look_at_clock()
            mono_ns = parts.clock.monotonic_ns()
            if mono_ns >= next_snapshot_ns:
                next_snapshot_ns = mono_ns + self._accepted.compiled.policy.telemetry_ns
                await self._snapshot()
                if self._clock_ok:
                    await parts.thread.run(
                        parts.keeper.store.expire, parts.clock.now_ns()
                    )
            policy, cards = self._accepted.compiled.policy, self._accepted.cards
            now_ns = max(parts.clock.now_ns(), parts.keeper.store.clock_floor_ns)
            if set(stale_cards(policy, cards, now_ns)) != set(self._closed):
                self._swap.put_nowait(self._accepted)
            parts.notifier.alive(self._accepted.state)
            await parts.clock.sleep(
                min(CLOCKWORK_S, self._accepted.compiled.policy.telemetry_ns / 1e9)
            )

    def _look_at_clock(self) -> None:
        clock, store = self._parts.clock, self._parts.keeper.store
        now_ns = clock.now_ns()
        verdict = self._parts.confidence.look(
            now_ns, clock.monotonic_ns(), synchronised=clock.is_synchronised()
        )
        self._clock_ok, self._clock_level = verdict.believed, verdict.level
        if verdict.believed:
            store.remember_time(now_ns)
            self._troubles.pop("clock", None)
        else:
            self._troubles["clock"] = f"not believed: {verdict.reason}"

    async def _snapshot(self) -> None:
        parts = self._parts
        await parts.keeper.snapshot(
            self._accepted.compiled.policy,
            parts.losses.totals(),
            parts.clock.now_ns(),
        )

    async def _drained(self) -> None:
        """Give the uplink a moment to send the end of the log."""
        parts = self._parts
        if not parts.uplink.online:
            return
        parts.publisher.checkpoint_wanted()
        parts.uplink.nudge()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while not parts.publisher.is_level(parts.keeper.store):
                    await parts.clock.sleep(0.05)

    # --- what the outside may ask ---------------------------------------------------

    def problems(self) -> tuple[str, ...]:
        """Return what is wrong now, in words, without values."""
        parts = self._parts
        found = [f"{place}: {what}" for place, what in sorted(self._troubles.items())]
        found += [f"{place} closed: {why}" for place, why in self._closed.items()]
        for trouble in (parts.keeper.problem, parts.uplink.problem):
            if trouble:
                found.append(trouble)
        return tuple(found)

    def status(self) -> str:
        """Return the state as JSON."""
        return self.state().decode()

    def state(self) -> bytes:
        """Return the body of the retained state."""
        parts = self._parts
        self._state_number += 1
        store = parts.keeper.store.statistics()
        return state_body(
            parts.identity.device,
            parts.identity.boot,
            parts.identity.version,
            self._accepted.compiled.policy,
            store,
            Situation(
                self._state_number,
                parts.clock.now_ns(),
                self._accepted.state,
                self._clock_level,
                parts.uplink.online,
                parts.autonomy.hours(store),
                parts.keeper.counters.coverage(),
                self.problems(),
            ),
        )

    def metrics(self) -> str:
        """Return the Prometheus page."""
        parts = self._parts
        store = parts.keeper.store.statistics()
        gauges = {
            "online": float(parts.uplink.online),
            "autonomy_hours": parts.autonomy.hours(store),
            "problems": float(len(self.problems())),
        }
        return exposition(
            parts.keeper.counters.totals(), store, gauges, parts.losses.totals()
        )
