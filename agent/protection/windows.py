"""Transforms over time: every, on_change, aggregate. No loop over samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from agent.protection.rows import by_item
from agent.records import Outcome
from agent.track import NEVER_NS
from protocols.samples import SampleBatch, empty_samples, raw_of_floats

if TYPE_CHECKING:
    from agent.protection.rows import Flow
    from policies.tables import Aggregate, Every, OnChange
    from protocols.frames import F64, I64, U32, Bool, Index

GRACE_NS: Final = 1_000_000_000  # how late a sample may come to its window
STATISTICS: Final = ("min", "max", "mean", "count", "sum", "last")
_NEAR: Final = 16  # samples ahead that on_change compares for all samples at once


class EveryStep:
    """The first sample of each item in each period of the wall clock's grid."""

    def __init__(self, every: Every, items: int) -> None:
        """Take the number of items; ValueError where the period is not positive."""
        if every.period_ns <= 0:
            raise ValueError("every: the period is not positive")
        self._period_ns = every.period_ns
        self._items = items
        self._last: I64 | None = None  # made at first use: many rules see few items

    def apply(self, flow: Flow) -> None:
        """Thin samples and texts; a period of an item that was served stays served."""
        samples, texts = flow.rows.samples, flow.texts
        flow.keep(self._first(samples.item, samples.time_ns), Outcome.THINNED)
        flow.keep_texts(self._first(texts.item, texts.time_ns), Outcome.THINNED)

    def held(self) -> tuple[tuple[U32, I64 | None], ...]:
        """Return nothing."""
        return ()

    def _first(self, item: U32, time_ns: I64) -> Bool:
        if not len(item):
            return np.zeros(0, np.bool_)
        if self._last is None:
            self._last = np.full(self._items, np.iinfo(np.int64).min)
        order, heads = by_item(item, time_ns)
        item, bucket = item[order], time_ns[order] // self._period_ns
        fresh = np.ones(len(item), np.bool_)
        fresh[1:] = bucket[1:] != bucket[:-1]
        fresh[heads] = True
        fresh &= bucket > self._last[item]
        np.maximum.at(self._last, item[fresh], bucket[fresh])
        kept = np.zeros(len(item), np.bool_)
        kept[order[fresh]] = True
        return kept


class OnChangeStep:
    """Only what differs from the value last let through by more than the deadband."""

    def __init__(self, on_change: OnChange, items: int) -> None:
        """Take the number of items; ValueError where the deadband is negative."""
        if not on_change.deadband >= 0.0:
            raise ValueError("on_change: the deadband is negative")
        self._deadband = on_change.deadband
        self._items = items
        self._last: F64 | None = None
        self._seen = np.zeros(0, np.bool_)
        self._texts: dict[int, bytes] = {}

    def apply(self, flow: Flow) -> None:
        """Thin samples by value and texts by equality; the first one always goes."""
        flow.keep(self._changed(flow.rows.samples), Outcome.THINNED)
        texts = flow.texts
        mask = np.zeros(len(texts), np.bool_)
        for row, (item, text) in enumerate(
            zip(texts.item.tolist(), texts.text, strict=True)
        ):  # texts are few by nature
            mask[row] = self._texts.get(item) != text
            self._texts[item] = text
        flow.keep_texts(mask, Outcome.THINNED)

    def held(self) -> tuple[tuple[U32, I64 | None], ...]:
        """Return nothing."""
        return ()

    def _changed(self, samples: SampleBatch) -> Bool:
        if not len(samples):
            return np.zeros(0, np.bool_)
        if self._last is None:
            self._last = np.zeros(self._items)
            self._seen = np.zeros(self._items, np.bool_)
        order, heads = by_item(samples.item, samples.time_ns)
        items = samples.item[order[heads]]
        sent, last = jumps(
            samples.value[order],
            heads,
            self._last[items],
            self._seen[items],
            self._deadband,
        )
        self._last[items] = last
        self._seen[items] = True
        kept = np.zeros(len(order), np.bool_)
        kept[order] = sent
        return kept


def jumps(
    value: F64, heads: Index, last: F64, seen: Bool, deadband: float
) -> tuple[Bool, F64]:
    """Return (sent [N], last value sent per group [G]) of a deadband filter.

    ``value`` [N] is grouped; group g starts at ``heads[g]``; ``last``/``seen`` [G] are
    its state. Sequential by nature: from each value sent to the next that differs by
    more than ``deadband``. Where that is at most ``_NEAR`` samples on, it is found
    for all samples at once; the loop only visits those that are sent.
    """
    # The state of each group stands before it as a row of its own.
    value = np.insert(value, heads, last)
    starts = heads + np.arange(len(heads))
    ends = np.append(starts[1:], len(value))
    following = _following(value, np.repeat(ends, ends - starts), deadband)
    following[starts[~seen]] = starts[~seen] + 1  # the first ever always goes
    hops = following.tolist()
    visited: list[int] = []
    finals: list[int] = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        row, ahead = start, hops[start]
        while ahead != end:
            if ahead < 0:
                ahead = _search(value, row, end, deadband)
                continue
            visited.append(ahead)
            row, ahead = ahead, hops[ahead]
        finals.append(row)
    sent = np.zeros(len(value), np.bool_)
    sent[visited] = True
    return np.delete(sent, starts), value[finals]


def _following(value: F64, ends: Index, deadband: float) -> Index:
    """Return for each row [N] the next that differs by more than the deadband.

    ``ends`` [N]: end of the row's group, which is the answer where there is none; -1
    where there is none within ``_NEAR`` rows.
    """
    found = np.full(len(value), -1, np.intp)
    rows = np.arange(len(value))
    for step in range(1, _NEAR + 1):
        past = rows + step >= ends[rows]
        found[rows[past]] = ends[rows[past]]
        rows = rows[~past]
        over = np.abs(value[rows + step] - value[rows]) > deadband
        found[rows[over]] = rows[over] + step
        rows = rows[~over]
    return found


def _search(value: F64, row: int, end: int, deadband: float) -> int:
    """Return what ``_following`` left open: look on in growing stretches."""
    begin, width = row + _NEAR + 1, 4 * _NEAR
    while begin < end:
        stretch = value[begin : min(end, begin + width)]
        over = np.flatnonzero(np.abs(stretch - value[row]) > deadband)
        if len(over):
            return begin + int(over[0])
        begin, width = begin + width, 2 * width
    return end


@dataclass(frozen=True, slots=True)
class _Open:
    """Windows that still collect: one row per (item, window), as columns [W]."""

    item: U32
    window: I64  # time // window_ns
    count: I64
    low: F64
    high: F64
    total: F64
    last: F64
    last_ns: I64

    def take(self, rows: Index | Bool) -> _Open:
        return _Open(
            self.item[rows],
            self.window[rows],
            self.count[rows],
            self.low[rows],
            self.high[rows],
            self.total[rows],
            self.last[rows],
            self.last_ns[rows],
        )

    def join(self, newer: _Open) -> _Open:
        return _Open(
            np.concatenate((self.item, newer.item)),
            np.concatenate((self.window, newer.window)),
            np.concatenate((self.count, newer.count)),
            np.concatenate((self.low, newer.low)),
            np.concatenate((self.high, newer.high)),
            np.concatenate((self.total, newer.total)),
            np.concatenate((self.last, newer.last)),
            np.concatenate((self.last_ns, newer.last_ns)),
        )


@dataclass(frozen=True, slots=True)
class Closed:
    """Closed windows [W]: where and when, how many samples each, one column each."""

    time_ns: I64  # start of the window
    item: U32
    count: I64
    value: dict[str, F64]  # by statistic, in the order that the rule asks for

    def take(self, rows: Index | Bool) -> Closed:
        """Return the windows that ``rows`` selects."""
        value = {name: column[rows] for name, column in self.value.items()}
        return Closed(self.time_ns[rows], self.item[rows], self.count[rows], value)

    def samples(self, statistic: str) -> SampleBatch:
        """Return one sample per window: its start and the statistic."""
        value = self.value[statistic] + 0.0
        return SampleBatch(self.time_ns, self.item, raw_of_floats(value), value)


class AggregateStep:
    """Statistics of each item over the windows of the wall clock's grid.

    A window closes when the latest sample time seen, or (``by_clock``) the wall clock,
    is ``GRACE_NS`` past its end. Windows of an item close in order and once: a sample
    for one that is not after the item's last closed window is late, and thinned.
    """

    def __init__(self, aggregate: Aggregate, items: int, *, by_clock: bool) -> None:
        """ValueError where the window is not positive or a statistic is unknown."""
        unknown = set(aggregate.of) - set(STATISTICS)
        if aggregate.window_ns <= 0 or unknown or not aggregate.of:
            raise ValueError("aggregate: senseless parameters")
        self._window_ns = aggregate.window_ns
        self._of = aggregate.of
        self._by_clock = by_clock
        self._items = items
        self._closed: I64 | None = None  # last closed window per item
        self._latest_ns = NEVER_NS
        self._open = _partials(empty_samples(), self._window_ns)

    def collect(self, flow: Flow) -> Closed:
        """Take all rows in; return the windows that close now. Texts fail."""
        flow.fail_texts()
        samples = flow.rows.samples
        if self._closed is None:
            self._closed = np.full(self._items, np.iinfo(np.int64).min)
        late = samples.time_ns // self._window_ns <= self._closed[samples.item]
        flow.keep(~late, Outcome.THINNED)
        samples = flow.rows.samples
        if len(samples):
            self._latest_ns = max(self._latest_ns, int(samples.time_ns.max()))
            self._open = _merged(self._open, _partials(samples, self._window_ns))
        mark = max(self._latest_ns, flow.now_ns) if self._by_clock else self._latest_ns
        floor = (mark - GRACE_NS) // self._window_ns  # windows below it are over
        return self._close(self._open.window < floor)

    def close_all(self) -> Closed:
        """Close every open window now (shutdown)."""
        return self._close(np.ones(len(self._open.item), np.bool_))

    def held(self) -> tuple[tuple[U32, I64 | None], ...]:
        """Return the samples that open windows stand for."""
        return ((self._open.item, self._open.count),) if len(self._open.item) else ()

    def _close(self, over: Bool) -> Closed:
        done = self._open.take(over)
        if len(done.item):
            self._open = self._open.take(~over)
            if self._closed is not None:
                np.maximum.at(self._closed, done.item, done.window)
        with np.errstate(all="ignore"):  # what overflows is refused by the caller
            value = {
                "min": done.low,
                "max": done.high,
                "mean": done.total / done.count,
                "count": done.count.astype(np.float64),
                "sum": done.total,
                "last": done.last,
            }
        chosen = {name: value[name] for name in self._of}
        return Closed(done.window * self._window_ns, done.item, done.count, chosen)


def _partials(samples: SampleBatch, window_ns: int) -> _Open:
    """Return the windows of one batch, collected."""
    order, _ = by_item(samples.item, samples.time_ns)
    value, time_ns = samples.value[order], samples.time_ns[order]
    ones = np.ones(len(order), np.int64)
    each = _Open(
        samples.item[order],
        time_ns // window_ns,
        ones,
        value,
        value,
        value,
        value,
        time_ns,
    )
    return _collected(each)


def _merged(older: _Open, newer: _Open) -> _Open:
    """Join windows; the ``last`` of a window is the latest, of equals the newer."""
    both = older.join(newer)
    return _collected(both.take(np.lexsort((both.last_ns, both.window, both.item))))


def _collected(rows: _Open) -> _Open:
    """Return one row per (item, window) of rows sorted by item, window, time."""
    if not len(rows.item):
        return rows
    differs = (rows.item[1:] != rows.item[:-1]) | (rows.window[1:] != rows.window[:-1])
    heads = np.flatnonzero(np.concatenate((np.ones(1, np.bool_), differs)))
    tails = np.append(heads[1:], len(rows.item)) - 1
    with np.errstate(all="ignore"):  # an overflow shows as infinity when it closes
        return _Open(
            rows.item[heads],
            rows.window[heads],
            np.add.reduceat(rows.count, heads),
            np.minimum.reduceat(rows.low, heads),
            np.maximum.reduceat(rows.high, heads),
            np.add.reduceat(rows.total, heads),
            rows.last[tails],
            rows.last_ns[tails],
        )
