"""A disk that fills: the spool gives way by rank, evidence goes on."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from agent.adapters.room import RESERVE, Reserve, Room, opened_within
from agent.errors import Unavailable
from agent.limits import RESERVE_BYTES, SPOOL_BYTES_HELD_MIN, WAL_BYTES_MAX
from agent.records import Commit, Rank
from tests.agent.adapters.test_keeper import Bench
from tests.support.store_cases import MIB, opened, retained_record, spool_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.adapters.sqlite_store import SqliteStore

CONFIGURED = (64 * MIB, 64 * MIB)


class Disk:
    """A disk whose free bytes the test says."""

    def __init__(self, free: int) -> None:
        self.free = free

    def __call__(self, _folder: Path) -> int:
        return self.free


def filled(path: Path) -> SqliteStore:
    """Return a store of 1 MiB of each rank and 1 MiB of retained data."""
    store = opened(path / "store.db")
    size = MIB // 16
    records = [
        spool_record(16 * int(rank) + n, rank, size) for n in range(16) for rank in Rank
    ]
    retained = tuple(retained_record(n, 10**18, size) for n in range(16))
    store.commit(Commit(tuple(records), retained, (b"entry",)))
    return store


def ranks(store: SqliteStore) -> list[int]:
    return sorted({int(one.record.rank) for one in store.next_to_send(1000, 1000)})


def test_a_full_disk_takes_the_lowest_ranks_first_and_tells_it(tmp_path: Path) -> None:
    store, disk = filled(tmp_path), Disk(1 << 40)
    room = Room(store, CONFIGURED, Reserve(tmp_path), disk)
    assert room.look() == ()
    assert room.problem == ""
    spare, wal = store.spare_bytes()
    disk.free = max(WAL_BYTES_MAX - wal, 0) - spare - 2 * MIB  # 2 MiB too little
    lost = room.look()
    assert sum(one.bytes_used for one in lost) == 2 * MIB
    assert {one.cause for one in lost} == {"evicted"}
    assert ranks(store) == [Rank.PERSONAL, Rank.IMPORTANT, Rank.CONTROL]
    assert "so the spool may hold 3 MiB instead of 64 MiB" in room.problem
    assert store.statistics().bytes_max == 3 * MIB
    assert len(store.evidence_since(0, 10)) == 2  # the loss is in the log
    assert room.look() == ()  # the empty pages count: nothing more has to go
    disk.free = 1 << 40
    room.look()
    assert (room.problem, store.statistics().bytes_max) == ("", 64 * MIB)


def test_control_and_evidence_never_go_whatever_the_disk_says(tmp_path: Path) -> None:
    store = filled(tmp_path)
    room = Room(store, CONFIGURED, Reserve(tmp_path), Disk(-(1 << 40)))
    room.look()
    assert ranks(store) == [Rank.CONTROL]
    assert store.statistics().retained_records == 0
    assert store.statistics().bytes_max == SPOOL_BYTES_HELD_MIN
    store.commit(Commit(evidence=(b"more",)))
    assert store.evidence_since(0, 1) == [b"entry"]


def test_the_reserve_is_taken_and_given_back(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path)
    reserve.hold()
    assert reserve.held >= RESERVE_BYTES
    assert (tmp_path / RESERVE).stat().st_mode & 0o777 == 0o600
    assert reserve.give_up()
    assert not reserve.give_up()
    assert reserve.held == 0


def test_a_reserve_is_not_taken_where_the_disk_is_short(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path)
    room = Room(opened(tmp_path / "store.db"), CONFIGURED, reserve, Disk(RESERVE_BYTES))
    room.look()
    assert reserve.held == 0


def test_a_store_that_finds_the_disk_full_opens_with_the_reserve(
    tmp_path: Path,
) -> None:
    reserve = Reserve(tmp_path)
    reserve.hold()

    def open_it() -> SqliteStore:
        if reserve.held:
            raise Unavailable("store", "open: no space left on the device")
        return opened(tmp_path / "store.db")

    opened_within(open_it, reserve).close()
    reserve.hold()

    def busy() -> SqliteStore:
        raise Unavailable("store", "in use by another process")

    with pytest.raises(Unavailable):
        opened_within(busy, reserve)
    assert reserve.held  # another process's


def test_a_quota_is_a_full_disk_whatever_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, reserve = filled(tmp_path), Reserve(tmp_path)
    room = Room(store, CONFIGURED, reserve, Disk(1 << 40))
    room.look()
    assert reserve.held

    def refuse(*_: int) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", refuse)
        assert {one.cause for one in room.give_way()} == {"evicted"}
        assert ranks(store) == [Rank.CONTROL]
        assert not reserve.held
        room.look()
        assert "0 MiB free, so the spool may hold" in room.problem
    room.look()  # one look rests
    assert "0 MiB free, so the spool may hold" in room.problem
    room.look()
    assert reserve.held
    assert room.problem == ""


def test_a_quota_at_its_end_for_good_is_asked_ever_more_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was at every look, every five seconds: the reserve made, and removed."""
    store, reserve = filled(tmp_path), Reserve(tmp_path)
    room = Room(store, CONFIGURED, reserve, Disk(1 << 40))
    asked = []

    def refuse(*what: int) -> None:
        asked.append(what)
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    for _ in range(17_280):  # a day
        room.look()
        assert "0 MiB free, so the spool may hold" in room.problem
    assert 200 < len(asked) < 300


def test_to_ask_for_blocks_leaves_none_that_pass_for_the_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut while it asked left a MiB, which nothing made whole again."""
    reserve = Reserve(tmp_path)
    seen = []

    def cut(handle: int, start: int, size: int) -> None:
        seen.append((start, size, os.fstat(handle).st_nlink))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", cut)
        with pytest.raises(KeyboardInterrupt):
            reserve.is_refused()
    assert [one[2] for one in seen] == [0]  # it has no name any more
    assert not reserve.held
    assert not reserve.is_refused()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_quota_costs_nothing(tmp_path: Path) -> None:
    store, reserve = filled(tmp_path), Reserve(tmp_path)
    room = Room(store, CONFIGURED, reserve, Disk(1 << 40))
    room.look()
    assert room.give_way() == ()  # a disk that failed for once
    assert (len(ranks(store)), reserve.held) == (5, RESERVE_BYTES)


def test_a_store_that_finds_a_quota_at_its_end_opens_with_the_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = Reserve(tmp_path)
    reserve.hold()

    def open_it() -> SqliteStore:
        if reserve.held:
            raise Unavailable("store", "open: the disk failed to read or write")
        return opened(tmp_path / "store.db")

    with pytest.raises(Unavailable):
        opened_within(open_it, reserve)
    assert reserve.held == RESERVE_BYTES

    def refuse(*_: int) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    opened_within(open_it, reserve).close()


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no file system may be mounted here (root may)")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


async def a_stranger_comes(folder: Path) -> None:
    bench = Bench(folder, cap=24 * MIB, reserved=True)
    await bench.keeper.look_at_room()
    assert (folder / RESERVE).exists()
    for number in range(20):
        record = spool_record(number, Rank.GENERAL, MIB // 2)
        await bench.keeper.keep(Commit((record,), evidence=(bench.entry(),)))
    with (folder / "stranger").open("wb") as stranger:
        room = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
        os.posix_fallocate(stranger.fileno(), 0, room)
    size = bench.store.root()[0]
    for number in range(20, 120):
        record = spool_record(number, Rank.GENERAL, MIB // 2)
        await bench.keeper.keep(Commit((record,), evidence=(bench.entry(),)))
        await bench.keeper.testify(*(bench.entry("x" * 500) for _ in range(20)))
    assert bench.store.root()[0] >= size + 100 * 21
    assert bench.store.statistics().evicted_records > 50
    assert "MiB free, so the spool may hold" in " ".join(bench.keeper.problems)
    assert bench.clock.slept == 0  # it never had to wait for the disk
    (folder / "stranger").unlink()
    await bench.keeper.look_at_room()
    assert bench.keeper.problems == ()
    assert (folder / RESERVE).exists()
    bench.store.close()


@pytest.mark.slow
def test_evidence_goes_on_when_others_fill_the_disk(tmp_path: Path) -> None:
    """A real file system of 64 MiB: a stranger takes all of it, a full spool waits."""
    with small_disk(tmp_path / "disk", 64 * MIB):
        asyncio.run(a_stranger_comes(tmp_path / "disk"))
