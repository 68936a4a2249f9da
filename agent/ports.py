"""The world as the agent sees it: small protocols with a written contract.

Adapters (``agent/adapters/``) implement them for real; the simulators in ``tests/``
implement them in memory and are better at going wrong. Both run the same tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from agent.records import (
        Commit,
        CounterRow,
        Eviction,
        Incoming,
        Outgoing,
        Queued,
        StoreStatistics,
    )
    from protocols.frames import FrameBatch


class Clock(Protocol):
    """Wall time, monotonic time, and whether the wall may be believed."""

    def now_ns(self) -> int:
        """Return wall-clock ns since the epoch."""

    def monotonic_ns(self) -> int:
        """Return monotonic ns; never jumps."""

    async def sleep(self, seconds: float) -> None:
        """Wait; cancelled like any await."""


class FrameSource(Protocol):
    """A bus. Yields batches as they come; ends when the source ends."""

    name: str

    def batches(self) -> AsyncIterator[FrameBatch]:
        """Yield non-empty batches in order of arrival."""

    def lost(self) -> int:
        """Return frames lost so far between kernel and us (counted, never silent)."""

    def close(self) -> None:
        """Let the bus go; what was read stays read."""


class Store(Protocol):
    """Spool, retained data, evidence and its tree. One writer.

    A call that returns has happened and survives a power cut; one that raises
    ``Unavailable`` has not happened; one that raises ``Fatal`` may have.
    """

    def commit(self, commit: Commit) -> tuple[Eviction, ...]:
        """Make one pass durable in one transaction; return what the cap evicted."""

    def expire(self, now_ns: int) -> tuple[Eviction, ...]:
        """Delete retained data whose time is over, with evidence of it."""

    def destroy(self, places: Sequence[tuple[str, int]]) -> tuple[Eviction, ...]:
        """Delete what is spooled for (destination, label) pairs, with evidence."""

    def next_to_send(self, live: int, backlog: int) -> list[Queued]:
        """Return unsent records: up to ``live`` new ones, then ``backlog`` old ones.

        Highest rank first, then oldest; a share left unused goes to the other side.
        """

    def mark_sent(self, rows: Sequence[int]) -> None:
        """Do not offer these again on this connection; they stay until confirmed."""

    def release(self, rows: Sequence[int]) -> None:
        """Offer rows again that were marked and could not be sent after all."""

    def forget_sent(self) -> None:
        """A new connection: what was sent and not confirmed is to be sent again."""

    def confirm(self, epoch: bytes, sequences: Sequence[int]) -> int:
        """Remove receipted records; return how many. Sequence 0: the announcement."""

    def confirm_rows(self, rows: Sequence[int]) -> int:
        """Remove records that the broker's acknowledgement is enough for."""

    def evidence_since(self, start: int, limit: int) -> list[bytes]:
        """Return encoded entries [start, start + limit), fewer if they are large.

        At least one where there is one; never more than one message can carry.
        """

    def evidence_receipted(self, size: int, root: bytes) -> bool:
        """Remember that the collector has ``size`` entries; False: not our history."""

    def counters(self) -> list[CounterRow]:
        """Return the compliance counters, summed over the store's life."""

    def untold_counters(self) -> list[CounterRow]:
        """Return what grew since the last commit with a ``snapshot``, it included."""

    def statistics(self) -> StoreStatistics:
        """Return how the store is; from memory, never waiting for the disk."""

    def close(self) -> None:
        """Close; everything committed stays."""


class Link(Protocol):
    """One connection to the broker. Lost once, it stays lost: make a new one."""

    window: int  # publishes that may wait for their acknowledgement

    async def publish(self, message: Outgoing) -> int:
        """Return the broker's reason code (MQTT 5.0, 3.4.2.1); Unavailable if lost."""

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Subscribe at QoS 1; Refused where the broker denies one."""

    def messages(self) -> AsyncIterator[Incoming]:
        """Yield what comes in; Unavailable when the connection is lost."""

    async def acknowledge(self, message: Incoming) -> None:
        """Tell the broker that ``message`` is dealt with."""

    async def close(self) -> None:
        """Say goodbye, so that the broker keeps the last will to itself."""


class Signer(Protocol):
    """The device's identity: can sign, and tell its public key."""

    device: str

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature (RFC 8032)."""

    def public_key(self) -> bytes:
        """Return the 32-byte Ed25519 public key."""
