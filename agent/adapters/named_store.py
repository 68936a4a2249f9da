"""Opens the store of this device, and of no other: an evidence log names one device.

A package starts the daemon before anybody has named the device. What it wrote until
then nobody has seen: it is set aside, and the named device begins its own log. Once
something has left, or waits to, another name is refused: the log would be of two
devices, and no auditor could accept it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from agent.adapters.files import sync_folder
from agent.adapters.sqlite_files import COMPANIONS, companion
from agent.adapters.sqlite_open import open_store
from agent.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from agent.adapters.sqlite_open import StoreOptions
    from agent.adapters.sqlite_store import SqliteStore

DOCUMENT: Final = "device"
ASIDE_MAX: Final = 1000
_PLAIN: Final = re.compile(r"[^A-Za-z0-9_.-]")


def open_named(path: Path, options: StoreOptions, device: str) -> SqliteStore:
    """Open the store at ``path`` for ``device``, as `open_store` does.

    Raises:
        BadInput: it holds what another device has sent, or has waiting.
        Unavailable: as `open_store`; or it could not be set aside.
    """
    store = open_store(path, options)
    before = store.document(DOCUMENT)
    if before == device.encode():
        return store
    if before is not None:
        held = store.statistics()
        store.close()
        old = _PLAIN.sub("-", before.decode("utf-8", "replace"))
        if held.records or held.retained_records or held.evidence_sent:
            raise BadInput(
                "configuration", "device",
                f"the evidence in {path.parent} is of {old!r}",
                "keep that name, or move that folder away: a new log begins",
            )  # fmt: skip
        _set_aside(path, old)
        store = open_store(path, options)
    store.keep_document(DOCUMENT, device.encode())
    return store


def _set_aside(path: Path, old: str) -> None:
    """Rename the database of ``old``; a crash between two steps leaves it whole.

    Its log goes first: without it the database is what the last checkpoint made of it,
    which is all that nobody has seen yet anyway.
    """
    number = next(
        (n for n in range(1, ASIDE_MAX) if not companion(path, _of(old, n)).exists()), 0
    )
    if not number:
        raise Unavailable("store", f"{ASIDE_MAX} databases of {old!r} are set aside")
    aside = companion(path, _of(old, number))
    try:
        for suffix in COMPANIONS:
            if companion(path, suffix).exists():
                companion(path, suffix).rename(companion(aside, suffix))
        path.rename(aside)
    except OSError as error:
        raise Unavailable("store", f"set aside: {error.strerror}") from None
    sync_folder(path.parent)


def _of(old: str, number: int) -> str:
    return f".of-{old}-{number}"
