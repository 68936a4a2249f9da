"""Random numbers that can be entered anywhere: by key, without a state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from protocols.frames import U64


def mixed(number: U64) -> U64:
    """Return splitmix64 of each number.

    Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014).
    """
    z = number * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
