"""The damaged databases beside the store: what is there, and deleting the oldest."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from agent.adapters.room import free_bytes
from agent.adapters.sqlite_files import COMPANIONS, aside_numbers, companion
from agent.limits import RESERVE_BYTES
from agent.records import Eviction
from agent.store.aside import Aside, to_go

if TYPE_CHECKING:
    from pathlib import Path

    from agent.adapters.sqlite_store import SqliteStore

WHOLE: Final = ".whole"  # marks one of which everything was saved
KIND: Final = "damaged store"
CAUSE: Final = "set aside"


def mark_whole(aside: Path) -> None:
    """Remember that everything in ``aside`` was saved; best effort."""
    with contextlib.suppress(OSError):
        companion(aside, WHOLE).touch(mode=0o600)


def tidy(path: Path, store: SqliteStore) -> None:
    """Delete what may go of the databases set aside beside ``path``.

    Evidence says so before the first of them is gone. Raises as ``Store.commit``.
    """
    short = 2 * RESERVE_BYTES - free_bytes(path.parent)
    gone = to_go([_aside(path, number) for number in aside_numbers(path)], short)
    if not gone:
        return
    size = sum(one.size for one in gone)
    store.tell(CAUSE, (Eviction(KIND, 0, len(gone), size, 0, (), CAUSE),))
    for one in gone:
        for file in _files(path, one.number):
            with contextlib.suppress(OSError):  # tried, and told, again at next start
                file.unlink(missing_ok=True)


def _aside(path: Path, number: int) -> Aside:
    files = _files(path, number)
    size = sum(file.stat().st_size for file in files if file.exists())
    return Aside(number, size, files[-1].exists())


def _files(path: Path, number: int) -> list[Path]:
    """Return the files of one: the database last but for its mark."""
    aside = companion(path, f".damaged-{number}")
    return [*(companion(aside, s) for s in COMPANIONS), aside, companion(aside, WHOLE)]
