"""Plane geometry on WGS-84 degrees: distances, and polygons with a buffer. Pure.

Shared by ``classification`` (zone conditions) and ``protection`` (zones, trips), which
never import each other. Degrees become metres on the local plane (equirectangular): at
the sizes of a zone or of one step of a track the error is far below GNSS noise.
Polygons that cross the antimeridian are not supported: split them there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.tables import Zone
    from protocols.frames import F64, Bool

METRES_A_DEGREE: Final = 111_320.0  # of latitude; inspection.md section 4.2
CELLS_MAX: Final = 262_144  # points x edges in one go: 2 MB a temporary


def distance_m(lat_a: F64, lon_a: F64, lat_b: F64, lon_b: F64) -> F64:
    """Return metres between points [N] (degrees); the shorter way round in longitude.

    Equirectangular at the mean latitude: for steps of a track, not for voyages.
    """
    turn = (lon_b - lon_a + 180.0) % 360.0 - 180.0
    north = (lat_b - lat_a) * METRES_A_DEGREE
    east = turn * METRES_A_DEGREE * np.cos(np.radians((lat_a + lat_b) * 0.5))
    return np.asarray(np.hypot(north, east))


class Area:
    """Union of zones, each dilated by its own buffer; borders belong to the area."""

    def __init__(self, zones: Sequence[Zone], *, gcj02: bool = False) -> None:
        """Prepare the zones; ValueError where one has under three vertices.

        ``gcj02``: the points will be of that datum, and the zones have it.
        """
        self._shapes = tuple(_Shape(zone, gcj02=gcj02) for zone in zones)

    def contains(self, latitude: F64, longitude: F64) -> Bool:
        """Tell for every point [N] (degrees) whether it lies in the area; NaN: no."""
        inside = np.zeros(len(latitude), np.bool_)
        for shape in self._shapes:
            rows = np.flatnonzero(shape.near(latitude, longitude) & ~inside)
            if len(rows):
                inside[rows] = shape.contains(latitude[rows], longitude[rows])
        return inside


def areas(
    zones: Sequence[Zone], groups: Sequence[int], gcj02: frozenset[int]
) -> dict[int, Area]:
    """Return the area by position group, each in the datum of the group.

    Groups of one datum share one area.
    """
    of_datum = {
        shifted: Area(zones, gcj02=shifted)
        for shifted in {group in gcj02 for group in groups}
    }
    return {group: of_datum[group in gcj02] for group in groups}


class _Shape:
    """One polygon on its own local plane, in metres."""

    def __init__(self, zone: Zone, *, gcj02: bool) -> None:
        corners = zone.gcj02 if gcj02 else (zone.latitude, zone.longitude)
        if corners is None:
            raise ValueError(f"zone {zone.name}: not compiled for GCJ-02")
        latitude, longitude = (np.asarray(axis, np.float64) for axis in corners)
        if len(latitude) < 3 or len(latitude) != len(longitude):
            raise ValueError(f"zone {zone.name}: fewer than three vertices")
        if not (np.isfinite(latitude).all() and np.isfinite(longitude).all()):
            raise ValueError(f"zone {zone.name}: a vertex is no number")
        if not zone.buffer_m >= 0.0:
            raise ValueError(f"zone {zone.name}: negative buffer")
        self._buffer_m = zone.buffer_m
        self._lat0 = float(latitude.min() + latitude.max()) * 0.5
        self._lon0 = float(longitude.min() + longitude.max()) * 0.5
        self._east_m = METRES_A_DEGREE * float(np.cos(np.radians(self._lat0)))
        x, y = self._plane(latitude, longitude)
        self._x, self._y = x, y
        self._dx, self._dy = np.roll(x, -1) - x, np.roll(y, -1) - y
        margin = zone.buffer_m + 1.0  # 1 m: rounding never makes the prefilter stricter
        self._half_x = float(np.abs(x).max()) + margin
        self._half_y = float(np.abs(y).max()) + margin

    def _plane(self, latitude: F64, longitude: F64) -> tuple[F64, F64]:
        return (
            (longitude - self._lon0) * self._east_m,
            (latitude - self._lat0) * METRES_A_DEGREE,
        )

    def near(self, latitude: F64, longitude: F64) -> Bool:
        x, y = self._plane(latitude, longitude)
        return (np.abs(x) <= self._half_x) & (np.abs(y) <= self._half_y)

    def contains(self, latitude: F64, longitude: F64) -> Bool:
        x, y = self._plane(latitude, longitude)
        step = max(1, CELLS_MAX // len(self._x))
        parts = [
            self._contains(x[i : i + step, None], y[i : i + step, None])
            for i in range(0, len(x), step)  # blocks of points, to bound memory
        ]
        return np.concatenate(parts)

    def _contains(self, x: F64, y: F64) -> Bool:
        """Even-odd rule [points, edges], or within the buffer of an edge."""
        px, py = x - self._x, y - self._y
        straddles = (py < 0.0) != (py < self._dy)
        rise = np.where(self._dy == 0.0, 1.0, self._dy)
        crossing = straddles & (px < self._dx * (py / rise))
        odd = np.count_nonzero(crossing, axis=1) % 2 == 1
        length2 = self._dx**2 + self._dy**2
        along = (px * self._dx + py * self._dy) / np.where(length2 > 0.0, length2, 1.0)
        along = np.clip(along, 0.0, 1.0)
        away = np.hypot(px - along * self._dx, py - along * self._dy)
        near = np.asarray(np.any(away <= self._buffer_m, axis=1), np.bool_)
        return np.asarray(odd | near, np.bool_)
