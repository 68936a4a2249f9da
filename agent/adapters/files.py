"""The owner's files: limits before parsing, one clear line on failure."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from typing import TYPE_CHECKING, Final

from agent.adapters.credentials import is_credential
from agent.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE_S: Final = 5.0  # more than another's first start needs the folder for
PAUSE_S: Final = 0.02


def read_limited(path: Path, bytes_max: int, hint: str = "") -> bytes:
    """Return the whole file; BadInput where it is absent, no file, or too large."""
    data, _ = _read(path, bytes_max, hint)
    return data


def read_secret(path: Path, bytes_max: int) -> bytes:
    """Return a secret file's bytes; refused where group or others may read it.

    A credential of systemd's is taken as systemd lays it out.
    """
    data, facts = _read(path, bytes_max, "")
    mode = facts.st_mode
    if mode & 0o077 and not is_credential(path, mode, facts.st_uid):
        raise BadInput(
            str(path), "", "others may read this secret", f"chmod 600 {path.name}"
        )
    return data


def _read(path: Path, bytes_max: int, hint: str) -> tuple[bytes, os.stat_result]:
    """Return what is in a regular file, and facts of the very file that was read."""
    try:
        # O_NONBLOCK: a pipe put in its place must not hold up a start or a reload
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            facts = os.fstat(handle)
            if not stat.S_ISREG(facts.st_mode):
                raise BadInput(str(path), "", "is no regular file", hint)
            data = file.read(bytes_max + 1)
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise BadInput(str(path), "", reason, hint) from None
    except ValueError:  # a name with a zero byte
        raise BadInput(str(path), "", "is no name of a file", hint) from None
    if len(data) > bytes_max:
        raise BadInput(str(path), "", f"larger than {bytes_max} bytes", hint)
    return data, facts


def check_regular(path: Path) -> None:
    """Refuse a pipe before a library opens it, and waits for ever; BadInput.

    Where there is nothing, or nothing to be read, the library says so.
    """
    with contextlib.suppress(OSError):
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadInput(str(path), "", "is no regular file")


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut (fsync of the directory)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace ``path`` atomically: write beside it, fsync, rename, fsync the folder.

    What is written is made anew with its mode, so that nobody had it open before.
    """
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)  # of a start that was cut short
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(beside, flags, mode)
    try:
        with os.fdopen(handle, "wb", closefd=False) as file:
            file.write(data)
        os.fsync(handle)
    finally:
        os.close(handle)
    beside.replace(path)
    sync_folder(path.parent)


def make_once(path: Path, make: Callable[[], bytes]) -> None:
    """Write what ``make`` returns into a file that is not there, durably.

    Of two processes that come at once, one makes it and the other finds it: a second
    secret in its place would be another one than the first process has in memory.
    OSError where that cannot be; whoever may read the folder can hold its lock, and
    must not hold up a start.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        lock_within(folder, PATIENCE_S)
        if not os.path.lexists(path):
            write_durably(path, make())
    finally:
        os.close(folder)


def lock_within(handle: int, patience_s: float) -> None:
    """Have a file or folder for ourselves (flock); TimeoutError where another has it.

    Never on the event loop: it waits.
    """
    end_s = time.monotonic() + patience_s
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end_s:
                said = "another process locks its folder"
                raise TimeoutError(errno.ETIMEDOUT, said) from None
            time.sleep(PAUSE_S)
