"""Inclusion and consistency proofs: made from stored nodes, verified by anyone.

Verification follows RFC 9162 sections 2.1.3.2 and 2.1.4.2 (the same algorithms as for
RFC 6962 trees); subtrees follow draft-ietf-plants-merkle-tree-certs, of which these are
the case start = 0. A proof that does not hold raises ``ProofError``.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from protocols.tlog.tree import EMPTY_ROOT, Growth, frontier, node_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from protocols.tlog.tree import Place


HASH_BYTES: Final = 32


class ProofError(ValueError):
    """A proof that does not show what it claims."""


def verify_inclusion(
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes
) -> None:
    """Return where ``leaf`` (a leaf hash) is number ``index`` of the tree."""
    if not 0 <= index < size:
        raise ProofError("the index is outside the tree")
    if len(leaf) != HASH_BYTES:
        raise ProofError(f"a leaf hash has not {HASH_BYTES} bytes")
    place, last, digest = index, size - 1, leaf
    for node in proof:
        if last == 0:
            raise ProofError("the proof is too long")
        if place & 1 or place == last:
            digest = node_hash(node, digest)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            digest = node_hash(digest, node)
        place >>= 1
        last >>= 1
    if last:
        raise ProofError("the proof is too short")
    _same(digest, root)


def verify_consistency(
    size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]
) -> None:
    """Return where the tree of ``size1`` leaves is a prefix of that of ``size2``."""
    if not 0 < size1 <= size2:
        raise ProofError("sizes are not 0 < first <= second")
    if size1 == size2:
        if proof:
            raise ProofError("equal sizes need no proof")
        _same(root1, root2)
        return
    _climb((0, size1 - 1, size2 - 1), root1, root2, proof)


def verify_subtree_inclusion(
    index: int,
    subtree: tuple[int, int],
    leaf: bytes,
    proof: Sequence[bytes],
    root: bytes,
) -> None:
    """Return where ``leaf`` is number ``index`` of the log, within ``subtree``.

    ``subtree`` is [start, end) as draft-ietf-plants-merkle-tree-certs has it; ``root``
    is its hash.
    """
    start, end = subtree
    _check_subtree(start, end)
    verify_inclusion(index - start, end - start, leaf, proof, root)


def verify_subtree_consistency(
    subtree: tuple[int, int],
    size: int,
    subtree_root: bytes,
    root: bytes,
    proof: Sequence[bytes],
) -> None:
    """Return where the tree of ``size`` leaves holds ``subtree`` [start, end) as it is.

    draft-ietf-plants-merkle-tree-certs; RFC 9162's consistency is the case start = 0.
    """
    start, end = subtree
    if end > size:
        raise ProofError("the subtree ends outside the tree")
    if 0 <= start == end and not proof:  # nothing is part of every tree
        _same(EMPTY_ROOT, subtree_root)
        return
    _check_subtree(start, end)
    _climb((start, end - 1, size - 1), subtree_root, root, proof)


def _check_subtree(start: int, end: int) -> None:
    if not 0 <= start < end:
        raise ProofError("a subtree is not 0 <= start < end")
    if start & ((1 << (end - start - 1).bit_length()) - 1):
        raise ProofError("no subtree begins there")


def _climb(
    places: tuple[int, int, int],
    subtree_root: bytes,
    root: bytes,
    proof: Sequence[bytes],
) -> None:
    """Rebuild both roots from the proof, from the subtree's right edge upwards.

    ``places``: first and last leaf of the subtree, last leaf of the tree.
    """
    first, last, end = places
    # Up to the largest perfect subtree at the right edge: its hash begins both sides.
    while first != last and (last == end or last & 1):
        first, last, end = first >> 1, last >> 1, end >> 1
    path = list(proof)
    if first == last:
        path.insert(0, subtree_root)
    if not path:
        raise ProofError("the proof is empty")
    inner = outer = path[0]
    for node in path[1:]:
        if end == 0:
            raise ProofError("the proof is too long")
        if last & 1 or last == end:
            if first < last:
                inner = node_hash(node, inner)
            outer = node_hash(node, outer)
            while not last & 1 and last:
                first, last, end = first >> 1, last >> 1, end >> 1
        else:
            outer = node_hash(outer, node)
        first, last, end = first >> 1, last >> 1, end >> 1
    if end:
        raise ProofError("the proof is too short")
    _same(inner, subtree_root)
    _same(outer, root)


def _same(found: bytes, wanted: bytes) -> None:
    if not hmac.compare_digest(found, wanted):
        raise ProofError("another root")


def inclusion_proof(
    index: int, size: int, node: Callable[[int, int], bytes]
) -> list[bytes]:
    """Return the proof of leaf ``index`` in the tree of ``size`` (RFC 6962, 2.1.1).

    ``node(level, position)`` gives the hash of a stored perfect subtree.
    """
    if not 0 <= index < size:
        raise ProofError("the index is outside the tree")
    return _path(index, 0, size, node)


def consistency_proof(
    size1: int, size2: int, node: Callable[[int, int], bytes]
) -> list[bytes]:
    """Return the proof that ``size1`` is a prefix of ``size2`` (RFC 6962, 2.1.2)."""
    if not 0 < size1 <= size2:
        raise ProofError("sizes are not 0 < first <= second")
    return _subproof(size1, 0, size2, node, whole=True)


def _split(count: int) -> int:
    """Return the largest power of two below ``count`` (at least 2)."""
    return 1 << (count - 1).bit_length() - 1


def _path(
    index: int, start: int, count: int, node: Callable[[int, int], bytes]
) -> list[bytes]:
    if count == 1:
        return []
    left = _split(count)
    if index < left:
        rest = _path(index, start, left, node)
        return [*rest, _hash(start + left, count - left, node)]
    rest = _path(index - left, start + left, count - left, node)
    return [*rest, _hash(start, left, node)]


def _subproof(
    first: int,
    start: int,
    count: int,
    node: Callable[[int, int], bytes],
    *,
    whole: bool,
) -> list[bytes]:
    if first == count:
        return [] if whole else [_hash(start, count, node)]
    left = _split(count)
    if first <= left:
        rest = _subproof(first, start, left, node, whole=whole)
        return [*rest, _hash(start + left, count - left, node)]
    rest = _subproof(first - left, start + left, count - left, node, whole=False)
    return [*rest, _hash(start, left, node)]


def _hash(start: int, count: int, node: Callable[[int, int], bytes]) -> bytes:
    """Return the hash over leaves [start, start + count), from perfect subtrees.

    ``start`` is a multiple of the largest power of two in ``count``: so are all ranges
    of the recursion above.
    """
    known: Mapping[Place, bytes] = {
        (level, position): node(level, (start >> level) + position)
        for level, position in frontier(count)
    }
    return Growth(count, known).root()
