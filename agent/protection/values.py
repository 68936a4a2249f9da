"""Transforms of a number by itself: round, clamp, bucket, noise, blank."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from agent.records import Outcome
from policies.tables import Blank, Bucket, Clamp, Noise, Role, Round
from protocols.samples import TextBatch

if TYPE_CHECKING:
    from agent.protection.keyring import KeyRing
    from agent.protection.rows import Flow
    from policies.tables import ItemTable
    from protocols.frames import F64, I64, U32, Bool

ValueTransform: TypeAlias = Round | Clamp | Bucket | Noise | Blank
_PLACES: Final = (int(Role.LATITUDE), int(Role.LONGITUDE), int(Role.ALTITUDE))
# A quotient this close to a whole number is that number: 3 * 0.1 is a multiple of 0.1.
_WHOLE: Final = 1e-9


def is_place(items: ItemTable, item: U32) -> Bool:
    """Tell which items [N] are coordinates, where noise averages out along a track."""
    return np.isin(items.role[item], _PLACES)


def check(transform: ValueTransform) -> None:
    """Refuse parameters that mean nothing; ValueError."""
    match transform:
        case Round(step=step):
            good = math.isfinite(step) and step > 0.0
        case Clamp(low=low, high=high):
            good = math.isfinite(low) and math.isfinite(high) and low <= high
        case Bucket(edges=edges):
            good = bool(edges) and all(map(math.isfinite, edges))
            good = good and all(a < b for a, b in pairwise(edges))
        case Noise(epsilon=epsilon, sensitivity=sensitivity):
            good = math.isfinite(epsilon) and math.isfinite(sensitivity)
            good = good and epsilon > 0.0 and sensitivity > 0.0
        case Blank():
            good = True
    if not good:
        raise ValueError(f"{type(transform).__name__.lower()}: senseless parameters")


def transform_values(transform: ValueTransform, value: F64, keyring: KeyRing) -> F64:
    """Return the transformed values [N] f64; a bad one comes out as NaN or infinite.

    round: ``k * step`` as one float product, k by half-even (or floor).
    """
    match transform:
        case Round(step=step, down=down):
            quotient = value / step
            nearest = np.rint(quotient)
            if not down:
                return np.asarray(nearest * step)
            close = np.abs(quotient - nearest) <= _WHOLE * np.maximum(
                1.0, np.abs(nearest)
            )
            return np.asarray(np.where(close, nearest, np.floor(quotient)) * step)
        case Clamp(low=low, high=high):
            return np.clip(value, low, high)
        case Bucket(edges=edges):
            table = np.asarray(edges, np.float64)
            index = np.searchsorted(table, value, side="right") - 1
            found = table[np.maximum(index, 0)]
            return np.where(np.isnan(value), np.nan, found)
        case Noise():
            return _laplace(transform, value, keyring)
        case Blank():
            return np.full(len(value), np.nan)


def _laplace(noise: Noise, value: F64, keyring: KeyRing) -> F64:
    """Add Laplace noise on a lattice of a power of two, about scale / 1024.

    The float lattice of a continuous Laplace tells the true value (Mironov, CCS 2012);
    whole multiples of one step do not. The difference of two geometric numbers is the
    discrete Laplace; snapping moves a value by up to one step, so the sensitivity grows
    by it. 16 bytes of entropy a sample.
    """
    step = 2.0 ** math.floor(math.log2(noise.sensitivity / noise.epsilon) - 10)
    scale = (noise.sensitivity + step) / noise.epsilon
    entropy = keyring.entropy(16 * len(value))
    if len(entropy) != 16 * len(value):
        raise ValueError("the entropy source gave too little")
    bits = np.frombuffer(entropy, "<u8").reshape(-1, 2) >> np.uint64(11)
    uniform = (bits.astype(np.float64) + 0.5) * 2.0**-53  # in (0, 1), both ends open
    geometric = np.floor(np.log(uniform) / (-step / scale))
    noisy = np.rint(value / step) + (geometric[:, 0] - geometric[:, 1])
    return np.asarray(noisy * step)


class ValueStep:
    """A value transform as a step; texts know only ``blank``."""

    def __init__(
        self, transform: ValueTransform, items: ItemTable, keyring: KeyRing
    ) -> None:
        """Refuse senseless parameters with ValueError."""
        check(transform)
        self._transform = transform
        self._keyring = keyring
        self._items = items

    def apply(self, flow: Flow) -> None:
        """Transform every value; noise on a position fails (it averages out)."""
        if isinstance(self._transform, Noise):
            place = is_place(self._items, flow.rows.samples.item)
            flow.keep(~place, Outcome.FAILED)
        if len(flow.rows):
            value = flow.rows.samples.value
            flow.rows = flow.rows.with_values(
                transform_values(self._transform, value, self._keyring)
            )
        if len(flow.texts):
            if not isinstance(self._transform, Blank):
                flow.fail_texts()
                return
            texts = flow.texts
            flow.texts = TextBatch(texts.time_ns, texts.item, (b"",) * len(texts))

    def held(self) -> tuple[tuple[U32, I64 | None], ...]:
        """Return nothing: values do not wait."""
        return ()
