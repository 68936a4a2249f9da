"""The files around the database: the writer's lock, setting aside, moving in place."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

from agent.adapters.sqlite_connection import STORE, sync_folder
from agent.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

COMPANIONS: Final = ("-wal", "-shm")
SET_ASIDE_MAX: Final = 1000


class FileLock:
    """One writer: the kernel lets go of the lock when the process is gone."""

    def __init__(self, path: Path) -> None:
        """Take the lock beside ``path``; Unavailable where another process has it."""
        try:
            self._handle = os.open(
                companion(path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            reason = f"{path.parent.name}: {error.strerror}"
            raise Unavailable(STORE, reason) from None
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._handle)
            reason = f"{path.name} is in use by another process"
            raise Unavailable(STORE, reason) from None

    def release(self) -> None:
        """Let go; a second call does nothing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def companion(path: Path, suffix: str) -> Path:
    """Return ``path`` with ``suffix`` behind its name."""
    return path.with_name(path.name + suffix)


def aside_numbers(path: Path) -> list[int]:
    """Return the numbers of the databases that were set aside, oldest first."""
    before = f"{path.name}.damaged-"
    numbers = (one.name.removeprefix(before) for one in path.parent.glob(f"{before}*"))
    return sorted(int(n) for n in numbers if n.isascii() and n.isdigit())


def free_name(path: Path) -> Path:
    """Return a name to set ``path`` aside under; Unavailable after 1,000 of them."""
    numbers = aside_numbers(path)
    if len(numbers) + 1 >= SET_ASIDE_MAX:
        raise Unavailable(STORE, f"{SET_ASIDE_MAX} damaged databases are set aside")
    return companion(path, f".damaged-{max(numbers, default=0) + 1}")


def swap_in(new: Path, path: Path, aside: Path) -> None:
    """Set the damaged ``path`` aside and move ``new`` into its place, durably.

    In this order, so that a crash between two steps can be finished by `finish_swap`
    and the damaged database's log is never taken for the new one's.
    """
    try:
        if path.exists():
            path.rename(aside)
        for suffix in COMPANIONS:
            if companion(path, suffix).exists():
                companion(path, suffix).rename(companion(aside, suffix))
        sync_folder(path.parent)
        new.rename(path)
    except OSError as error:
        raise Unavailable(STORE, f"set aside: {error.strerror}") from None
    sync_folder(path.parent)


def finish_swap(path: Path) -> bool:
    """Finish a `swap_in` that a crash cut short; tell whether there was one."""
    new = companion(path, ".new")
    if path.exists() or not new.exists():
        return False
    number = max(aside_numbers(path), default=1)
    swap_in(new, path, companion(path, f".damaged-{number}"))
    return True


def remove(path: Path) -> None:
    """Remove a half-made database and its companions."""
    try:
        for suffix in ("", *COMPANIONS):
            companion(path, suffix).unlink(missing_ok=True)
    except OSError as error:
        raise Unavailable(STORE, f"{path.name}: {error.strerror}") from None
