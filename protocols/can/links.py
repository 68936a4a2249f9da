"""Which CAN interfaces there are, kept up to date by what rtnetlink tells. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocols.can.netlink import CanLink

if TYPE_CHECKING:
    from protocols.can.netlink import LinkTold

LINKS_MAX: Final = 1024  # CAN interfaces that are kept; a gateway has a few


class LinkTable:
    """CAN links by index: an interface keeps its index when it is renamed."""

    def __init__(self) -> None:
        """Know no interface yet."""
        self._links: dict[int, CanLink] = {}
        self._renamed: set[int] = set()

    def take(self, told: LinkTold) -> None:
        """Take one RTM_NEWLINK or RTM_DELLINK; what is no CAN interface is none."""
        link, before = told.link, self._links.get(told.link.index)
        if before is not None and before.name != link.name:
            self._renamed.add(link.index)
        if told.gone or not link.is_can:
            self._links.pop(link.index, None)
            self._renamed.discard(link.index)
        elif link.index in self._links or len(self._links) < LINKS_MAX:
            self._links[link.index] = link

    def missing(self, name: str) -> None:
        """Take the kernel's word that nothing is called ``name``."""
        self._links.pop(self.named(name).index, None)

    def clear(self) -> None:
        """Forget all: what was told meanwhile was missed."""
        self._links.clear()

    def named(self, name: str) -> CanLink:
        """Return the link called ``name``, also by an alternative name."""
        for link in self._links.values():
            if name == link.name or name in link.names:
                return link
        return CanLink(name=name, exists=False)

    def is_renamed(self, index: int) -> bool:
        """Tell whether the link of an index bore another name before."""
        return index in self._renamed

    def numbered(self, index: int) -> CanLink | None:
        """Return the link of an index; None where it is gone."""
        return self._links.get(index)
