"""Where each position group was, as of any time: the as-of join of its items. Pure.

Latitude, longitude and fix quality come as separate items, often in separate messages.
``Tracker`` carries the latest of each from batch to batch; ``Track`` answers for one
batch. Shared by ``classification`` and ``protection``, which are strangers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from policies.tables import Role

if TYPE_CHECKING:
    from policies.tables import ItemTable
    from protocols.frames import F64, I64, Bool
    from protocols.samples import SampleBatch

FIX_FRESH_NS: Final = 10_000_000_000  # an older fix quality is none
NEVER_NS: Final = -(2**62)  # "no sample yet"; times of samples lie far above
_ROLES: Final = (int(Role.LATITUDE), int(Role.LONGITUDE), int(Role.FIX))


@dataclass(frozen=True, slots=True)
class Timeline:
    """Samples of one quantity in order of time, the carried one first."""

    time_ns: I64  # [M]
    value: F64  # [M]

    def at(self, times: I64) -> tuple[I64, F64]:
        """Return time and value of the last sample at or before each of ``times`` [N].

        Before the carried one: ``NEVER_NS`` and NaN.
        """
        index = np.searchsorted(self.time_ns, times, side="right") - 1
        known = index >= 0
        return (
            np.where(known, self.time_ns[index], NEVER_NS),
            np.where(known, self.value[index], np.nan),
        )

    def extended(self, time_ns: I64, value: F64) -> Timeline:
        """Return the timeline of the next batch: the last sample, then these [K]."""
        if not len(time_ns):
            return Timeline(self.time_ns[-1:], self.value[-1:])
        times = np.concatenate((self.time_ns[-1:], time_ns))
        values = np.concatenate((self.value[-1:], value))
        if (times[1:] < times[:-1]).any():
            order = np.argsort(times, kind="stable")
            times, values = times[order], values[order]
        return Timeline(times, values)


def empty_timeline() -> Timeline:
    """Return a timeline that knows nothing yet."""
    return Timeline(np.array([NEVER_NS], np.int64), np.array([np.nan]))


@dataclass(frozen=True, slots=True)
class Positions:
    """Positions as of N times."""

    latitude: F64  # [N] degrees, NaN where never seen
    longitude: F64  # [N]
    latitude_age_ns: I64  # [N] age of the latitude
    age_ns: I64  # [N] age of the older of the two coordinates
    sound: Bool  # [N] both known, in range, and the fix quality (if any) is not 0


class Track:
    """What is known of all position groups during one batch."""

    def __init__(self, lines: dict[tuple[int, int], Timeline]) -> None:
        """Take the timelines by (group, role); roles that are not bound are absent."""
        self._lines = lines
        self.groups = tuple(sorted({group for group, _ in lines}))

    def at(self, group: int, times: I64) -> Positions:
        """Return the group's positions as of ``times`` [N] i64 ns; unknown: NaN."""
        unknown = empty_timeline()
        lat_time, lat = self._lines.get((group, _ROLES[0]), unknown).at(times)
        lon_time, lon = self._lines.get((group, _ROLES[1]), unknown).at(times)
        # NaN compares as false: an unknown coordinate is never sound.
        sound = (np.abs(lat) <= 90.0) & (np.abs(lon) <= 180.0)
        fix_line = self._lines.get((group, _ROLES[2]))
        if fix_line is not None:
            fix_time, fix = fix_line.at(times)
            sound &= (fix > 0.0) & (times - fix_time <= FIX_FRESH_NS)
        age = times - np.minimum(lat_time, lon_time)
        return Positions(lat, lon, times - lat_time, age, sound)

    def moments(self, group: int) -> I64:
        """Return the times (rising, unique) of this batch's coordinates, carried too.

        The carried ones come again in each batch: a reader skips what it has seen.
        """
        lines = [self._lines.get((group, role)) for role in _ROLES[:2]]
        times = np.concatenate([line.time_ns for line in lines if line] or [_NONE])
        return np.unique(times[times > NEVER_NS])


_NONE: Final = np.empty(0, np.int64)


class Tracker:
    """Carries the latest coordinates of every group from batch to batch."""

    def __init__(self, items: ItemTable) -> None:
        """Find the position items of the table."""
        placed = (items.group >= 0) & np.isin(items.role, _ROLES)
        self._watched: Bool = placed
        self._any = bool(placed.any())
        self._group = items.group
        self._role = items.role
        rows = np.flatnonzero(placed).tolist()
        keys = sorted({(int(items.group[i]), int(items.role[i])) for i in rows})
        self._lines = {key: empty_timeline() for key in keys}

    def observe(self, samples: SampleBatch) -> Track:
        """Take a batch in (all of it, whatever rule it falls under); return its track.

        Cost: one gather over the batch, then numpy calls per bound (group, role).
        """
        if not self._any:
            return Track({})
        rows = np.flatnonzero(self._watched[samples.item])
        item = samples.item[rows]
        group, role = self._group[item], self._role[item]
        for key, line in self._lines.items():
            mine = rows[(group == key[0]) & (role == key[1])]
            self._lines[key] = line.extended(samples.time_ns[mine], samples.value[mine])
        return Track(dict(self._lines))
