"""The batcher: nothing lost uncounted, order kept, limits held, at any timing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.batcher import Batcher
from protocols.frames import FrameBatch

if TYPE_CHECKING:
    from protocols.frames import U8

MS = 1_000_000


def frames(first: int, count: int, width: int = 8, bus: int = 0) -> FrameBatch:
    return FrameBatch(
        np.arange(first, first + count, dtype=np.int64),
        np.full(count, bus, np.uint8),
        np.zeros(count, np.uint32),
        np.zeros(count, np.uint8),
        np.zeros(count, np.uint8),
        np.zeros((count, width), np.uint8),
    )


def test_a_batch_closes_when_it_is_full() -> None:
    batcher = Batcher(64, 100 * MS)
    batcher.add(frames(0, 63), 0)
    assert batcher.ready(0) is None
    batcher.add(frames(63, 70), 1)
    full = batcher.ready(1)
    assert full is not None
    assert full.time_ns.tolist() == list(range(64))
    again = batcher.ready(1)
    assert again is not None
    assert len(again) == 64
    assert batcher.ready(1) is None
    assert batcher.waiting == 5


def test_a_batch_closes_when_its_oldest_frame_has_waited() -> None:
    batcher = Batcher(64, 100 * MS)
    assert batcher.due_ns() is None
    batcher.add(frames(0, 3), 10 * MS)
    batcher.add(frames(3, 3), 90 * MS)
    assert batcher.due_ns() == 110 * MS
    assert batcher.ready(110 * MS - 1) is None
    closed = batcher.ready(110 * MS)
    assert closed is not None
    assert len(closed) == 6
    assert batcher.due_ns() is None


def test_what_is_left_of_an_arrival_keeps_its_age() -> None:
    batcher = Batcher(4, 100 * MS)
    batcher.add(frames(0, 6), 5 * MS)
    assert batcher.ready(5 * MS) is not None
    assert batcher.due_ns() == 105 * MS


def test_one_width_for_a_batch() -> None:
    batcher = Batcher(64, 0)
    batcher.add(frames(0, 2), 0)
    batcher.add(frames(2, 2, width=64), 0)
    mixed = batcher.ready(0)
    assert mixed is not None
    assert mixed.width == 64
    assert len(mixed) == 4


def test_buses_are_merged_in_order_of_arrival() -> None:
    batcher = Batcher(64, 0)
    for n, bus in enumerate([1, 0, 1]):
        batcher.add(frames(n, 1, bus=bus), n)
    merged = batcher.flush()
    assert merged is not None
    assert merged.bus.tolist() == [1, 0, 1]
    assert batcher.flush() is None


def test_a_full_queue_sheds_what_arrives_and_counts_it() -> None:
    batcher = Batcher(4, 100 * MS, waiting_max=10)
    batcher.add(frames(0, 7), 0)
    batcher.add(frames(7, 7), 0)
    batcher.add(frames(14, 7), 0)
    assert (batcher.waiting, batcher.lost) == (10, 11)
    got = []
    while (batch := batcher.flush()) is not None:
        got += batch.time_ns.tolist()
    assert got == list(range(10))


STEPS = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from([8, 64]), st.integers(0, 60)),
    max_size=60,
)


@given(STEPS, st.integers(1, 50), st.integers(0, 100), st.integers(0, 200))
def test_every_frame_comes_out_once_or_is_counted(
    steps: list[tuple[int, int, int]], frames_max: int, window: int, extra: int
) -> None:
    batcher = Batcher(frames_max, window, frames_max + extra)
    got: list[int] = []
    sent = now = 0
    for count, width, wait in steps:
        batcher.add(frames(sent, count, width), now)
        sent += count
        now += wait
        while (batch := batcher.ready(now)) is not None:
            assert 1 <= len(batch) <= frames_max
            got += batch.time_ns.tolist()
        due = batcher.due_ns()
        assert due is None or due > now
        assert batcher.waiting < frames_max
    while (batch := batcher.flush()) is not None:
        got += batch.time_ns.tolist()
    assert len(got) + batcher.lost == sent
    assert got == sorted(set(got))
    assert batcher.waiting == 0


def by_ident(batch: FrameBatch) -> U8:
    """Rank frames by the last digit of their time stamp, in a way of its own."""
    return (batch.time_ns % 4).astype(np.uint8)


def drained(batcher: Batcher) -> list[int]:
    got = []
    while (batch := batcher.flush()) is not None:
        got += batch.time_ns.tolist()
    return got


def test_the_lowest_rank_goes_first_whether_it_waits_or_arrives() -> None:
    batcher = Batcher(4, 100 * MS, waiting_max=8)
    batcher.rank = by_ident
    batcher.add(frames(0, 8), 0)  # two of each rank
    batcher.add(frames(8, 3), 0)  # ranks 0, 1, 2: 8 goes, then 4 and 0 that wait
    assert batcher.shed == [3, 0, 0, 0]
    batcher.add(frames(11, 1), 0)  # rank 3: the youngest of rank 1 goes
    assert batcher.shed == [3, 1, 0, 0]
    assert batcher.waiting == 8
    assert drained(batcher) == [1, 2, 3, 5, 6, 7, 10, 11]


def test_the_highest_rank_is_shed_only_where_nothing_else_is_left() -> None:
    batcher = Batcher(4, 0, waiting_max=4)
    batcher.rank = by_ident
    for at in range(3, 27, 4):
        batcher.add(frames(at, 1), 0)
    assert batcher.shed == [0, 0, 0, 2]
    batcher.add(frames(0, 3), 0)  # ranks 0 to 2 find no room beside them
    assert batcher.shed == [1, 1, 1, 2]
    assert drained(batcher) == [3, 7, 11, 15]


@given(STEPS, st.integers(1, 50), st.integers(0, 100), st.integers(0, 200))
def test_shedding_by_rank_keeps_order_counts_and_what_is_worth_most(
    steps: list[tuple[int, int, int]], frames_max: int, window: int, extra: int
) -> None:
    batcher = Batcher(frames_max, window, frames_max + extra)
    batcher.rank = by_ident
    got: list[int] = []
    sent = now = 0
    for count, width, wait in steps:
        before = batcher.shed.copy()
        batcher.add(frames(sent, count, width), now)
        sent += count
        now += wait
        assert batcher.waiting <= frames_max + extra
        grown = [a - b for a, b in zip(batcher.shed, before, strict=True)]
        left = np.concatenate(
            [np.zeros(0, np.uint8), *(by_ident(w.frames) for w in batcher._queue)]
        )
        for rank in range(4):  # something of a rank went: nothing lower waits
            assert not grown[rank] or not (left < rank).any()
        if wait > 30 and (batch := batcher.ready(now)) is not None:
            got += batch.time_ns.tolist()
    got += drained(batcher)
    assert len(got) + batcher.lost == sent
    assert got == sorted(set(got))
    assert batcher.waiting == 0
    assert not batcher._at.any() or not batcher._ranked


def test_what_waits_can_be_counted_as_lost_at_once() -> None:
    batcher = Batcher(4, 0, waiting_max=8)
    batcher.rank = by_ident
    batcher.add(frames(0, 7), 0)
    batcher.shed_all()
    assert batcher.shed == [2, 2, 2, 1]
    assert (batcher.waiting, batcher.flush()) == (0, None)
