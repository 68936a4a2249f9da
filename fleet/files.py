"""Files of the operator: read within a limit, written once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fleet.errors import BadInput

if TYPE_CHECKING:
    from pathlib import Path


def read_limited(path: Path, bytes_max: int) -> bytes:
    """Return a file's bytes; BadInput where it cannot be read or is larger."""
    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except OSError as error:
        raise BadInput(str(path), "", f"cannot be read: {error.strerror}") from None
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
