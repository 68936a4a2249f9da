"""Moves what the store holds to the broker, and receipts back into the store.

One connection at a time. What is sent next, what an answer means and when to try again
is decided by the pure parts in ``agent/uplink``; this module waits and calls.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent.adapters.access import let_in
from agent.adapters.ending import first_cause
from agent.adapters.moves import begin
from agent.adapters.mqtt import connect
from agent.adapters.settling import settle
from agent.errors import BadInput, Refused, Unavailable
from agent.records import Outgoing
from agent.uplink.authority import merged
from agent.uplink.machine import Event, State, after
from agent.uplink.scheduler import RECEIPT_WAIT_NS
from agent.uplink.verdict import NO_MATCHING_SUBSCRIBERS, Verdict, judge
from protocols.receipts import RECEIPT_BYTES_MAX
from protocols.topics import down_topic, up_topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from agent.adapters.access import Access
    from agent.adapters.journal import Journal
    from agent.adapters.mails import Mail
    from agent.adapters.mqtt import MqttOptions
    from agent.adapters.publisher import Publisher
    from agent.adapters.sqlite_store import SqliteStore
    from agent.adapters.store_thread import StoreThread
    from agent.ports import Clock, Link
    from agent.records import Incoming, Queued
    from agent.uplink.authority import Authority
    from agent.uplink.backoff import Backoff
    from agent.uplink.receipt import Confirmations
    from agent.uplink.scheduler import Scheduler
    from agent.vitals import Sign

SWEPT_MAX: Final = 65_536  # rows remembered for a sweep; 2 MiB
INBOX_MAX: Final = 256  # receipts that wait for the disk; 64 MiB of the largest
INBOX_FULL_S: Final = 0.1
IDLE_S: Final = 1.0  # how long an empty spool is believed without a nudge
REFUSED_PAUSE_S: Final = 1.0  # a passing refusal of the broker
UNHEARD_PAUSE_MAX_S: Final = 60.0  # nobody listens: asked ever more seldom
# More than an answer (30 s), a connection (10 s, names resolved) or a rest may take.
PATIENCE_S: Final = 180.0
CONTENT_TYPE: Final = "application/vnd.sluicegate"


class _ComeAgain(Exception):
    """The connection is left to come with something else."""


class Uplink:
    """The uplink of one device; ``run`` ends only when it is cancelled."""

    def __init__(
        self,
        names: tuple[str, str],
        options: MqttOptions,
        store: SqliteStore,
        thread: StoreThread,
        scheduler: Scheduler,
        backoff: Backoff,
        publisher: Publisher,
        clock: Clock,
        authority: Authority,
        journal: Journal,
        connect_to: Callable[[MqttOptions], Awaitable[Link]] = connect,
    ) -> None:
        """``names``: (fleet, device); ``authority``: whose receipts settle what."""
        self._fleet, self._device = names
        self._options = options
        self.access: Access | None = None  # where options change while we run
        self._store = store
        self._thread = thread
        self._scheduler = scheduler
        self._backoff = backoff
        self._publisher = publisher
        self._clock = clock
        self.authority = authority  # replaced when a policy is swapped
        self.mail: Mail | None = None  # who takes what is no receipt
        self._receipt_topic = down_topic(self._fleet, self._device, "receipt")
        self.state = State.OFFLINE
        self.problem = ""
        self.counts: Counter[str] = Counter()
        self._pause_s = REFUSED_PAUSE_S
        self._link: Link | None = None
        self._swept_ns = clock.monotonic_ns()
        self._sent_before: list[int] = []  # rows, sent before the last sweep
        self._sent_since: list[int] = []
        self._inbox: list[Incoming] = []
        self._came = asyncio.Event()
        self._journal = journal
        self._connect = connect_to
        self._nudge = asyncio.Event()
        self._again = asyncio.Event()
        self._open = asyncio.Event()  # clear: nothing is taken from the spool
        self._open.set()
        self._dealing = asyncio.Lock()

    def come_again(self) -> None:
        """Leave the connection and make another one at once, with what there is now.

        The broker keeps our session; what waits for an answer is sent again.
        """
        self._again.set()

    def nudge(self) -> None:
        """There is something new to send."""
        self._nudge.set()

    @contextlib.asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Send nothing of the spool meanwhile: permissions are about to shrink."""
        self._open.clear()
        try:
            with self._thread.moves.waits():  # what is on its way has its answer
                await self._dealing.acquire()
            try:
                yield
            finally:
                self._dealing.release()
        finally:
            self._open.set()

    def signs(self) -> tuple[Sign, Sign]:
        """Return what the uplink shows, and who sends the evidence while it is up.

        Offline is no stall: to wait and to try again is what is due then.
        """
        moves = self._thread.moves
        return (
            moves.sign("uplink", PATIENCE_S),
            moves.sign("evidence", PATIENCE_S, due=self.online),
        )

    @property
    def online(self) -> bool:
        """Tell whether a broker has us."""
        return self.state in {State.DRAINING, State.IDLE, State.STALLED}

    async def run(self) -> None:
        """Connect, serve, and again; a broken link never ends the agent."""
        begin("uplink")
        while True:
            self._thread.moves.step()
            self._step(Event.CONNECT)
            try:
                link = await self._connected()
            except (Unavailable, BadInput) as error:
                self.problem = str(error)
                self._step(Event.FAILED)
                await self._clock.sleep(self._backoff.next_s())
                continue
            began = self._clock.monotonic_ns()
            self._again.clear()
            try:
                await self._serve(link)
            except* (Unavailable, Refused) as group:
                self.problem = str(first_cause(group))
            except* _ComeAgain:
                pass
            finally:
                await link.close()
            self._step(Event.DISCONNECTED)
            if self._again.is_set():
                continue  # nobody has to be spared: no backoff
            self.counts["disconnected"] += 1
            self._backoff.lived((self._clock.monotonic_ns() - began) / 1e9)
            await self._clock.sleep(self._backoff.next_s())

    async def _connected(self) -> Link:
        """Return a new connection, made with what there is by now."""
        will = self._publisher.will()
        if self.access is None:
            return await self._connect(replace(self._options, will=will))
        return await let_in(self.access, self._connect, will)

    def _step(self, event: Event) -> None:
        self.state = after(self.state, event)

    async def _serve(self, link: Link) -> None:
        self.problem = ""
        self._link = link
        self._sent_before, self._sent_since = [], []
        self._step(Event.CONNECTED)
        await self._thread.run(self._store.forget_sent)
        self._scheduler.connected(self._clock.monotonic_ns(), link.window)
        await link.subscribe([self._receipt_topic])
        if self.mail is not None:
            try:
                await link.subscribe(self.mail.topics)
            except Refused as error:
                self.problem = str(error)  # data go on; policies do not come
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._receive(link), name="uplink.receive")
            tasks.create_task(self._send(link), name="uplink.send")
            tasks.create_task(
                self._publisher.run(link, self._store, self._thread),
                name="uplink.publish",
            )
            tasks.create_task(self._leave(), name="uplink.leave")

    async def _leave(self) -> None:
        await self._again.wait()
        raise _ComeAgain

    # --- down -----------------------------------------------------------------------

    async def _receive(self, link: Link) -> None:
        """Take in receipts at once; settle those that have come with one another."""
        begin("receipts")
        self._inbox.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._settle(link), name="uplink.settle")
            async for message in link.messages():
                if message.topic != self._receipt_topic:
                    await self._take(link, message)
                    continue
                if len(message.body) > RECEIPT_BYTES_MAX:
                    self.counts["receipts_refused"] += 1
                    await link.acknowledge(message)
                    continue
                self._inbox.append(message)
                self._came.set()
                while len(self._inbox) >= INBOX_MAX:
                    await self._clock.sleep(INBOX_FULL_S)

    async def _take(self, link: Link, message: Incoming) -> None:
        """Hand over what is no receipt; what nobody asked for is done with at once."""
        if self.mail is not None and message.topic in self.mail.topics:
            await self.mail.take(link, message)
        else:
            await link.acknowledge(message)

    async def _settle(self, link: Link) -> None:
        while True:
            await self._came.wait()
            self._came.clear()
            messages, self._inbox = self._inbox, []
            await self._receipts(messages)
            for message in messages:
                await link.acknowledge(message)

    async def _receipts(self, messages: list[Incoming]) -> None:
        """Settle what collectors have; a bad receipt is counted, never obeyed."""
        authority = self.authority
        told: dict[str, list[Confirmations]] = {}
        for message in messages:
            await asyncio.sleep(0)  # a forger's receipts cost time, nobody else's
            try:
                who, said = authority.open(message.body, self._store.log_id)
            except Refused:
                self.counts["receipts_refused"] += 1
            else:
                told.setdefault(who, []).append(said)
        for who, some in told.items():
            await self._obey(authority, who, merged(some))
        if not told:
            return
        unconfirmed = self._store.unconfirmed
        self._scheduler.receipted(self._clock.monotonic_ns(), unconfirmed)
        if self.state is State.STALLED:
            self._step(Event.RECEIPT)
        self.nudge()

    async def _obey(self, authority: Authority, who: str, said: Confirmations) -> None:
        removed, is_ours = await self._thread.patient(
            self._clock, settle, self._store, authority, who, said
        )
        self.counts["receipted"] += removed
        if is_ours and said.evidence is not None:
            self._publisher.receipted(said.evidence[0])
        elif is_ours is False:
            self.counts["other_history"] += 1

    # --- up -------------------------------------------------------------------------

    async def _send(self, link: Link) -> None:
        while True:
            self._thread.moves.step()
            self._nudge.clear()
            await self._overdue()
            with self._thread.moves.waits():  # who pauses us
                await self._open.wait()
            async with self._dealing:
                pause_s = await self._deal(link)
            if pause_s is not None:
                if pause_s:  # not within: who pauses us must not wait for it
                    await self._clock.sleep(pause_s)
                continue
            if self._scheduler.is_stalled(self._store.unconfirmed):
                self._step(Event.WINDOW_FULL)
            elif self.state is State.DRAINING:
                self._step(Event.SPOOL_EMPTY)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE_S):
                    await self._nudge.wait()
            if self.state is State.IDLE:
                self._step(Event.RECORDS)

    async def _deal(self, link: Link) -> float | None:
        """Publish what is due; return how long to rest then, None: nothing was due."""
        live, backlog = self._scheduler.deal(self._store.unconfirmed)
        if not live + backlog:
            return None
        queued = await self._thread.patient(
            self._clock,
            self._journal.call,  # what was damaged on the disk is told
            self._store.next_to_send,
            live,
            backlog,
        )
        if not queued:
            return None
        self._step(Event.RECORDS)
        return await self._publish(link, queued)

    async def _overdue(self) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._swept_ns >= RECEIPT_WAIT_NS:
            await self._sweep(now_ns)
        if self._scheduler.is_overdue(now_ns, self._store.unconfirmed):
            await self._thread.run(self._store.forget_sent)
            self.counts["receipts_overdue"] += 1
            if self.state is State.STALLED:
                self._step(Event.RECEIPT_OVERDUE)

    async def _sweep(self, now_ns: int) -> None:
        """Send again what went out a whole wait ago and has no receipt still.

        Receipts for other records keep coming, so that nothing looks overdue; the one
        receipt that was lost on its way must not wait for the next connection.
        """
        self._swept_ns = now_ns
        await self._thread.run(self._store.release, self._sent_before)
        self._sent_before, self._sent_since = self._sent_since, []

    async def _publish(self, link: Link, queued: list[Queued]) -> float:
        """Publish one deal side by side; the slowest answer ends it.

        Returns for how many seconds nothing more is to be tried.
        """
        rows = [one.row for one in queued]
        await self._thread.run(self._store.mark_sent, rows)
        for row in rows:
            self._scheduler.started(row)
        self._sent_since += rows[: SWEPT_MAX - len(self._sent_since)]
        async with asyncio.TaskGroup() as tasks:  # a lost link ends all of them
            asked = [
                tasks.create_task(link.publish(self._outgoing(one))) for one in queued
            ]
        answers = [one.result() for one in asked]
        now_ns = self._clock.monotonic_ns()
        done: list[int] = []
        again: list[int] = []
        unheard: list[int] = []
        for one, code in zip(queued, answers, strict=True):
            self._scheduler.ended(one.row, now_ns)
            verdict = judge(code, one.record.confirm)
            self.counts[f"published_{verdict.value}"] += 1
            if code == NO_MATCHING_SUBSCRIBERS:
                unheard.append(one.row)
            if verdict is Verdict.CONFIRMED:
                done.append(one.row)
            elif verdict is Verdict.AGAIN:
                again.append(one.row)
            elif verdict is Verdict.REFUSED:
                self.problem = f"broker refuses {one.record.kind}: reason {code:#04x}"
        if done:
            await self._thread.patient(self._clock, self._store.confirm_rows, done)
        if again or unheard:
            await self._thread.run(self._store.release, [*again, *unheard])
        rest_s = 0.0
        if again or unheard:
            rest_s = self._pause_s if unheard else REFUSED_PAUSE_S
        longer = min(2 * self._pause_s, UNHEARD_PAUSE_MAX_S)
        self._pause_s = longer if unheard else REFUSED_PAUSE_S
        return rest_s

    def _outgoing(self, queued: Queued) -> Outgoing:
        record = queued.record
        return Outgoing(
            up_topic(self._fleet, self._device, record.kind),
            record.body,
            content_type=CONTENT_TYPE,
            # A hint for routing; the binding label is inside the envelope's header.
            properties=(("label", str(record.label)), ("to", record.destination)),
        )
