"""The chain of roots: from the pinned one to the newest, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tuf.api.metadata import Root

from policies.errors import TrustError
from policies.trust.metadata import load, verify
from policies.trust.model import ROOTS_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROTATIONS_MAX: Final = 32  # of one offer; a bundle carries as many


def first_root(raw: bytes, fleet: str) -> Root:
    """Return the pinned root where it is whole: signed by its own threshold."""
    metadata = load(Root, "root", raw)
    verify("root", metadata.signed, metadata, fleet)
    return metadata.signed


def next_root(old: Root, raw: bytes, fleet: str) -> Root:
    """Return the root behind ``old``, expired or not (5.3.4 to 5.3.9); TrustError."""
    metadata = load(Root, "root", raw)
    new = metadata.signed
    if new.version != old.version + 1:
        reason = f"version {new.version} stands where {old.version + 1} is due"
        raise TrustError("root-chain", reason)
    try:
        verify("root", old, metadata, fleet)
    except TrustError as error:
        if error.rule != "threshold":
            raise
        reason = f"version {new.version}: too few keys of the root before signed it"
        raise TrustError("root-chain", reason) from None
    verify("root", new, metadata, fleet)
    return new


def follow(
    roots: tuple[bytes, ...], files: Mapping[str, bytes], fleet: str
) -> tuple[tuple[bytes, ...], Root]:
    """Return the chain with what ``files`` add to it, and its newest root."""
    chain = [*roots]
    root = load(Root, "root", roots[-1]).signed
    while (raw := files.get(f"{root.version + 1}.root.json")) is not None:
        root = next_root(root, raw, fleet)
        chain.append(raw)
        if len(chain) - len(roots) > ROTATIONS_MAX:
            reason = f"more than {ROTATIONS_MAX} rotations in one bundle"
            raise TrustError("root-chain", reason)
    if len(chain) > ROOTS_MAX:
        reason = f"more than {ROOTS_MAX} rotations: pin a newer root.json"
        raise TrustError("root-chain", reason)
    newest = max(map(_root_version, files), default=0)
    if newest > root.version:
        reason = f"ends at version {root.version}, the bundle goes on at another"
        raise TrustError("root-chain", reason)
    return tuple(chain), root


def check_chain(roots: Sequence[bytes], pinned: bytes, fleet: str) -> tuple[bytes, ...]:
    """Return the chain from the pinned root on, verified again; TrustError."""
    if pinned not in roots:
        raise TrustError(
            "root-chain", "what is stored does not begin at this root.json"
        )
    chain = tuple(roots[roots.index(pinned) :])
    root = first_root(pinned, fleet)
    for raw in chain[1:]:
        root = next_root(root, raw, fleet)
    return chain


def _root_version(name: str) -> int:
    number, _, rest = name.partition(".")
    return int(number) if rest == "root.json" and number.isdecimal() else 0
