"""Prunes the evidence log on the device, step by step. In the store's thread.

What is old enough is ``agent/store/retention.py``'s to say; what may go at all (under a
signed checkpoint, and a collector has it) the store's.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agent.limits import EVIDENCE_ENTRIES_KEPT_MIN, PRUNED_AT_ONCE
from agent.store.documents import AGES, closed, opened
from agent.store.retention import DAY_NS, Ages, decode_ages, encode_ages

if TYPE_CHECKING:
    from agent.adapters.journal import Journal
    from agent.adapters.sqlite_store import SqliteStore


class Pruner:
    """Marks the days of the log, and deletes what is over its retention."""

    def __init__(
        self,
        store: SqliteStore,
        journal: Journal,
        keep_days: int,
        kept_min: int = EVIDENCE_ENTRIES_KEPT_MIN,
    ) -> None:
        """``kept_min``: so many of the newest entries stay, however old they are."""
        self._store = store
        self._journal = journal
        self._keep_days = keep_days
        self._kept_min = kept_min
        self._ages: Ages | None = None
        self._marked_ns: int | None = None  # monotonic; before we were, reckoned

    def look(self, now_ns: int, mono_ns: int) -> None:
        """Mark how long the log is at ``now_ns``, a time that is believed.

        ``mono_ns``: the monotonic clock. Raises as ``Store.commit``; then nothing is
        marked.
        """
        before, marked_ns = self._known(), self._marked_ns
        lived_ns = None if marked_ns is None else mono_ns - marked_ns
        looked = before.looked(now_ns, self._store.root()[0], lived_ns)
        ages = looked.without_older(self._keep_days * DAY_NS)
        if ages != before:
            self._store.keep_document(AGES, closed(AGES, encode_ages(ages)))
        if marked_ns is None:
            self._marked_ns = mono_ns - (now_ns - ages.wall_ns)
        elif looked.seen_ns != before.seen_ns:
            self._marked_ns = mono_ns
        self._ages = ages

    def step(self) -> bool:
        """Delete some of what is over its retention; tell whether anything went."""
        old = self._known().older_than(self._keep_days * DAY_NS)
        below = min(old, self._store.root()[0] - self._kept_min)
        told = partial(self._journal.pruned, keep_days=self._keep_days)
        gone = self._journal.call(self._store.prune, below, PRUNED_AT_ONCE, told)
        return gone is not None

    def _known(self) -> Ages:
        if self._ages is None:
            self._ages = self._read()
        return self._ages

    def _read(self) -> Ages:
        log_id = self._store.log_id
        try:
            ages = decode_ages(opened(AGES, self._store.document(AGES) or b""))
        except ValueError:  # none yet, or changed on the disk: nothing is old
            return Ages(log_id)
        return ages if ages.log_id == log_id else Ages(log_id)
