"""Reads how the device is, for a policy on trial."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.trial import Reading

if TYPE_CHECKING:
    from agent.adapters.keeper import Keeper
    from agent.adapters.uplink import Uplink
    from agent.adapters.watch import WallClock
    from agent.sources.losses import Losses


def reading(
    clock: WallClock, uplink: Uplink, keeper: Keeper, losses: Losses
) -> Reading:
    """Return the figures of this moment; from memory, never waiting for the disk."""
    stored = keeper.store.statistics()
    counts = uplink.counts
    return Reading(
        monotonic_ns=clock.monotonic_ns(),
        online=uplink.online,
        unconfirmed=keeper.store.unconfirmed,
        receipted=counts["receipted"],
        again=counts["receipts_overdue"] + counts["disconnected"],
        losses=losses.total() + stored.evicted_records,
        cpu_ns=clock.cpu_ns(),
        spool_bytes=stored.bytes_used,
    )
