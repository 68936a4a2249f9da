"""Transforms of places: grid and drop_zones; trip_ends is in ``trips.py``.

Where a sample was taken is found when it arrives (``prepare``), from the true positions
of its group, whatever other transforms do to the values and however long a later step
holds it. An item that belongs to no position group cannot be judged: it fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from agent.geometry import METRES_A_DEGREE, areas
from agent.records import Outcome
from agent.track import NEVER_NS
from policies.tables import Role

if TYPE_CHECKING:
    from agent.protection.rows import Column, Flow
    from agent.track import Track
    from policies.tables import DropZones, Grid, ItemTable
    from protocols.frames import F64, I64, U32, Bool
    from protocols.samples import SampleBatch

FRESH_NS: Final = 2_000_000_000  # at 40 m/s 80 m: an older position judges nothing


class GridStep:
    """Latitude and longitude to the centre of a cell of ``size_m`` metres.

    The latitude is quantised first; the width of a cell follows from the centre of its
    band and not from the true latitude, which it would tell (inspection.md 4.2). A
    longitude takes the band of the latest latitude of its group, at most ``FRESH_NS``
    old; without one it fails. Other roles and items in the rule (altitude, heading,
    speed) are thinned: with them a coarse cell can be refined by dead reckoning.
    """

    def __init__(self, grid: Grid, items: ItemTable, slot: int) -> None:
        """``slot``: which column is this step's; ValueError for a senseless size."""
        if not 0.0 < grid.size_m <= 1e6:
            raise ValueError("grid: senseless size")
        self._size_m = grid.size_m
        self._items = items
        self._slot = slot

    def prepare(self, samples: SampleBatch, track: Track) -> Column:
        """Return for every longitude [N] the latitude to use, NaN where none is."""
        latitude = np.full(len(samples), np.nan)
        role = self._items.role[samples.item]
        rows = np.flatnonzero(role == int(Role.LONGITUDE))
        groups = self._items.group[samples.item[rows]]
        for group in np.unique(groups[groups >= 0]).tolist():
            mine = rows[groups == group]
            at = track.at(group, samples.time_ns[mine])
            fresh = at.latitude_age_ns <= FRESH_NS
            latitude[mine] = np.where(fresh, at.latitude, np.nan)
        return latitude

    def apply(self, flow: Flow) -> None:
        """Replace coordinates by cell centres; thin other roles; texts fail."""
        flow.fail_texts()
        role = self._items.role[flow.rows.samples.item]
        places = (role == int(Role.LATITUDE)) | (role == int(Role.LONGITUDE))
        flow.keep(places, Outcome.THINNED)
        rows = flow.rows
        is_lat = self._items.role[rows.samples.item] == int(Role.LATITUDE)
        other = np.asarray(rows.columns[self._slot], np.float64)
        value = rows.samples.value
        latitude = np.where(is_lat, value, other)
        sound = np.abs(latitude) <= 90.0  # NaN: no
        sound &= is_lat | (np.abs(value) <= 180.0)
        flow.keep(sound, Outcome.FAILED)
        latitude, is_lat = latitude[sound], is_lat[sound]
        centre_lat, centre_lon = cells(latitude, flow.rows.samples.value, self._size_m)
        flow.rows = flow.rows.with_values(np.where(is_lat, centre_lat, centre_lon))

    def held(self) -> tuple[tuple[U32, I64 | None], ...]:
        """Return nothing."""
        return ()


def cells(latitude: F64, longitude: F64, size_m: float) -> tuple[F64, F64]:
    """Return the centres (degrees) of the cells that hold the points [N].

    Cells are counted in whole numbers, so all points of one give the same bits. A
    centre beyond a pole or the antimeridian is put on it.
    """
    high = size_m / METRES_A_DEGREE
    centre_lat = np.clip((np.floor(latitude / high) + 0.5) * high, -90.0, 90.0)
    wide = size_m / (METRES_A_DEGREE * np.cos(np.radians(centre_lat)))
    centre_lon = (np.floor(longitude / wide) + 0.5) * wide
    return centre_lat, np.clip(centre_lon, -180.0, 180.0)


class DropZonesStep:
    """All items of a group are destroyed while it is in a zone, or may be.

    "May be": no sound position at most ``FRESH_NS`` old, or under ``hysteresis_ns``
    since the last position inside. Every position of the group counts for this, also
    those that fall under other rules.
    """

    def __init__(self, drop: DropZones, items: ItemTable, slot: int) -> None:
        """``slot``: which column is this step's; ValueError for a bad polygon."""
        groups = sorted(set(items.group[items.group >= 0].tolist()))
        self._areas = areas(drop.zones, groups, items.gcj02)
        self._hysteresis_ns = drop.hysteresis_ns
        self._items = items
        self._slot = slot
        self._inside_ns: dict[int, int] = {}  # last position inside, per group

    def prepare(self, samples: SampleBatch, track: Track) -> Column:
        """Return for every sample [N] whether it may stay."""
        stays = np.zeros(len(samples), np.bool_)
        group = self._items.group[samples.item]
        for number in track.groups:
            rows = np.flatnonzero(group == number)
            stays[rows] = self._judge(number, samples.time_ns[rows], track)
        return stays

    def apply(self, flow: Flow) -> None:
        """Destroy what was taken in a zone; items of no group and texts fail."""
        flow.fail_texts()
        placed = self._items.group[flow.rows.samples.item] >= 0
        flow.keep(placed, Outcome.FAILED)
        stays = np.asarray(flow.rows.columns[self._slot], np.bool_)
        flow.keep(stays, Outcome.THINNED)

    def held(self) -> tuple[tuple[U32, I64 | None], ...]:
        """Return nothing."""
        return ()

    def _judge(self, group: int, time_ns: I64, track: Track) -> Bool:
        moments = track.moments(group)
        before = self._inside_ns.get(group, NEVER_NS)
        if not len(moments):
            return np.zeros(len(time_ns), np.bool_)
        there = track.at(group, moments)
        # By the coordinates alone: a bad fix inside a zone is inside.
        inside = self._areas[group].contains(there.latitude, there.longitude)
        last = np.maximum.accumulate(np.where(inside, moments, NEVER_NS))
        last = np.maximum(last, before)
        self._inside_ns[group] = int(last[-1])
        moment = np.searchsorted(moments, time_ns, side="right") - 1
        at = track.at(group, time_ns)
        stays = (moment >= 0) & at.sound & (at.age_ns <= FRESH_NS) & ~inside[moment]
        return np.asarray(stays & (time_ns - last[moment] >= self._hysteresis_ns))
