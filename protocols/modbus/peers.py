"""Who takes part: addresses to small numbers, bounded."""

from __future__ import annotations

from typing import Final

PEERS_MAX: Final = 4096
OTHERS: Final = 0  # everybody beyond the bound


class Peers:
    """Numbers addresses in the order in which they are first seen; shared by sources.

    Number 0 stands for all that came after ``PEERS_MAX``: a proxy still
    judges them by their address, behind a tap they belong to no client of a rule; they
    are told together. Several threads may ask at once: a list's
    ``append`` is atomic, and the first place of a name is its number.
    """

    def __init__(self) -> None:
        """Begin with nobody."""
        self.names: list[str] = ["others"]
        self._numbers: dict[str, int] = {}

    def number(self, address: str) -> int:
        """Return the number of ``address`` (an IP address, or a serial line's name)."""
        known = self._numbers.get(address)
        if known is not None:
            return known
        if len(self.names) > PEERS_MAX:
            return OTHERS
        self.names.append(address)
        return self._numbers.setdefault(address, self.names.index(address))

    def name(self, number: int) -> str:
        """Return the address of a number."""
        return self.names[number]
