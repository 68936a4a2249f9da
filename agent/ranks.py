"""In which order data are shed, by what they are (DESIGN section 4). Pure."""

from __future__ import annotations

from agent.records import Rank
from protocols.labels import Pi, Tier, unpack


def rank_of(label: int) -> Rank:
    """Return the rank of what bears a packed label."""
    axes = unpack(label)
    if axes.tier >= Tier.IMPORTANT:
        return Rank.IMPORTANT
    return Rank.PERSONAL if axes.pi >= Pi.PERSONAL else Rank.GENERAL
