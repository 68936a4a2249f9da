"""RFC 6962 section 2.1: the nodes that appending leaves completes, and the root. Pure.

Node ``(level, position)`` is the hash of the perfect subtree over the leaves
``[position << level, (position + 1) << level)``; level 0 are the leaf hashes. Only
perfect subtrees are stored: they never change once they exist.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Place: TypeAlias = tuple[int, int]
Node: TypeAlias = tuple[int, int, bytes]


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256(0x00 || entry), RFC 6962 section 2.1."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right), RFC 6962 section 2.1."""
    return sha256(b"\x01" + left + right).digest()


def frontier(size: int) -> list[Place]:
    """Return the perfect subtrees that make up a tree of ``size``, left to right."""
    return [
        (level, (size >> level) - 1)
        for level in range(size.bit_length() - 1, -1, -1)
        if size >> level & 1
    ]


def pruned_nodes(size: int) -> list[Place]:
    """Return (level, position) below which nodes go when ``size`` leaves are pruned.

    What stays is the frontier of that size and all that reaches beyond it: enough for
    every root, consistency proof and inclusion proof from there on.
    """
    return [
        (level, (size >> level) - (size >> level & 1))
        for level in range(size.bit_length())
    ]


class Growth:
    """A tree that grows: the frontier in memory, new nodes handed out."""

    def __init__(self, size: int, known: Mapping[Place, bytes]) -> None:
        """Start at ``size`` leaves; ``known`` holds its frontier (KeyError if not)."""
        self.size = size
        self._frontier: list[tuple[int, bytes]] = [
            (level, known[level, position]) for level, position in frontier(size)
        ]

    def append(self, leaves: Sequence[bytes]) -> list[Node]:
        """Take leaf hashes; return every node that they complete, leaves included."""
        new: list[Node] = []
        for leaf in leaves:
            level, digest = 0, leaf
            new.append((0, self.size, leaf))
            while self._frontier and self._frontier[-1][0] == level:
                digest = node_hash(self._frontier.pop()[1], digest)
                level += 1
                new.append((level, self.size >> level, digest))
            self._frontier.append((level, digest))
            self.size += 1
        return new

    def root(self) -> bytes:
        """Return the tree head; SHA-256 of nothing for the empty tree."""
        if not self._frontier:
            return EMPTY_ROOT
        digest = self._frontier[-1][1]
        for _, left in reversed(self._frontier[:-1]):
            digest = node_hash(left, digest)
        return digest

    def nodes(self) -> list[Node]:
        """Return the frontier: the perfect subtrees that make up the tree."""
        return [
            (level, (self.size >> level) - 1, digest)
            for level, digest in self._frontier
        ]

    def copy(self) -> Growth:
        """Return an independent copy: a transaction that fails throws it away."""
        twin = Growth(0, {})
        twin.size = self.size
        twin._frontier = list(self._frontier)  # private, and of the same class
        return twin


EMPTY_ROOT: Final = sha256().digest()  # RFC 6962 section 2.1: MTH({}) = SHA-256()
