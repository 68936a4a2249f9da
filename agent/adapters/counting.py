"""Takes over what was counted before this start; commits keep it current."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.classification.volumes import restored
from agent.firewall.book import FirewallBook
from agent.firewall.book import restored as book_restored
from agent.records import Outcome
from agent.store.documents import FIREWALL, VOLUMES, closed, opened

if TYPE_CHECKING:
    from agent.adapters.sqlite_store import SqliteStore
    from agent.classification.volumes import Volumes


def volumes_of(store: SqliteStore) -> Volumes:
    """Return the counters; there is a document of them from the first start on.

    So a store that has let something out and has no such document has lost it.
    """
    document = store.document(VOLUMES)
    body: bytes | None = None
    damaged = False
    if document is not None:
        try:
            body = opened(VOLUMES, document)
        except ValueError:
            damaged = True
    sent = any(row.outcome == Outcome.SENT for row in store.counters())
    volumes = restored(body, was_used=damaged or sent)
    if body is None:
        store.keep_document(VOLUMES, closed(VOLUMES, volumes.document()))
    return volumes


def book_of(store: SqliteStore) -> tuple[FirewallBook, bool]:
    """Return what the firewall said and no snapshot told; and whether that was lost."""
    document = store.document(FIREWALL)
    if document is None:
        return FirewallBook(), False
    try:
        return book_restored(opened(FIREWALL, document)), False
    except ValueError:
        return FirewallBook(), True
