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

from agent.adapters.ending import ended
from agent.adapters.listening import Listening
from agent.adapters.moves import begin
from agent.adapters.pulse import Pulse
from agent.adapters.status_server import serve_status
from agent.adapters.steering import Steering
from agent.errors import Unavailable
from agent.limits import BATCH_WINDOW_S
from agent.merging import join_commits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.adapters.consenting import Consenting
    from agent.adapters.modbus.poll import ModbusPoller
    from agent.adapters.outside import Outside
    from agent.adapters.policy.feed import PolicyFeed
    from agent.adapters.renewing import Renewing
    from agent.adapters.steering import Desk
    from agent.adapters.systemd import Notifier
    from agent.config import Config
    from agent.control import Accepted
    from agent.records import Arrival
    from agent.vitals import Sign

TICK_S: Final = 1.0  # windows and trips close with the clock, data or not
CLOCKWORK_S: Final = 5.0
PATIENCE_S: Final = 60.0  # a pass of the flow, a turn of the clockwork
REST_S: Final = 5.0  # how long a clean stop passes what waits; what is left is shed
DRAIN_S: Final = 3.0  # how long a clean stop waits for the uplink


@dataclass(frozen=True, slots=True)
class Parts:
    """What ``agent/commands/parts.py`` has wired."""

    config: Config
    desk: Desk
    consenting: Consenting
    notifier: Notifier
    outside: Outside
    open_links: Callable[[Accepted], list[ModbusPoller]]
    renewing: Renewing
    feed: PolicyFeed | None = None  # takes pushed policies, where a root is pinned


class Agent:
    """Everything that runs, and what may be asked of it."""

    def __init__(self, parts: Parts) -> None:
        """Take the parts; ``parts.desk.now`` names the policy that decides first."""
        self._parts = parts
        self._desk = parts.desk
        self._now = parts.desk.now
        self._arrived = asyncio.Event()
        self._stop = asyncio.Event()
        self._ended = False  # the sources; what has arrived is all there is
        self._watch = parts.desk.watch
        self._steering = Steering(parts.desk, self._snapshot, self._arrived.set)
        self._sources = Listening(
            parts.config, parts.desk, parts.open_links, self._arrived.set
        )  # fmt: skip
        self._left: list[Arrival] = []  # of a pass that a change of policy cut short
        self._told: tuple[str, ...] = ()
        self._moves = parts.desk.keeper.moves
        self._pulse = Pulse(
            parts.notifier, parts.desk.clock, self._signs, parts.outside.sentence
        )
        self._flow = self._steering.assembled(self._now.accepted)

    # --- life -----------------------------------------------------------------------

    async def run(self) -> None:
        """Run until ``stop`` is called; everything committed stays."""
        parts, desk = self._parts, self._desk
        metrics = parts.config.metrics
        if parts.feed is not None:
            await parts.feed.begin(self._steering)
        await self._steering.activated("start")
        firewall = self._now.accepted.compiled.policy.firewall
        desk.between.adopt(firewall, clock_ok=self._watch.ok)
        desk.buses.adopt(self._now.accepted.compiled)
        await parts.consenting.begin(clock_ok=self._watch.ok)
        async with (
            serve_status(parts.outside.pages(), metrics.socket, metrics.port),
            asyncio.TaskGroup() as tasks,
        ):
            uplink = tasks.create_task(desk.uplink.run(), name="uplink")
            running = [
                tasks.create_task(self._clockwork(), name="clockwork"),
                tasks.create_task(self._pulse.run(), name="pulse"),
                tasks.create_task(self._steering.run(), name="steering"),
                tasks.create_task(parts.renewing.run(), name="certificates"),
                tasks.create_task(
                    parts.consenting.watch(self._arrived.set), name="consents"
                ),
            ]
            if parts.feed is not None:
                running.append(tasks.create_task(parts.feed.run(), name="policies"))
            flow = tasks.create_task(self._run_flow(tasks), name="flow")
            self._sources.begin(tasks)
            await self._sources.tried()
            parts.notifier.ready(parts.outside.sentence())
            try:
                await self._stop.wait()
                parts.notifier.stopping()
                desk.keeper.hurry()
                for task in running:
                    task.cancel()
                await self._sources.end()  # before the last pass, which takes the rest
                self._ended = True
                self._arrived.set()
                await flow
                await self._drained()
            finally:
                await self._sources.end()
                await ended(uplink)

    def stop(self) -> None:
        """End cleanly: what is read is committed, windows close, the log says stop."""
        self._stop.set()

    def reload(self) -> None:
        """Read the policy again; a bad one is recorded and the old one stays."""
        self._steering.reload()

    # --- the flow -------------------------------------------------------------------

    async def _run_flow(self, tasks: asyncio.TaskGroup) -> None:
        """Feed the flow; swaps happen here, between two batches."""
        begin("flow")
        while not self._ended:
            self._moves.step()
            await self._gathered()
            while self._steering.waiting:
                self._flow = await self._steering.swap(self._flow)
                self._parts.consenting.declare(self._now.accepted.compiled.policy)
                self._sources.poll(tasks)
            await self._pass(self._left or self._arrivals(last=False))
            if (problems := self._parts.outside.problems()) != self._told:
                self._told = problems
                self._desk.publisher.state_changed()
        await self._rest()
        now_ns = self._desk.clock.now_ns()
        await self._desk.keeper.keep(self._flow.finish(now_ns, "shutdown"))
        await self._snapshot()
        entry = self._desk.evidence.stop(now_ns, "asked to stop")
        await self._desk.keeper.testify(entry)

    async def _rest(self) -> None:
        """Pass all that has arrived; what would take too long is shed, and counted."""
        until_ns = self._desk.clock.monotonic_ns() + int(REST_S * 1e9)
        while True:
            await self._pass(self._left + self._arrivals(last=True))
            if not self._sources.has_frames:
                return
            if self._desk.clock.monotonic_ns() > until_ns:
                self._sources.shed()  # the next pass says so

    async def _gathered(self) -> None:
        """Wait for the first arrival (or a tick), then for the batch to fill.

        A change of policy does not wait.
        """
        steering = self._steering
        if self._left or steering.waiting:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TICK_S):
                await self._arrived.wait()
        self._arrived.clear()
        if self._sources.has_room and not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BATCH_WINDOW_S):
                    await steering.asked()

    async def _pass(self, arrivals: list[Arrival]) -> None:
        """Process what has arrived, and commit it; cut short by a change of policy.

        What is left of it then is the new policy's.
        """
        commits = []
        consenting = self._parts.consenting
        self._left = []
        for number, arrival in enumerate(arrivals, 1):
            commits.append(
                self._flow.process(
                    arrival, clock_ok=self._watch.ok, consents=consenting.consents
                )
            )
            self._log()
            await asyncio.sleep(0)  # the control plane answers between two batches
            if self._steering.waiting and not self._ended:
                self._left = arrivals[number:]
                break
        commit = self._watch.dated(join_commits(commits))
        await self._desk.keeper.keep(await consenting.remembered(commit))
        await consenting.settle()
        now_ns = self._desk.clock.now_ns()
        losses = [
            self._desk.evidence.loss(now_ns, cause, count)
            for cause, count in self._desk.losses.grown()
        ]
        if losses:
            await self._desk.keeper.testify(*losses)

    def _log(self) -> None:
        """Write the owner's own log; where that fails, status says so."""
        eve = self._desk.eve
        if eve is not None:
            eve.write()
            if eve.trouble:
                self._now.troubles["eve"] = eve.trouble

    def _arrivals(self, *, last: bool) -> list[Arrival]:
        """Return what has arrived; one empty arrival where nothing has."""
        points = self._sources.rediscovered()
        if points is not None:  # the decoder is made anew, nothing is held
            self._flow.use_points(points)
        return self._sources.arrivals(last=last)

    # --- clockwork ------------------------------------------------------------------

    async def _clockwork(self) -> None:
        """Clock, retention, cards, snapshots: things that only time moves."""
        begin("clockwork")
        desk = self._desk
        next_snapshot_ns = 0
        while True:
            self._moves.step()
            self._watch.look(self._now)
            self._sources.look()
            self._steering.look_at_cards()
            await desk.keeper.look_at_room()
            if self._watch.ok:
                await desk.keeper.look_at_evidence(desk.clock.now_ns())
            mono_ns = desk.clock.monotonic_ns()
            interval_ns = self._now.accepted.compiled.policy.telemetry_ns
            if mono_ns >= next_snapshot_ns:
                next_snapshot_ns = mono_ns + interval_ns
                await self._snapshot()
                if self._watch.ok:
                    now_ns, store = desk.clock.now_ns(), desk.keeper.store
                    await desk.keeper.let_go(lambda: store.expire(now_ns))  # noqa: B023  # run at once
            await desk.clock.sleep(min(CLOCKWORK_S, interval_ns / 1e9))

    def _signs(self) -> Iterator[Sign]:
        """Return what every part shows: sources, flow, store, uplink, clockwork."""
        yield from self._sources.signs()
        yield self._moves.sign("flow", PATIENCE_S)
        yield self._moves.sign("clockwork", PATIENCE_S)
        yield from self._desk.uplink.signs()
        yield self._desk.keeper.sign()

    async def _snapshot(self) -> None:
        desk = self._desk
        await desk.keeper.snapshot(
            self._now.accepted.compiled.policy,
            {**desk.losses.totals(), **await self._let_go()},
            desk.clock.now_ns(),
        )

    async def _let_go(self) -> dict[str, int]:
        """Return the records that the store let go of, by cause."""
        lost: dict[str, int] = {}
        keeper = self._desk.keeper
        for one in await keeper.ask(keeper.store.losses):
            cause = f"spool {one.cause}"
            lost[cause] = lost.get(cause, 0) + one.records
        return lost

    async def _drained(self) -> None:
        """Sign the end of the log; give the uplink a moment to send it."""
        desk = self._desk
        with contextlib.suppress(Unavailable):  # a full disk: signed at the next start
            await desk.keeper.ask(desk.publisher.sign_end, desk.keeper.store)
        if not desk.uplink.online:
            return
        desk.publisher.checkpoint_wanted()
        desk.uplink.nudge()
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(DRAIN_S):
                while not desk.publisher.is_level(desk.keeper.store):
                    await desk.clock.sleep(0.05)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await desk.publisher.leave()
