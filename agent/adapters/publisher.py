"""Publishes what is not spooled: evidence pages, checkpoints, the retained state.

Evidence goes out by cursor: the log itself is its spool. Order (DESIGN section 9):
commit, sign, store, publish. A receipt may move the cursor forward, or back where a
collector has lost what it had.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from agent.errors import Unavailable
from agent.limits import EVIDENCE_ENTRIES_A_MESSAGE
from agent.records import Outgoing
from protocols.audit import AuditPage, encode_page
from protocols.signed import pack_signed
from protocols.tlog.checkpoint import Checkpoint, sign_checkpoint
from protocols.topics import up_topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.adapters.mqtt import MqttLink
    from agent.adapters.sqlite_store import SqliteStore
    from agent.adapters.store_thread import StoreThread
    from agent.ports import Clock, Signer

PAGE_EVERY_S: Final = 1.0
PAGES_AHEAD: Final = 8  # entries sent and not receipted: at most so many pages
STATE_EVERY_S: Final = 30.0
TAKEN: Final = frozenset({0x00, 0x10})  # success; success, nobody listens


class Publisher:
    """One per process; ``run`` once per connection."""

    def __init__(
        self,
        names: tuple[str, str],
        signer: Signer,
        clock: Clock,
        state: Callable[[], bytes],
        checkpoint_ns: int,
    ) -> None:
        """``state``: the body of the retained state as it is now."""
        self._fleet, self._device = names
        self._signer = signer
        self._clock = clock
        self._state = state
        self._checkpoint_ns = checkpoint_ns
        self._checkpointed_ns: int | None = None
        self._sent = 0  # evidence entries given to the broker on this connection
        self._receipted = 0
        self._wake = asyncio.Event()
        self._state_wanted = asyncio.Event()

    def receipted(self, size: int) -> None:
        """A collector at home says how many entries of our log it has."""
        if size < self._receipted:
            self._sent = size  # it has lost some: send them again
        self._receipted = size
        self._wake.set()

    def state_changed(self) -> None:
        """Publish the state soon, not at its interval."""
        self._state_wanted.set()

    def checkpoint_wanted(self) -> None:
        """Sign the tree with the next page: the log ends, or an ack needs it."""
        self._checkpointed_ns = None
        self._wake.set()

    def is_level(self, store: SqliteStore) -> bool:
        """Tell whether a collector has all entries and the spool is empty."""
        now = store.statistics()
        return self._receipted >= now.evidence_size and not now.records

    async def run(
        self, link: MqttLink, store: SqliteStore, thread: StoreThread
    ) -> None:
        """Publish until the connection is lost (Unavailable)."""
        self._sent = self._receipted = store.statistics().evidence_sent
        self._checkpointed_ns = None  # every connection begins with a checkpoint
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pages(link, store, thread), name="publish.audit")
            tasks.create_task(self._states(link), name="publish.state")

    async def _pages(
        self, link: MqttLink, store: SqliteStore, thread: StoreThread
    ) -> None:
        while True:
            self._wake.clear()
            full = await self._page(link, store, thread)
            if full:
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAGE_EVERY_S):
                    await self._wake.wait()

    async def _page(
        self, link: MqttLink, store: SqliteStore, thread: StoreThread
    ) -> bool:
        """Publish the next page; True where another one is waiting already."""
        ahead = self._sent - self._receipted
        if ahead > PAGES_AHEAD * EVIDENCE_ENTRIES_A_MESSAGE:
            self._sent = self._receipted  # the broker may have lost them
            return False
        entries = await thread.run(
            store.evidence_since, self._sent, EVIDENCE_ENTRIES_A_MESSAGE
        )
        due = self._is_due()
        if not entries and not (due and self._sent):
            return False
        end = self._sent + len(entries)
        note = await thread.run(self._sign, store, end) if due else b""
        page = AuditPage(store.log_id, self._sent, tuple(entries), note)
        await self._take(link, Outgoing(self._topic("audit"), encode_page(page)))
        self._sent = end
        if due:
            self._checkpointed_ns = self._clock.monotonic_ns()
        return len(entries) == EVIDENCE_ENTRIES_A_MESSAGE

    def _is_due(self) -> bool:
        last = self._checkpointed_ns
        if last is None:
            return True
        return self._clock.monotonic_ns() - last >= self._checkpoint_ns

    def _sign(self, store: SqliteStore, size: int) -> bytes:
        """Sign the tree of the first ``size`` entries and keep the note, durably."""
        root = store.root_at(size)
        origin = f"sluicegate/{self._fleet}/{self._device}/{store.log_id.hex()}"
        note = sign_checkpoint(Checkpoint(origin, size, root), self._signer)
        store.add_checkpoint(size, root, note)
        return note

    async def _states(self, link: MqttLink) -> None:
        while True:
            self._state_wanted.clear()
            body = pack_signed("state", self._state(), self._signer.sign)
            message = Outgoing(self._topic("state"), body, retain=True)
            await self._take(link, message)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STATE_EVERY_S):
                    await self._state_wanted.wait()

    async def _take(self, link: MqttLink, message: Outgoing) -> None:
        code = await link.publish(message)
        if code not in TAKEN:
            raise Unavailable("mqtt", f"{message.topic}: refused with {code:#04x}")

    def _topic(self, kind: str) -> str:
        return up_topic(self._fleet, self._device, kind)
