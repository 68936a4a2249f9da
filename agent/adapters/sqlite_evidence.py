"""Reads the evidence log back: entries held against the tree, nodes, checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.limits import EVIDENCE_BYTES_A_MESSAGE
from protocols.tlog.tree import Growth, frontier, leaf_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.adapters.sqlite_connection import Connection
    from protocols.tlog.tree import Place

_ENTRIES: Final = (
    "SELECT e.position, e.body, n.hash FROM entries e"
    " LEFT JOIN nodes n ON n.level = 0 AND n.position = e.position"
    " WHERE e.position >= ? ORDER BY e.position LIMIT ?"
)


def entries_since(connection: Connection, start: int, limit: int) -> list[bytes]:
    """Return encoded entries [start, start + limit), checked against the tree.

    Fewer where more would not fit into one message: ``EVIDENCE_BYTES_A_MESSAGE``
    together, but at least one. Fatal where an entry is not what was committed.
    """
    entries: list[bytes] = []
    used = 0
    with connection.reading("evidence") as database:
        rows = database.execute(_ENTRIES, (start, limit))
        for expected, (position, body, digest) in enumerate(rows, start):
            if position != expected or leaf_hash(body) != digest:
                reason = f"evidence entry {expected} is not what was committed"
                raise connection.found_damaged(reason)
            used += len(body)
            if entries and used > EVIDENCE_BYTES_A_MESSAGE:
                break
            entries.append(body)
    return entries


def stored_nodes(connection: Connection, places: Sequence[Place]) -> dict[Place, bytes]:
    """Return the hashes of stored (level, index) nodes, without absent ones."""
    found: dict[Place, bytes] = {}
    with connection.reading("nodes") as database:
        for place in places:
            row = database.execute(
                "SELECT hash FROM nodes WHERE level = ? AND position = ?", place
            ).fetchone()
            if row is not None:
                found[place] = row[0]
    return found


def root_of(connection: Connection, size: int) -> bytes:
    """Return the root of the first ``size`` entries (at most the current size)."""
    known = stored_nodes(connection, frontier(size))
    if len(known) != len(frontier(size)):
        raise connection.found_damaged(f"tree nodes of size {size} missing")
    return Growth(size, known).root()
