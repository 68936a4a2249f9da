"""Makes passes durable and tells of them: commits, snapshots, telemetry.

Everything that is committed goes through here, one after the other, so that the mirror
of the counters and the numbers of evidence entries are exact. Where the disk refuses,
the pass waits and is tried again; sources shed meanwhile, and count it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.errors import Unavailable
from agent.records import Commit, Rank, SpoolRecord
from agent.telemetry.counters import Counters
from agent.telemetry.report import telemetry_body
from protocols.signed import pack_signed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.adapters.sqlite_store import SqliteStore
    from agent.adapters.store_thread import StoreThread
    from agent.evidence import Evidence
    from agent.ports import Clock, Signer
    from agent.telemetry.state import Autonomy
    from policies.tables import CompiledPolicy

RETRY_S: Final = 1.0


class Keeper:
    """The one way into the store for the data path."""

    def __init__(
        self,
        store: SqliteStore,
        thread: StoreThread,
        evidence: Evidence,
        signer: Signer,
        boot: bytes,
        clock: Clock,
        autonomy: Autonomy,
        committed: Callable[[], None],
    ) -> None:
        """``committed`` is called after every commit: there is something to send."""
        self.store = store
        self.counters = Counters(store.counters(), store.untold_counters())
        self.problem = ""
        self._thread = thread
        self._evidence = evidence
        self._signer = signer
        self._boot = boot
        self._clock = clock
        self._autonomy = autonomy
        self._committed = committed
        self._snapped_ns = clock.now_ns()
        self._last_ns = clock.monotonic_ns()
        self._held = 0

    async def keep(self, commit: Commit) -> None:
        """Make a pass durable; waits as long as the disk refuses."""
        if commit.is_empty and commit.held == self._held:
            return
        while True:
            try:
                await self._thread.run(self.store.commit, commit)
                break
            except Unavailable as error:
                self.problem = str(error)
                await self._clock.sleep(RETRY_S)
        self.problem = ""
        self._held = commit.held
        self.counters.add(commit.counters)
        now_ns = self._clock.monotonic_ns()
        made = sum(len(record.body) for record in commit.records)
        self._autonomy.made(made, (now_ns - self._last_ns) / 1e9)
        self._last_ns = now_ns
        self._committed()

    async def testify(self, *entries: bytes) -> None:
        """Make evidence entries durable."""
        await self.keep(Commit(evidence=entries, held=self._held))

    async def snapshot(
        self, policy: CompiledPolicy, losses: Mapping[str, int], now_ns: int
    ) -> None:
        """Put the growth of the counters into evidence, and the same into telemetry."""
        rows = self.counters.grown()
        start_ns, self._snapped_ns = self._snapped_ns, now_ns
        entries = self._evidence.counters(start_ns, now_ns, rows, self._held)
        if not entries:
            return
        size, _ = self.store.root()
        body = telemetry_body(
            self._signer.device,
            self._boot,
            policy,
            (start_ns, now_ns),
            size + len(entries) - 1,  # count.snap is the last of them
            rows,
            self._held,
            losses,
        )
        record = SpoolRecord(
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
        await self.keep(
            Commit(records=(record,), evidence=entries, held=self._held, snapshot=True)
        )
        self.counters.snapshot_taken()
