"""The batcher: nothing lost uncounted, order kept, limits held, at any timing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.batcher import Batcher
from protocols.frames import FrameBatch

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
