"""What conditions are judged against: latest values, positions, clock, consents.

A condition has three answers: it holds, it does not hold, or it cannot be decided
(value never seen or NaN, no fresh fix, clock not believed). ``policies.tables`` says
that what cannot be decided does not hold; ``stage.Classifier`` turns that round for
rules that only tighten (drop, keep), so that ignorance never opens a way.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Final

import numpy as np

from agent.classification.places import Places
from agent.classification.volumes import Volumes
from agent.track import Timeline, Tracker, empty_timeline
from policies.tables import ConsentTest, ItemTest, TimeTest, VolumeTest, ZoneTest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from policies.tables import CompiledPolicy, Condition
    from protocols.frames import I64, Bool
    from protocols.samples import SampleBatch

DAY_S: Final = 86_400
_COMPARE: Final = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Context:
    """State of the world as conditions see it; carried from batch to batch.

    Call ``observe`` once per batch, before the batch is classified for any destination.
    """

    def __init__(self, policy: CompiledPolicy, volumes: Volumes | None = None) -> None:
        """Find the items and zones that the policy's conditions name.

        ``volumes``: how much left so far; by default nothing did.
        """
        self.volumes = Volumes() if volumes is None else volumes
        conditions = [c for rule in policy.rules for c in rule.conditions]
        watched = {c.items for c in conditions if isinstance(c, ItemTest)}
        self._lines: dict[tuple[int, ...], Timeline] = {
            items: empty_timeline() for items in sorted(watched)
        }
        self._watched = np.zeros(len(policy.items), np.bool_)
        self._watched[[i for items in watched for i in items]] = True
        zones = {c.zones for c in conditions if isinstance(c, ZoneTest)}
        self._places = Places(zones, policy.items) if zones else None
        self._tracker = Tracker(policy.items)
        self._consents: Mapping[str, int] = {}
        self._clock_ok = False

    def observe(
        self,
        samples: SampleBatch,
        *,
        clock_ok: bool,
        consents: Mapping[str, int] | None = None,
    ) -> None:
        """Take a batch in.

        ``clock_ok``: the wall clock is believed. ``consents``: consent name to the
        wall-clock ns at which it expires.
        """
        self._clock_ok = clock_ok
        self._consents = consents or {}
        if self._places is not None:
            self._places.observe(self._tracker.observe(samples))
        if not self._lines:
            return
        rows = np.flatnonzero(self._watched[samples.item])
        item = samples.item[rows]
        for items, line in self._lines.items():
            mine = rows[np.isin(item, items)] if len(rows) else rows
            self._lines[items] = line.extended(
                samples.time_ns[mine], samples.value[mine]
            )

    def judge(self, condition: Condition, time_ns: I64) -> tuple[Bool, Bool]:
        """Return (holds, undecidable) [N] bool each for samples taken at ``time_ns``.

        No element is true in both.
        """
        match condition:
            case ItemTest():
                _, value = self._lines[condition.items].at(time_ns)
                unknown = np.isnan(value)
                holds = _COMPARE[condition.op](value, condition.value)
                return np.asarray(holds, np.bool_) & ~unknown, unknown
            case TimeTest():
                return self._believed(_within(condition, time_ns))
            case ConsentTest():
                expires_ns = self._consents.get(condition.name)
                if expires_ns is None:  # never given: decided, whatever the clock says
                    nothing = np.zeros(len(time_ns), np.bool_)
                    return nothing, nothing
                return self._believed(time_ns < expires_ns)
            case VolumeTest():
                above = self.volumes.is_above(condition) == condition.above
                return np.full(len(time_ns), above), np.zeros(len(time_ns), np.bool_)
            case ZoneTest():
                assert self._places is not None  # the policy has this condition
                with np.errstate(all="ignore"):  # coordinates may be any bit pattern
                    return self._places.judge(condition, time_ns)

    def _believed(self, holds: Bool) -> tuple[Bool, Bool]:
        if self._clock_ok:
            return holds, np.zeros_like(holds)
        return np.zeros_like(holds), np.ones_like(holds)


def _within(test: TimeTest, time_ns: I64) -> Bool:
    """Tell whether the local time of day and weekday lie in the test's window.

    ``end_s < start_s`` means over midnight: the part after midnight belongs to the
    day on which the window began. Equal ends are an empty window.
    """
    local_s = time_ns // 1_000_000_000 + test.utc_offset_s
    day = (local_s // DAY_S + 3) % 7  # 1970-01-01 was a Thursday
    second = local_s % DAY_S
    days = np.zeros(7, np.bool_)
    days[sorted(test.days)] = True
    if test.start_s <= test.end_s:
        return days[day] & (second >= test.start_s) & (second < test.end_s)
    yesterday = (day + 6) % 7
    return (days[day] & (second >= test.start_s)) | (
        days[yesterday] & (second < test.end_s)
    )
