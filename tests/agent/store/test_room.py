"""How much spool and retained data may take of a disk."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.limits import (
    RESERVE_BYTES,
    ROOM_STEP_BYTES,
    SPOOL_BYTES_HELD_MIN,
    WAL_BYTES_MAX,
)
from agent.store.room import Disk, Used, caps, usable

MIB = 1 << 20
CONFIGURED = (512 * MIB, 256 * MIB)
sizes = st.integers(0, 1 << 40)


def disk(free: int, spare: int = 0) -> Disk:
    return Disk(free, spare, WAL_BYTES_MAX, RESERVE_BYTES)


def test_a_large_disk_leaves_the_caps_as_they_were_set() -> None:
    assert caps(CONFIGURED, Used(0, 0), disk(1 << 40)) == CONFIGURED


def test_a_disk_that_is_short_holds_the_spool_where_it_is() -> None:
    assert caps(CONFIGURED, Used(100 * MIB, 0), disk(0)) == (100 * MIB, 100 * MIB)
    more = caps(CONFIGURED, Used(100 * MIB, 0), disk(0, spare=7 * MIB))
    assert more == (107 * MIB, 107 * MIB)


def test_the_log_and_the_reserve_come_before_data() -> None:
    nothing_yet = Disk(WAL_BYTES_MAX + RESERVE_BYTES, 0, 0, 0)
    assert usable(nothing_yet) == 0
    short = Disk(10 * MIB, 0, 0, 0)
    spool, retained = caps(CONFIGURED, Used(100 * MIB, 50 * MIB), short)
    assert spool == 100 * MIB + 10 * MIB - WAL_BYTES_MAX - RESERVE_BYTES
    assert retained >= 50 * MIB  # the spool gives way first


def test_retained_data_give_way_when_the_spool_has_nothing_more_to_give() -> None:
    spool, retained = caps(CONFIGURED, Used(0, 50 * MIB), Disk(0, 0, 0, 0))
    assert spool == SPOOL_BYTES_HELD_MIN
    assert retained == 50 * MIB - WAL_BYTES_MAX - RESERVE_BYTES


@given(free=sizes, spare=sizes, wal=sizes, spool=sizes, retained=sizes)
def test_caps_are_within_what_was_set_and_what_there_is(
    free: int, spare: int, wal: int, spool: int, retained: int
) -> None:
    measured, used = Disk(free, spare, wal, RESERVE_BYTES), Used(spool, retained)
    found = caps(CONFIGURED, used, measured)
    more = usable(measured)
    assert SPOOL_BYTES_HELD_MIN <= found[0] <= CONFIGURED[0]
    assert 0 <= found[1] <= CONFIGURED[1]
    assert found[0] <= max(spool + more, SPOOL_BYTES_HELD_MIN)
    if more >= ROOM_STEP_BYTES:  # nothing that is there has to go
        assert found[0] >= min(spool, CONFIGURED[0])
        assert found[1] >= min(retained, CONFIGURED[1])


@given(free=sizes, spool=sizes, retained=sizes)
def test_more_room_never_means_a_lower_cap(
    free: int, spool: int, retained: int
) -> None:
    less = caps(CONFIGURED, Used(spool, retained), disk(free))
    more = caps(CONFIGURED, Used(spool, retained), disk(free + MIB))
    assert less[0] <= more[0]
    assert less[1] <= more[1]
