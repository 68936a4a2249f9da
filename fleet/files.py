"""Files of the operator: read within a limit, written once."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from fleet.errors import BadInput

if TYPE_CHECKING:
    from pathlib import Path


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
