"""The front of the evidence log: deleted step by step, and where it begins now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.adapters.sqlite_connection import Damaged
from agent.store.documents import PRUNED, closed, opened
from agent.store.retention import Beginning, Pruning, decode_beginning, encode_beginning
from protocols.tlog.tree import Growth, frontier, pruned_nodes

if TYPE_CHECKING:
    import sqlite3

_NODE: Final = "SELECT hash FROM nodes WHERE level = ? AND position = ?"


def first_entry(database: sqlite3.Connection, size: int) -> int:
    """Return the position of the first entry that is there; ``size`` where none is."""
    row = database.execute("SELECT min(position) FROM entries").fetchone()
    return size if row[0] is None else int(row[0])


def prune(
    database: sqlite3.Connection, log_id: bytes, first: int, end: int, root: bytes
) -> Pruning:
    """Delete entries [first, end) and what of the tree nobody needs any more.

    ``root``: of the first ``end`` entries. Within a transaction of the caller's.
    """
    (size,) = database.execute(
        "SELECT ifnull(sum(length(body)), 0) FROM entries WHERE position < ?", (end,)
    ).fetchone()
    database.execute("DELETE FROM entries WHERE position < ?", (end,))
    database.executemany(
        "DELETE FROM nodes WHERE level = ? AND position < ?", pruned_nodes(end)
    )
    database.execute("DELETE FROM checkpoints WHERE size < ?", (end,))
    beginning = encode_beginning(Beginning(log_id, end, root))
    database.execute(
        "INSERT OR REPLACE INTO documents VALUES (?, ?)",
        (PRUNED, closed(PRUNED, beginning)),
    )
    return Pruning(first, end, root, int(size))


def beginning_of(database: sqlite3.Connection, log_id: bytes) -> Growth:
    """Return the tree of what is pruned, from the subtrees that are kept of it.

    Raises:
        Damaged: they are absent, or do not give the root that was written down.
    """
    row = database.execute(
        "SELECT body FROM documents WHERE name = ?", (PRUNED,)
    ).fetchone()
    if row is None:
        return Growth(0, {})
    try:
        told = decode_beginning(opened(PRUNED, bytes(row[0])))
    except ValueError:
        raise Damaged("where the evidence log begins has changed bytes") from None
    if told.log_id != log_id:  # of a log before this one
        return Growth(0, {})
    growth = tree_of(database, told.size)
    if growth.root() != told.root:
        raise Damaged("the subtrees of what is pruned give another root")
    return growth


def tree_of(database: sqlite3.Connection, size: int) -> Growth:
    """Return the tree of the first ``size`` entries; Damaged where a node is absent."""
    known = {}
    for place in frontier(size):
        row = database.execute(_NODE, place).fetchone()
        if row is None:
            raise Damaged(f"tree node {place} is missing")
        known[place] = bytes(row[0])
    return Growth(size, known)
