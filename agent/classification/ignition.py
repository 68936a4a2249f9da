"""What the ignition's item says in a batch: one gather, whoever it is bound for."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from policies.tables import CompiledPolicy
    from protocols.frames import I64, Bool
    from protocols.samples import SampleBatch

_COMPARE: Final = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Ignition:
    """Finds in a batch when the ignition is on. Holds nothing between batches."""

    def __init__(self, policy: CompiledPolicy) -> None:
        """Find the rows of the item that the policy names, if it names one."""
        self._tests = policy.ignition
        rows = sorted({row for test in policy.ignition for row in test.items})
        self._watched = np.zeros(len(policy.items), np.bool_)
        self._watched[rows] = True
        self._is_told = bool(rows)

    def seen(self, samples: SampleBatch) -> tuple[Bool, I64]:
        """Return (on, time_ns) [K] of the item's samples, in order of time.

        Values that are none (NaN) say nothing.
        """
        if not self._is_told:
            return np.zeros(0, np.bool_), np.zeros(0, np.int64)
        rows = np.flatnonzero(self._watched[samples.item])
        rows = rows[np.argsort(samples.time_ns[rows], kind="stable")]
        rows = rows[~np.isnan(samples.value[rows])]
        on = np.ones(len(rows), np.bool_)
        for test in self._tests:
            on &= _COMPARE[test.op](samples.value[rows], test.value)
        return on, samples.time_ns[rows]
