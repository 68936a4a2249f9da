"""Geometry of a route: straight legs joined by circular arcs, exact in every point.

Plane coordinates are metres east and north of the first waypoint; the plane touches the
WGS-84 ellipsoid there (radii of curvature M and N, Torge, Geodesy, 4.1.3). Heading is
in radians clockwise from north; curvature is its change per metre, positive rightwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from firmware_sim.scenario import DriveSpec, Waypoint
    from protocols.frames import F64

WGS84_A: Final = 6_378_137.0
WGS84_E2: Final = 6.694_379_990_141_3e-3
LEG_M_MIN: Final = 5.0


def metres_per_degree(latitude: float) -> tuple[float, float]:
    """Return metres per degree of latitude and of longitude there (WGS-84)."""
    root = math.sqrt(1.0 - WGS84_E2 * math.sin(math.radians(latitude)) ** 2)
    prime = WGS84_A / root
    meridian = WGS84_A * (1.0 - WGS84_E2) / root**3
    degree = math.pi / 180.0
    return meridian * degree, prime * math.cos(math.radians(latitude)) * degree


@dataclass(frozen=True, slots=True)
class Route:
    """P pieces of constant curvature; W waypoints; all lengths in metres."""

    begin: F64  # [P] distance from the start
    east: F64  # [P] at the beginning of the piece
    north: F64  # [P]
    heading: F64  # [P]
    curvature: F64  # [P]
    length: float
    at: F64  # [W or W + 1] distance of the waypoints; closed: the first once more
    altitude: F64  # [the same]
    latitude_0: float
    longitude_0: float

    def place(self, distance: F64) -> tuple[F64, F64, F64, F64]:
        """Return east, north, heading and curvature at ``distance`` [N] (in metres)."""
        piece = np.searchsorted(self.begin, distance, "right") - 1
        piece = np.clip(piece, 0, len(self.begin) - 1)
        along = distance - self.begin[piece]
        first, bend = self.heading[piece], self.curvature[piece]
        heading = first + bend * along
        straight = bend == 0.0
        safe = np.where(straight, 1.0, bend)
        east = self.east[piece] + np.where(
            straight, np.sin(first) * along, (np.cos(first) - np.cos(heading)) / safe
        )
        north = self.north[piece] + np.where(
            straight, np.cos(first) * along, (np.sin(heading) - np.sin(first)) / safe
        )
        return east, north, heading, bend

    def geodetic(self, east: F64, north: F64) -> tuple[F64, F64]:
        """Return latitude and longitude in degrees."""
        per_lat, per_lon = metres_per_degree(self.latitude_0)
        return self.latitude_0 + north / per_lat, self.longitude_0 + east / per_lon


def _wrap(angle: float) -> float:
    return math.remainder(angle, 2.0 * math.pi)


def _corners(
    points: Sequence[tuple[float, float]], radius: float, *, closed: bool
) -> tuple[list[float], list[float], list[float], list[float]]:
    """Return heading in, turn, tangent length and radius of every waypoint."""
    count = len(points)
    legs = count if closed else count - 1
    heads, sizes = [], []
    for i in range(legs):
        (x0, y0), (x1, y1) = points[i], points[(i + 1) % count]
        heads.append(math.atan2(x1 - x0, y1 - y0))
        sizes.append(math.hypot(x1 - x0, y1 - y0))
        if sizes[-1] < LEG_M_MIN:
            raise ValueError(
                f"waypoint {i + 1} is nearer than {LEG_M_MIN} m to the next"
            )
    heading, turn, tangent, radii = [], [], [], []
    for i in range(count):
        end = not closed and i in {0, count - 1}
        into = heads[i - 1] if i or closed else heads[0]
        bend = 0.0 if end else _wrap(heads[i % legs] - into)
        half = math.tan(abs(bend) / 2.0)
        room = 0.45 * min(sizes[i - 1], sizes[i % legs])
        length = 0.0 if half < 1e-9 else min(radius * half, room)
        heading.append(into)
        turn.append(bend if length else 0.0)
        tangent.append(length)
        radii.append(length / half if length else math.inf)
    return heading, turn, tangent, radii


def _half_arc(turn: float, radius: float) -> tuple[float, float]:
    """Return length and curvature of half a corner."""
    if not turn:
        return 0.0, 0.0
    return radius * abs(turn) / 2.0, math.copysign(1.0 / radius, turn)


def _start(
    corner: tuple[float, float, float, float],
) -> tuple[float, float, float]:
    """Return east, north and heading in the middle of the first corner."""
    heading, turn, tangent, radius = corner
    east, north = -tangent * math.sin(heading), -tangent * math.cos(heading)
    if not turn:
        return 0.0, 0.0, heading
    bend = math.copysign(1.0 / radius, turn)
    after = heading + turn / 2.0
    east += (math.cos(heading) - math.cos(after)) / bend
    north += (math.sin(after) - math.sin(heading)) / bend
    return east, north, after


def build_route(drive: DriveSpec) -> Route:
    """Return the route of a scenario; ValueError where waypoints are too near.

    Each corner is an arc within its two legs; a waypoint counts as reached, and is
    stopped at, in the middle of its arc.
    """
    first = drive.waypoints[0]
    if len(drive.waypoints) == 1:
        zero = np.zeros(1)
        return Route(
            zero, zero, zero, zero, zero, 0.0, zero, np.array([first.alt]),
            first.lat, first.lon,
        )  # fmt: skip
    points = _plane(drive.waypoints)
    corners = list(
        zip(*_corners(points, drive.corner_radius_m, closed=drive.closed), strict=True)
    )
    count = len(points)
    pieces: list[tuple[float, float]] = []  # length, curvature
    at = [0.0]
    for i in range(count if drive.closed else count - 1):
        j = (i + 1) % count
        (x0, y0), (x1, y1) = points[i], points[j]
        line = math.hypot(x1 - x0, y1 - y0) - corners[i][2] - corners[j][2]
        pieces += [
            _half_arc(corners[i][1], corners[i][3]),
            (line, 0.0),
            _half_arc(corners[j][1], corners[j][3]),
        ]
        at.append(at[-1] + sum(length for length, _ in pieces[-3:]))
    pieces = [piece for piece in pieces if piece[0] > 0.0]
    altitude = [w.alt for w in drive.waypoints] + [first.alt] * drive.closed
    return _chain(pieces, _start(corners[0]), np.array(at), np.array(altitude), first)


def _plane(waypoints: Sequence[Waypoint]) -> list[tuple[float, float]]:
    first = waypoints[0]
    per_lat, per_lon = metres_per_degree(first.lat)
    return [
        ((w.lon - first.lon) * per_lon, (w.lat - first.lat) * per_lat)
        for w in waypoints
    ]


def _chain(
    pieces: Sequence[tuple[float, float]],
    start: tuple[float, float, float],
    at: F64,
    altitude: F64,
    first: Waypoint,
) -> Route:
    """Lay the pieces one behind the other."""
    east, north, heading = start
    begin, rows = 0.0, []
    for length, bend in pieces:
        rows.append((begin, east, north, heading, bend))
        after = heading + bend * length
        if bend:
            east += (math.cos(heading) - math.cos(after)) / bend
            north += (math.sin(after) - math.sin(heading)) / bend
        else:
            east += math.sin(heading) * length
            north += math.cos(heading) * length
        begin, heading = begin + length, after
    table = np.array(rows)
    return Route(
        table[:, 0], table[:, 1], table[:, 2], table[:, 3], table[:, 4], begin, at,
        altitude, first.lat, first.lon,
    )  # fmt: skip
