"""Publishes what is not spooled: evidence pages, checkpoints, the retained state.

Evidence goes out by cursor: the log itself is its spool (``agent/uplink/pages.py``).
Order (DESIGN section 9): commit, sign, store, publish. The state's number rises with
every state of a device, across restarts; the last will has the highest number of its
connection, so that it hides what that connection said and nothing that comes later.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Final

from agent.adapters.moves import begin
from agent.errors import Unavailable
from agent.limits import EVIDENCE_ENTRIES_A_MESSAGE
from agent.records import Outgoing
from agent.uplink.pages import Pages
from protocols.audit import AuditPage, encode_page
from protocols.signed import pack_signed
from protocols.tlog.checkpoint import Checkpoint, sign_checkpoint
from protocols.topics import up_topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.adapters.sqlite_store import SqliteStore
    from agent.adapters.store_thread import StoreThread
    from agent.ports import Clock, Link, Signer

PAGE_EVERY_S: Final = 1.0
PAGES_AHEAD: Final = 8  # entries sent and not receipted: at most so many pages
STATE_EVERY_S: Final = 30.0
STATE_PAUSE_S: Final = 0.5  # a problem that comes and goes is no flood
ACKS_WAITING_MAX: Final = 16  # while there is no link; the newest is what counts
PAUSE_MAX_S: Final = 60.0  # nobody listens: asked ever more seldom
UNHEARD: Final = 0x10  # success, nobody listens (MQTT 5.0, 3.4.2.1)
TAKEN: Final = frozenset({0x00, UNHEARD})
CONNECTION_BITS: Final = 20  # states of one connection
BOOT_BITS: Final = 36  # ... and of one boot: 65,536 connections
LAST: Final = (1 << CONNECTION_BITS) - 1


class Publisher:
    """One per process; ``run`` once per connection."""

    def __init__(
        self,
        names: tuple[str, str],
        signer: Signer,
        clock: Clock,
        state: Callable[[int, bool], bytes],
        checkpoint_ns: int,
    ) -> None:
        """``state(number, online)``: the body of the retained state as it is now."""
        self._fleet, self._device = names
        self._signer = signer
        self._clock = clock
        self._state = state
        self.checkpoint_ns = checkpoint_ns  # replaced when a policy is swapped
        self.boots = 0  # set once the boot is counted
        self._connections = 0
        self._states_told = 0
        self._checkpointed_ns: int | None = None
        self._pages = Pages(PAGES_AHEAD * EVIDENCE_ENTRIES_A_MESSAGE)
        self._pause_s = PAGE_EVERY_S
        self._wake = asyncio.Event()
        self._state_wanted = asyncio.Event()
        self._acks: deque[bytes] = deque(maxlen=ACKS_WAITING_MAX)
        self._ack = b""  # the newest: what is retained
        self._acks_told = 0
        self._ack_wanted = asyncio.Event()
        self._request = b""
        self._request_wanted = asyncio.Event()
        self.enrol_refused = ""  # what became of the last request, where it is lost
        self._leaving = False
        self._left = asyncio.Event()

    def receipted(self, size: int) -> None:
        """A collector at home says how many entries of our log it has."""
        self._pages.heard(size, self._clock.monotonic_ns())
        self._wake.set()

    def state_changed(self) -> None:
        """Publish the state soon, not at its interval."""
        self._state_wanted.set()

    def checkpoint_wanted(self) -> None:
        """Sign the tree with the next page: the log ends, or an ack needs it."""
        self._checkpointed_ns = None
        self._wake.set()

    def enrol(self, request: bytes) -> None:
        """Publish a request for a certificate soon; the newest counts."""
        self._request = request
        self._request_wanted.set()

    def ack_number(self) -> int:
        """Return the number of the next ack: it rises across restarts."""
        self._acks_told += 1
        return (self.boots << BOOT_BITS) + self._acks_told

    def acknowledge(self, ack: bytes) -> None:
        """Publish a signed ack after those before it, with a checkpoint beside it."""
        self._ack = ack
        self._acks.append(ack)
        self._ack_wanted.set()
        self.checkpoint_wanted()

    async def leave(self) -> None:
        """Say offline, as the last will would; returns once the broker has it."""
        self._leaving = True
        self._state_wanted.set()
        await self._left.wait()

    def is_level(self, store: SqliteStore) -> bool:
        """Tell whether a collector has all entries and the spool is empty."""
        now = store.statistics()
        return self._pages.receipted >= now.evidence_size and not now.records

    def number(self) -> int:
        """Return the number of the next state."""
        self._states_told = min(self._states_told + 1, LAST - 1)
        return self._base() + self._states_told

    def _base(self) -> int:
        connection = min(self._connections, (1 << BOOT_BITS - CONNECTION_BITS) - 1)
        return (self.boots << BOOT_BITS) + (connection << CONNECTION_BITS)

    def will(self) -> Outgoing:
        """Begin a connection: return what the broker is to say when it breaks."""
        self._connections += 1
        self._states_told = 0
        return self._outgoing_state(self._base() + LAST, online=False)

    async def run(self, link: Link, store: SqliteStore, thread: StoreThread) -> None:
        """Publish until the connection is lost (Unavailable)."""
        sent = store.statistics().evidence_sent
        self._pages.connected(sent, self._clock.monotonic_ns())
        self._checkpointed_ns = None  # every connection begins with a checkpoint
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                self._send_pages(link, store, thread), name="publish.audit"
            )
            tasks.create_task(self._send_states(link), name="publish.state")
            tasks.create_task(self._send_acks(link), name="publish.ack")
            tasks.create_task(self._send_requests(link), name="publish.enrol")

    async def _send_pages(
        self, link: Link, store: SqliteStore, thread: StoreThread
    ) -> None:
        begin("evidence")
        while True:
            thread.moves.step()
            self._wake.clear()
            while await self._page(link, store, thread):
                pass
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAGE_EVERY_S):
                    await self._wake.wait()

    async def _page(self, link: Link, store: SqliteStore, thread: StoreThread) -> bool:
        """Publish the next page; True where another one is waiting already."""
        pages = self._pages
        if not pages.may_send(self._clock.monotonic_ns()):
            return False
        before = pages.sent
        start, entries = await thread.run(_next_entries, store, before)
        due = self._is_due()
        if not entries and not (due and start):
            return False
        end = start + len(entries)
        note = await thread.patient(self._clock, self._sign, store, end) if due else b""
        page = AuditPage(store.log_id, start, tuple(entries), note)
        message = Outgoing(self._topic("audit"), encode_page(page))
        if await self._take(link, message) == UNHEARD:
            await self._clock.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, PAUSE_MAX_S)
            return False
        self._pause_s = PAGE_EVERY_S
        if pages.sent == before:  # else a receipt has moved it meanwhile
            pages.taken(end)
        if due:
            self._checkpointed_ns = self._clock.monotonic_ns()
        return len(entries) == EVIDENCE_ENTRIES_A_MESSAGE

    def sign_end(self, store: SqliteStore) -> None:
        """Sign the whole log and keep the note, whether anybody hears of it or not.

        A clean stop waits for no broker: what it leaves is signed to the last entry.
        """
        size = store.statistics().evidence_size
        newest = store.last_checkpoint()
        if newest is None or newest[0] < size:
            self._sign(store, size)

    def _is_due(self) -> bool:
        last = self._checkpointed_ns
        if last is None:
            return True
        return self._clock.monotonic_ns() - last >= self.checkpoint_ns

    def _sign(self, store: SqliteStore, size: int) -> bytes:
        """Sign the tree of the first ``size`` entries and keep the note, durably.

        Nothing where they were pruned meanwhile: they are signed already.
        """
        if size < store.first:
            return b""
        root = store.root_at(size)
        origin = f"sluicegate/{self._fleet}/{self._device}/{store.log_id.hex()}"
        note = sign_checkpoint(Checkpoint(origin, size, root), self._signer)
        store.add_checkpoint(size, root, note)
        return note

    async def _send_states(self, link: Link) -> None:
        while True:
            self._state_wanted.clear()
            leaving = self._leaving
            await self._take(
                link, self._outgoing_state(self.number(), online=not leaving)
            )
            if leaving:
                self._left.set()
            await self._clock.sleep(STATE_PAUSE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STATE_EVERY_S):
                    await self._state_wanted.wait()

    async def _send_acks(self, link: Link) -> None:
        """Publish every ack in order; a new connection begins with the newest."""
        if self._ack and not self._acks:
            self._acks.append(self._ack)
        while True:
            while self._acks:
                ack = self._acks[0]
                message = Outgoing(self._topic("ack"), ack, retain=True)
                await self._take(link, message)
                if (
                    self._acks and self._acks[0] is ack
                ):  # else a newer one pushed it out
                    self._acks.popleft()
            self._ack_wanted.clear()
            await self._ack_wanted.wait()

    async def _send_requests(self, link: Link) -> None:
        """Publish the request; where a connection breaks, it is asked for again."""
        while True:
            await self._request_wanted.wait()
            self._request_wanted.clear()
            message = Outgoing(self._topic("enrol"), self._request)
            code = await link.publish(message)
            said = "" if code in TAKEN else f"refused with {code:#04x}"
            self.enrol_refused = "heard by nobody" if code == UNHEARD else said

    def _outgoing_state(self, number: int, *, online: bool) -> Outgoing:
        body = pack_signed("state", self._state(number, online), self._signer.sign)
        return Outgoing(self._topic("state"), body, retain=True)

    async def _take(self, link: Link, message: Outgoing) -> int:
        code = await link.publish(message)
        if code not in TAKEN:
            raise Unavailable("mqtt", f"{message.topic}: refused with {code:#04x}")
        return code

    def _topic(self, kind: str) -> str:
        return up_topic(self._fleet, self._device, kind)


def _next_entries(store: SqliteStore, start: int) -> tuple[int, list[bytes]]:
    """Return what to send from ``start`` on; what is pruned nobody can send again."""
    start = max(start, store.first)
    return start, store.evidence_since(start, EVIDENCE_ENTRIES_A_MESSAGE)
