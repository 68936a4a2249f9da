"""`sluicectl policy fmt`: files in one layout, changed in place and all at once."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.errors import BadInput
from fleet.files import read_limited
from fleet.listing import write
from fleet.policy.source import bad_input
from policies.fmt import formatted
from policies.parse import CATALOGUE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence


def lay_out(files: Sequence[Path], *, check: bool) -> int:
    """Lay out every file, or say which are not; 1 where ``check`` found one.

    All are read first: a file that cannot be laid out leaves every one as it was.
    """
    laid: dict[Path, bytes] = {}
    with bad_input():
        for path in dict.fromkeys(files):
            text = read_limited(path, CATALOGUE_BYTES_MAX)
            neat = formatted(text, str(path), CATALOGUE_BYTES_MAX)
            if neat != text:
                laid[path] = neat
    for path, neat in laid.items():
        if not check:
            _replace(path, neat)
        write(f"{path}: {'is not laid out' if check else 'laid out'}")
    return 1 if check and laid else 0


def _replace(path: Path, text: bytes) -> None:
    """Replace a file whole: whoever reads it gets the old text or the new one."""
    fresh: Path | None = None
    try:
        target = path.resolve()  # a link stays a link
        mode = stat.S_IMODE(target.stat().st_mode)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        fresh = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(mode)
        fresh.replace(target)
    except OSError as error:
        if fresh is not None:
            fresh.unlink(missing_ok=True)
        raise BadInput(str(path), "", f"cannot be written: {error.strerror}") from None
