"""Files of the operator: read within a limit, written once or replaced whole."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Final

from fleet.errors import BadInput

if TYPE_CHECKING:
    from pathlib import Path

MODE: Final = 0o600  # of what only its owner may read


def read_limited(path: Path, bytes_max: int) -> bytes:
    """Return a file's bytes; BadInput where it cannot be read or is larger."""
    try:
        # O_NONBLOCK: a pipe that nobody writes to must not hold us up for ever
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise BadInput(str(path), "", "is no regular file")
            data = file.read(bytes_max + 1)
    except OSError as error:
        raise BadInput(str(path), "", f"cannot be read: {error.strerror}") from None
    except ValueError:  # a name with a zero byte
        raise BadInput(str(path), "", "is no name of a file") from None
    if len(data) > bytes_max:
        raise BadInput(str(path), "", f"larger than {bytes_max} bytes")
    return data


def write_new(path: Path, data: bytes) -> None:
    """Write a file that is not there yet, durably; BadInput where it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise BadInput(str(path), "", "exists already") from None
    except OSError as error:
        raise BadInput(str(path), "", f"cannot be written: {error.strerror}") from None


def read_private(path: Path, bytes_max: int) -> bytes:
    """Return the bytes of a file that only its owner may read; BadInput otherwise."""
    try:
        # O_NONBLOCK: a pipe that nobody writes to must not hold us up for ever
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())  # of what was opened, not of the name
            if not stat.S_ISREG(status.st_mode):
                raise BadInput(str(path), "", "is no regular file")
            if status.st_mode & 0o077:
                raise BadInput(
                    str(path),
                    "",
                    f"group or others may use it (mode {status.st_mode & 0o777:03o})",
                    f"chmod {MODE:o}",
                )
            data = file.read(bytes_max + 1)
    except OSError as error:
        raise BadInput(str(path), "", f"cannot be read: {error.strerror}") from None
    except ValueError:  # a name with a zero byte
        raise BadInput(str(path), "", "is no name of a file") from None
    if len(data) > bytes_max:
        raise BadInput(str(path), "", f"larger than {bytes_max} bytes")
    return data


def write_private(path: Path, data: bytes) -> None:
    """Write a key file, mode 0600, durably; BadInput where it exists or cannot be."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        # Made with its mode: there is no moment at which others could read it.
        with os.fdopen(os.open(path, flags, MODE), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise BadInput(
            str(path), "", "exists already", "keys are never overwritten"
        ) from None
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise BadInput(str(path), "", f"cannot be written: {error.strerror}") from None


def replace(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of a file: the old or the new one, at any instant."""
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise BadInput(str(path), "", f"cannot be written: {error.strerror}") from None


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
