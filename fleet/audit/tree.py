"""The root of a growing RFC 6962 tree, level by level: for long logs, no nodes kept."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from protocols.tlog.tree import EMPTY_ROOT, node_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Head:
    """A tree that only knows its right edge."""

    def __init__(self, size: int = 0, edge: Mapping[int, bytes] | None = None) -> None:
        """Begin with no leaf, or behind ``size`` of them.

        ``edge``: level -> root of the whole subtree of that level, where there is one.
        """
        self.size = size
        self._edge = dict(edge or {})

    def append(self, entries: Iterable[bytes]) -> None:
        """Take entries (not their hashes)."""
        hashes = [sha256(b"\x00" + entry).digest() for entry in entries]
        self.size += len(hashes)
        level = 0
        while hashes:
            left = self._edge.pop(level, None)
            if left is not None:
                hashes.insert(0, left)
            if len(hashes) % 2:
                self._edge[level] = hashes.pop()
            pairs = zip(hashes[::2], hashes[1::2], strict=True)
            hashes = [sha256(b"\x01" + a + b).digest() for a, b in pairs]
            level += 1

    def root(self) -> bytes:
        """Return the tree head; SHA-256 of nothing for the empty tree."""
        digest = b""
        for level in sorted(self._edge):
            here = self._edge[level]
            digest = node_hash(here, digest) if digest else here
        return digest or EMPTY_ROOT
