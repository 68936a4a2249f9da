"""Slopes of the soak's rows: Theil-Sen within lives, and how sure they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

BLOCK: Final = 30  # rows that are drawn together: neighbours are not independent
DRAWS: Final = 200
SEED: Final = 5
LEAST: Final = 12  # rows of a life that tell anything


class Slope(NamedTuple):
    """Units per hour, with the bounds that hold 95 % of the draws."""

    per_hour: float
    low: float
    high: float
    rows: int


class Pairs:
    """All pairs of rows of one life, an earlier and a later one."""

    def __init__(self, hours: Floats, life: Floats) -> None:
        """Pair rows; ``hours`` rise."""
        first, second = np.triu_indices(len(hours), 1)
        same = (life[first] == life[second]) & (hours[second] > hours[first])
        self._first, self._second = first[same], second[same]
        self._apart = hours[self._second] - hours[self._first]

    def slope(self, values: Floats) -> float:
        """Return the median slope of all pairs (Theil-Sen); NaN without any."""
        if not len(self._apart):
            return float("nan")
        grown = values[self._second] - values[self._first]
        return float(np.median(grown / self._apart))


def slope(
    seconds: Sequence[float], values: Sequence[float], life: Sequence[int]
) -> Slope:
    """Return the common slope of all lives, bounds by a bootstrap of residual blocks.

    Each life may begin at its own height. Rows of a life that are fewer than LEAST are
    left out. The residuals of a life are drawn again in blocks of BLOCK rows.
    """
    at, of = np.asarray(seconds, float) / 3600.0, np.asarray(life, float)
    value = np.asarray(values, float)
    keep = np.isin(of, [n for n in np.unique(of) if (of == n).sum() >= LEAST])
    at, of, value = at[keep], of[keep], value[keep]
    pairs = Pairs(at, of)
    found = pairs.slope(value)
    if np.isnan(found):
        return Slope(found, found, found, len(at))
    rng = np.random.default_rng(SEED)
    fit = found * at
    for number in np.unique(of):
        mine = of == number
        fit[mine] += np.median(value[mine] - fit[mine])
    draws = [pairs.slope(fit + _drawn(value - fit, of, rng)) for _ in range(DRAWS)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return Slope(found, float(low), float(high), len(at))


def _drawn(rest: Floats, life: Floats, rng: np.random.Generator) -> Floats:
    """Return residuals of each life, drawn in blocks from the same life."""
    out = np.empty_like(rest)
    for number in np.unique(life):
        mine = rest[life == number]
        block = min(BLOCK, len(mine))
        count = -(-len(mine) // block)
        starts = rng.integers(0, len(mine) - block + 1, count)
        drawn = (starts[:, None] + np.arange(block)).ravel()[: len(mine)]
        out[life == number] = mine[drawn]
    return out
