"""What a receipt settles in the store: records of its sender's, and its log."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.adapters.sqlite_store import SqliteStore
    from agent.uplink.authority import Authority
    from agent.uplink.receipt import Confirmations


def settle(
    store: SqliteStore, authority: Authority, who: str, said: Confirmations
) -> tuple[int, bool | None]:
    """Remove what a recipient has and may settle; runs in the store's thread.

    Returns (records removed, whether what it says of our log is our history); None
    where it says nothing of it, or may not.
    """
    removed = 0
    for epoch, numbers in said.epochs:
        destination = store.destination_of(epoch)
        if destination is None or not authority.may_settle(who, destination):
            continue
        removed += store.confirm(epoch, numbers)
    if said.evidence is None or not authority.may_settle_evidence(who):
        return removed, None
    return removed, store.evidence_receipted(*said.evidence)
