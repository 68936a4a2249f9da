"""Makes passes durable and tells of them: commits, snapshots, telemetry.

Everything that is counted is committed here, one after the other, so that the mirror of
the counters is exact. Where the disk refuses, the pass waits and is tried again;
sources shed meanwhile, and count it.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from agent.adapters.counting import book_of
from agent.adapters.ending import unbroken
from agent.errors import Unavailable
from agent.firewall.book import FirewallBook
from agent.limits import PRUNINGS_A_TURN
from agent.records import Commit, Rank, SpoolRecord
from agent.store.documents import FIREWALL, closed
from agent.telemetry.counters import Counters
from agent.telemetry.report import telemetry_body
from protocols.signed import pack_signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from agent.adapters.journal import Journal
    from agent.adapters.moves import Moves
    from agent.adapters.pruning import Pruner
    from agent.adapters.room import Room
    from agent.adapters.sqlite_store import SqliteStore
    from agent.adapters.store_thread import StoreThread
    from agent.evidence import Evidence
    from agent.ports import Clock, Signer
    from agent.telemetry.state import Autonomy
    from agent.vitals import Sign
    from policies.tables import CompiledPolicy

P = ParamSpec("P")
T = TypeVar("T")

RETRY_S: Final = 1.0
LAST_TRIES: Final = 3  # a clean stop does not wait for a full disk for ever


class Keeper:
    """The one way into the store for the data path."""

    def __init__(
        self,
        store: SqliteStore,
        thread: StoreThread,
        journal: Journal,
        evidence: Evidence,
        signer: Signer,
        boot: bytes,
        clock: Clock,
        autonomy: Autonomy,
        committed: Callable[[], None],
        room: Room | None = None,
        pruner: Pruner | None = None,
    ) -> None:
        """``committed`` is called after every commit: there is something to send."""
        self.store = store
        self.counters = Counters(store.counters(), store.untold_counters())
        self.firewall, self.firewall_lost = book_of(store)
        self.problem = ""
        self._thread = thread
        self._journal = journal
        self._evidence = evidence
        self._signer = signer
        self._boot = boot
        self._clock = clock
        self._autonomy = autonomy
        self._committed = committed
        self._room = room
        self._pruner = pruner
        self._snapped_ns = clock.now_ns()
        self._last_ns = clock.monotonic_ns()
        self._held = 0
        self._tries_left = -1  # as many as it takes
        # The mirror of the counters changes with the store's, or not at all.
        self._turn = asyncio.Lock()

    @property
    def moves(self) -> Moves:
        """Return where the parts of the daemon leave their marks."""
        return self._thread.moves

    def sign(self) -> Sign:
        """Return what the store shows to the pulse."""
        return self._thread.sign()

    def hurry(self) -> None:
        """The agent stops: a disk that still refuses ends it (Unavailable)."""
        self._tries_left = LAST_TRIES

    async def keep(self, commit: Commit) -> None:
        """Make a pass durable; waits as long as the disk refuses."""
        if commit.is_empty and commit.held == self._held:
            return
        async with self._in_turn():
            if commit.verdicts:
                commit = _documented(commit, self.firewall.with_more(commit.verdicts))
            await self._stubbornly(self._journal.commit, commit)
            self._kept(commit)

    async def testify(self, *entries: bytes) -> None:
        """Make evidence entries durable."""
        await self.keep(Commit(evidence=entries, held=self._held))

    async def record(self, make: Callable[[int], Commit]) -> int:
        """Make durable what ``make`` returns: a step, and documents that go with it.

        ``make`` is told the position of its first entry in the log, and runs in the
        store's thread, where nobody appends meanwhile. Returns that position.
        """
        async with self._in_turn():

            def told() -> tuple[int, Commit]:
                index = self._journal.size()
                commit = replace(make(index), held=self._held)
                self._journal.commit(commit)
                return index, commit

            index, commit = await self._stubbornly(told)
            self._kept(commit)
        return index

    async def ask(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a question to the store where it may wait for the disk."""
        return await self._thread.run(call, *args, **kwargs)

    async def let_go(self, call: Callable[[], T]) -> T:
        """Run what deletes with a record of it (expire, destroy), until it is done."""

        def told() -> T:
            return self._journal.call(call)

        return await self._stubbornly(told)

    async def look_at_room(self) -> None:
        """Hold spool and retained data within what the disk has now."""
        if self._room is not None:
            with contextlib.suppress(Unavailable):  # told by who has to write
                await unbroken(self._thread.run(self._journal.call, self._room.look))

    async def look_at_evidence(self, now_ns: int) -> None:
        """Prune what of the log is over its retention; ``now_ns`` is believed."""
        pruner = self._pruner
        if pruner is None:
            return
        with contextlib.suppress(Unavailable):  # told by who has to write
            mono_ns = self._clock.monotonic_ns()
            await unbroken(self._thread.run(pruner.look, now_ns, mono_ns))
            for _ in range(PRUNINGS_A_TURN):  # others have their turn between two
                if not await unbroken(self._thread.run(pruner.step)):
                    return

    async def _gave_way(self) -> bool:
        """Make room on a disk that refuses; tell whether anything went."""
        if self._room is None:
            return False
        with contextlib.suppress(Unavailable):
            gone = self._thread.run(self._journal.call, self._room.give_way)
            return bool(await unbroken(gone))
        return False

    @property
    def problems(self) -> tuple[str, ...]:
        """Return what is wrong with the store or its disk now, in words."""
        room = "" if self._room is None else self._room.problem
        return tuple(text for text in (self.problem, room) if text)

    async def snapshot(
        self, policy: CompiledPolicy, losses: Mapping[str, int], now_ns: int
    ) -> None:
        """Put the growth of the counters into evidence, and the same into telemetry."""
        async with self._in_turn():
            await self._firewall_snapshot(now_ns)
            rows = self.counters.grown()
            entries = self._evidence.counters(
                self._snapped_ns, now_ns, rows, self._held
            )
            if not entries:
                self._snapped_ns = now_ns
                return
            span_ns = (self._snapped_ns, now_ns)

            def told() -> Commit:  # in the store's thread: nobody appends meanwhile
                body = telemetry_body(
                    self._signer.device,
                    self._boot,
                    policy,
                    span_ns,
                    self._journal.size() + len(entries) - 1,  # count.snap is the last
                    rows,
                    self._held,
                    losses,
                )
                record = self._record(body, now_ns)
                commit = Commit((record,), (), entries, held=self._held, snapshot=True)
                self._journal.commit(commit)
                return commit

            commit = await self._stubbornly(told)
            self._snapped_ns = now_ns
            self.counters.snapshot_taken()
            self._kept(commit)

    async def _firewall_snapshot(self, now_ns: int) -> None:
        """Put what the firewall said since the last time into evidence."""
        rows = self.firewall.grown()
        entries = self._evidence.firewall(
            self._snapped_ns, now_ns, rows, self.firewall.told_total
        )
        if entries:
            commit = _documented(
                Commit(evidence=entries, held=self._held), FirewallBook().with_more(())
            )
            await self._stubbornly(self._journal.commit, commit)
            self.firewall.told()
            self._kept(commit)

    def _record(self, body: bytes, now_ns: int) -> SpoolRecord:
        return SpoolRecord(
            kind="telemetry",
            destination="",
            rank=Rank.TELEMETRY,
            label=0,
            epoch=b"",
            sequence=0,
            created_ns=now_ns,
            body=pack_signed("telemetry", body, self._signer.sign),
            confirm="puback",
        )

    @contextlib.asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        with self._thread.moves.waits():  # whose turn it is waits for the store
            await self._turn.acquire()
        try:
            yield
        finally:
            self._turn.release()

    async def _stubbornly(
        self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        while True:
            try:
                done = await unbroken(self._thread.run(call, *args, **kwargs))
            except Unavailable as error:
                self.problem = str(error)
                if self._tries_left == 0:
                    raise
                self._tries_left -= self._tries_left > 0
                if not await self._gave_way():
                    await self._clock.sleep(RETRY_S)
            else:
                self.problem = ""
                return done

    def _kept(self, commit: Commit) -> None:
        self._held = commit.held
        self.counters.add(commit.counters)
        self.firewall.add(commit.verdicts)
        now_ns = self._clock.monotonic_ns()
        made = sum(len(record.body) for record in commit.records)
        self._autonomy.made(made, (now_ns - self._last_ns) / 1e9)
        self._last_ns = now_ns
        self._committed()


def _documented(commit: Commit, book: bytes) -> Commit:
    documents = {**commit.documents, FIREWALL: closed(FIREWALL, book)}
    return replace(commit, documents=documents)
