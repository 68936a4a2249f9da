"""Labels lifted over columns of items, and whether a rule may still let them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from policies.errors import shown
from protocols.labels import Geo, Pi, Tier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from policies.catalogue import CatalogueSet
    from policies.model import Catalogue, Match, Policy
    from policies.model_raising import Combination, Volume
    from policies.parse import Document
    from policies.yaml_tree import Path
    from protocols.frames import U16, Bool
    from protocols.labels import Label

T = TypeVar("T", "Combination", "Volume")

# Packed labels (protocols.labels): shift and mask of each axis.
_AXES = ((8, 0x7), (6, 0x3), (4, 0x3), (2, 0x3), (0, 0x3))


@dataclass(frozen=True, slots=True)
class Raised:
    """Items of one rule that something lifts to the label of another category."""

    name: str  # of the combination or volume
    becomes: str
    rows: tuple[int, ...]


def declared(
    policy: Document[Policy],
    catalogues: CatalogueSet,
    section: str,
    of: Callable[[Catalogue | Policy], Sequence[T]],
) -> Iterator[tuple[Document[Policy] | Document[Catalogue], Path, T]]:
    """Yield what a section of the catalogues says, then of the policy; and where.

    PolicyError where a name is there twice: a policy adds to what its catalogues say
    and changes none of it. What all catalogues of a tree repeat alike is one.
    """
    found: dict[str, T] = {}
    documents: list[Document[Catalogue] | Document[Policy]] = [*catalogues.documents]
    for document in [*documents, policy]:
        for number, one in enumerate(of(document.model)):
            path: Path = (section, number)
            if found.get(one.name) == one and document is not policy:
                continue
            if one.name in found:
                reason = f"there is {shown(one.name)} already in {section}"
                hint = "a policy adds to a catalogue's and changes none"
                raise document.error((*path, "name"), reason, hint)
            found[one.name] = one
            yield document, path, one


def joined(labels: U16, label: Label) -> U16:
    """Return the component-wise maximum of packed labels [N] and one label."""
    code = label.pack()
    out = np.zeros_like(labels)
    for shift, mask in _AXES:
        axis = np.maximum(labels >> shift & mask, code >> shift & mask)
        out |= (axis << shift).astype(labels.dtype)
    return out


def accepts(match: Match, labels: U16) -> Bool:
    """Tell which packed labels [N] the bounds of a rule's match let pass."""
    passes = np.ones(len(labels), np.bool_)
    if match.min_tier is not None:
        passes &= labels >> 8 >= int(Tier[match.min_tier.upper()])
    if match.max_tier is not None:
        passes &= labels >> 8 <= int(Tier[match.max_tier.upper()])
    for axis, shift, given in ((Pi, 6, match.pi), (Geo, 2, match.geo)):
        if given is not None:
            names = [given] if isinstance(given, str) else given
            wanted = [int(axis[name.upper()]) for name in names]
            passes &= np.isin(labels >> shift & 3, wanted)
    return passes


def fits(match: Match, label: Label) -> bool:
    """Tell whether one label passes the bounds of a match."""
    return bool(accepts(match, np.array([label.pack()], np.uint16))[0])


def check_category(
    document: Document[Policy] | Document[Catalogue],
    path: Path,
    catalogues: CatalogueSet,
    names: Sequence[str],
    *,
    prefix: bool,
) -> None:
    """Raise PolicyError where a category (or prefix of some) is in no catalogue."""
    for name in names:
        known = catalogues.under(name) if prefix else name in catalogues.entries
        if not known:
            hint = catalogues.hint(name)
            raise document.error(path, f"no such category: {shown(name)}", hint)
