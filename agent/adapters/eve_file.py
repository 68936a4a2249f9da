"""The EVE log on disk: appended to, bounded, one old file kept.

What cannot be written is counted and never holds up the data path: the log is a copy
for other people's tools, evidence is kept elsewhere.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from agent.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.inspection.eve import EveLines

OLD: Final = ".1"
MODE: Final = 0o640  # a log shipper in the group may read it


class EveLog:
    """Lines that wait, and the file that they go to."""

    def __init__(self, file: EveFile, lines: EveLines) -> None:
        """Take both ends."""
        self.lines = lines
        self._file = file

    def write(self) -> None:
        """Write what waits."""
        self._file.write(self.lines.take())

    @property
    def trouble(self) -> str:
        """Return what went wrong so far, in words; "" nothing did."""
        lost, left = self._file.lost, self.lines.left_out
        told = [
            *([f"{lost} lines could not be written"] if lost else []),
            *([f"{left} records beyond its bounds"] if left else []),
        ]
        return f"EVE log: {', '.join(told)}" if told else ""


class EveFile:
    """Writes lines to one file; at ``bytes_max`` it becomes the old one."""

    def __init__(self, path: Path, bytes_max: int) -> None:
        """Open the file; BadInput where that cannot be."""
        self.lost = 0  # lines that could not be written
        self._path = path
        self._max = bytes_max
        try:
            self._handle = self._opened()
        except OSError as error:
            reason = error.strerror or "cannot be opened"
            hint = "set eve.file to a place that the agent may write to"
            raise BadInput(str(path), "", reason, hint) from None
        self._size = os.fstat(self._handle).st_size

    def write(self, lines: Sequence[bytes]) -> None:
        """Append whole lines; what does not fit the disk is counted."""
        if not lines:
            return
        block = b"".join(lines)
        try:
            self._look()
            if self._size and self._size + len(block) > self._max:
                self._turn()
            written = os.write(self._handle, block)
            if written == len(block):
                self._size += written
                return
            os.ftruncate(self._handle, self._size)  # a full disk: no half line stays
        except OSError:
            pass
        self.lost += len(lines)

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)

    def _turn(self) -> None:
        """Make the file the old one, and begin anew."""
        self._path.replace(self._path.with_name(self._path.name + OLD))
        self._open_anew()

    def _look(self) -> None:
        """Go on in the file of our name: who rotates logs moves, removes or empties it.

        What is written to one that was removed is gone, and nothing counts it.
        """
        ours = os.fstat(self._handle)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.lstat(self._path), ours):
                self._size = ours.st_size
                return
        self._open_anew()

    def _open_anew(self) -> None:
        old, self._handle = self._handle, self._opened()
        os.close(old)
        self._size = os.fstat(self._handle).st_size

    def _opened(self) -> int:
        # O_NONBLOCK: a pipe in its place must not hold us up
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(self._path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, MODE)
