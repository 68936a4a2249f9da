"""What somebody still holds of the same bytes is returned, and not made again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Held(Generic[T]):
    """Records made of files, by name and bytes, as long as anybody holds them.

    Most of what a change of policy takes is parsing what the deciding one holds.
    """

    def __init__(self) -> None:
        """Hold nothing; this never keeps a record alive."""
        self._known: WeakValueDictionary[tuple[str, bytes], T] = WeakValueDictionary()

    def of(self, file: str, raw: bytes, make: Callable[[], T]) -> T:
        """Return the record of these bytes; ``make`` it where nobody holds one."""
        key = (file, hashlib.sha256(raw).digest())
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = make()
        return found
