"""Room on the disk: measured, kept in reserve, and given way with.

The reserve is a file beside the database whose blocks are really taken. Where the disk
is full all the same, it is given up, and what data gives way with goes to evidence.
What a disk says is free may be nobody's to take: a quota is seen by asking for blocks.
"""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent.adapters.sqlite_connection import BROKEN, NO_SPACE
from agent.errors import Unavailable
from agent.limits import RESERVE_BYTES
from agent.store.room import Disk, Used, caps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.adapters.sqlite_store import SqliteStore
    from agent.records import Eviction

RESERVE: Final = "reserve"  # the file's name
PROBE: Final = "reserve.probe"  # has a name for a moment only
MIB: Final = 1 << 20
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
RESTS_MAX: Final = 63  # looks: some five minutes


def free_bytes(folder: Path) -> int:
    """Return what this user may still take of the folder's disk; 0 where unknown."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


class Reserve:
    """Blocks that are ours before we need them."""

    def __init__(self, folder: Path) -> None:
        """Take nothing yet."""
        self._file = folder / RESERVE

    @property
    def held(self) -> int:
        """Return how many bytes are taken."""
        try:
            return self._file.stat().st_blocks * 512
        except OSError:
            return 0

    def hold(self) -> bool:
        """Take all of it, or nothing; False where the disk has no room for it."""
        refused = _asked(self._file, RESERVE_BYTES)
        if refused:
            self.give_up()
        return refused not in FULL

    def is_refused(self) -> bool:
        """Tell whether the disk has not a MiB more for us; it is given back at once.

        Also by a power cut: blocks of the reserve's own file would stay, and look like
        all of it.
        """
        return _asked(self._file.with_name(PROBE), MIB, named=False) in FULL

    def give_up(self) -> bool:
        """Give it back to the disk; tell whether there was any."""
        there = self.held > 0
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)
        return there


def _asked(file: Path, size: int, *, named: bool = True) -> int:
    """Take blocks of a file; return the error's number, 0 for none."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        handle = os.open(file, flags, 0o600)
    except OSError as error:
        return error.errno or errno.EIO
    try:
        if not named:
            file.unlink()
        os.posix_fallocate(handle, 0, size)
    except OSError as error:
        return error.errno or errno.EIO
    finally:
        os.close(handle)
    return 0


def opened_within(open_it: Callable[[], SqliteStore], reserve: Reserve) -> SqliteStore:
    """Return the open store; where the disk is full, with what the reserve gives."""
    try:
        return open_it()
    except Unavailable as error:
        # SQLite calls a disk broken where a quota is at its end
        full = NO_SPACE in str(error) or (BROKEN in str(error) and reserve.is_refused())
        if not full or not reserve.give_up():
            raise
    return open_it()


class Room:
    """Holds spool and retained data within what the disk has. In the store's thread."""

    def __init__(
        self,
        store: SqliteStore,
        configured: tuple[int, int],
        reserve: Reserve,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        """``configured``: caps of spool and retained data in bytes."""
        self.problem = ""
        self._store = store
        self._configured = configured
        self._reserve = reserve
        self._free = free
        self._rests = self._rests_left = 0  # looks that do not ask for the reserve

    def look(self) -> tuple[Eviction, ...]:
        """Measure, and set the caps; return what had to go. Raises as ``commit``."""
        disk = self._measured()
        if not disk.reserve and disk.free > 2 * RESERVE_BYTES:
            taken = self._is_taken()
            disk = self._measured()
            if not taken:
                disk = replace(disk, free=0)
        return self._limited(disk)

    def _is_taken(self) -> bool:
        """Take the reserve; asked ever more seldom where it is refused: asking wears.

        A quota that is too small for what is configured is at its end for good.
        """
        if self._rests_left:
            self._rests_left -= 1
            return False
        taken = self._reserve.hold()
        self._rests = 0 if taken else min(2 * self._rests + 1, RESTS_MAX)
        self._rests_left = self._rests
        return taken

    def _limited(self, disk: Disk) -> tuple[Eviction, ...]:
        used = Used(*self._store.used_bytes)
        spool, retained = caps(self._configured, used, disk)
        self._tell(spool, disk)
        return self._store.limit(spool, retained)

    def give_way(self) -> tuple[Eviction, ...]:
        """The disk is full: the reserve is given up, and data gives way."""
        is_quota = self._is_roomy() and self._reserve.is_refused()
        self._reserve.give_up()
        if is_quota:
            return self._limited(replace(self._measured(), free=0))
        return self.look()

    def _is_roomy(self) -> bool:
        return self._free(self._store.folder) > 2 * RESERVE_BYTES

    def _measured(self) -> Disk:
        spare, wal = self._store.spare_bytes()
        folder = self._store.folder
        return Disk(self._free(folder), spare, wal, self._reserve.held)

    def _tell(self, spool: int, disk: Disk) -> None:
        short = spool < self._configured[0]
        self.problem = (
            f"disk: {disk.free // MIB} MiB free, so the spool may hold"
            f" {spool // MIB} MiB instead of {self._configured[0] // MIB} MiB"
            if short
            else ""
        )
