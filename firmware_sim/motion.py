"""The speed profile over a route, and where the vehicle is at any time.

Between two nodes of the profile the acceleration is constant, so distance, speed and
acceleration at a time are exact: speed is the derivative of distance everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from firmware_sim.schema import NS, nanoseconds

if TYPE_CHECKING:
    from firmware_sim.route import Route
    from firmware_sim.scenario import DriveSpec
    from protocols.frames import F64, Bool, Index

NODE_M: Final = 2.0
PARK_S: Final = 10.0  # a driver who stands this long selects P


@dataclass(frozen=True, slots=True)
class Motion:
    """N moments of a drive."""

    distance: F64  # [N] metres since the start of the scenario
    along: F64  # [N] metres since the start of the lap
    speed: F64  # [N] m/s
    acceleration: F64  # [N] m/s^2
    parked: Bool  # [N]
    row: Index  # [N] row of the lap (for tables beside it)
    after: F64  # [N] seconds since the row began
    laps: F64  # [N] whole laps done


@dataclass(frozen=True, slots=True)
class Lap:
    """K rows of constant acceleration; the last row's end is ``seconds``."""

    time: F64  # [K] seconds since the start of the lap
    along: F64  # [K] metres
    speed: F64  # [K] m/s at the beginning of the row
    acceleration: F64  # [K]
    parked: Bool  # [K]
    seconds: float  # inf where the vehicle finally stands
    metres: float

    def at(self, time_s: F64) -> Motion:
        """Return the motion at ``time_s`` [N], seconds since the start, >= 0."""
        if np.isfinite(self.seconds):
            laps = np.floor(time_s / self.seconds)
            within = time_s - laps * self.seconds
        else:
            laps, within = np.zeros_like(time_s), time_s
        row = np.clip(
            np.searchsorted(self.time, within, "right") - 1, 0, len(self.time) - 1
        )
        after = within - self.time[row]
        first, rate = self.speed[row], self.acceleration[row]
        along = self.along[row] + (first + 0.5 * rate * after) * after
        return Motion(
            laps * self.metres + along,
            along,
            np.maximum(first + rate * after, 0.0),
            rate,
            self.parked[row],
            row,
            after,
            laps,
        )


def _nodes(route: Route) -> F64:
    even = np.arange(0.0, route.length, NODE_M)
    nodes = np.unique(np.concatenate([even, route.begin, route.at, [route.length]]))
    # Nodes a rounding error apart would make rows of no length.
    keep = np.append(np.diff(nodes) > 1e-6, True)
    kept: F64 = nodes[keep]
    kept[-1] = route.length
    return kept


def _top_speed(route: Route, drive: DriveSpec, nodes: F64) -> F64:
    """Return the square of the highest speed at each node, from limits and corners."""
    middle = (nodes[1:] + nodes[:-1]) / 2.0
    leg = np.clip(np.searchsorted(route.at, middle, "right") - 1, 0, None)
    limit = np.array([w.limit_kmh / 3.6 for w in drive.waypoints])
    _, _, _, bend = route.place(middle)
    corner = drive.lateral / np.maximum(np.abs(bend), 1e-9)
    cell = np.minimum(limit[leg % len(limit)] ** 2, corner)
    top = np.minimum(np.append(cell, cell[-1]), np.insert(cell, 0, cell[0]))
    stops = [nanoseconds(w.stop) > 0 for w in drive.waypoints]
    stops[0] = True
    if drive.closed:
        stops.append(True)
    else:
        stops[-1] = True
    places: F64 = route.at[np.array(stops)]
    slowest: F64 = top
    slowest[np.abs(nodes[:, None] - places).argmin(axis=0)] = 0.0
    return slowest


def build_lap(route: Route, drive: DriveSpec) -> Lap:
    """Return the fastest lap within the limits of speed, acceleration and corners."""
    zero = np.zeros(1)
    if route.length == 0.0:
        still = np.ones(1, np.bool_)
        return Lap(zero, zero, zero, zero, still, np.inf, 0.0)
    nodes = _nodes(route)
    square = _top_speed(route, drive, nodes)
    # v^2 may rise by 2 a per metre at most: the lower envelope of cones, both ways.
    up, down = 2.0 * drive.acceleration * nodes, 2.0 * drive.braking * nodes
    square = np.minimum.accumulate(square - up) + up
    square = np.minimum.accumulate((square + down)[::-1])[::-1] - down
    speed = np.sqrt(np.maximum(square, 0.0))
    speed[square < 1e-9] = 0.0
    step = np.diff(nodes)
    rate = (speed[1:] ** 2 - speed[:-1] ** 2) / (2.0 * step)
    took = 2.0 * step / (speed[1:] + speed[:-1])
    waits = np.zeros(len(nodes))
    where = np.abs(nodes[:, None] - route.at).argmin(axis=0)
    for place, waypoint in zip(where, drive.waypoints, strict=False):
        waits[place] += nanoseconds(waypoint.stop) / NS
    return _rows(nodes, speed, rate, took, waits, drive.closed)


def _rows(
    nodes: F64, speed: F64, rate: F64, took: F64, waits: F64, closed: bool
) -> Lap:
    """Put the waits between the rows of the drive."""
    # Row 2i stands at node i, row 2i + 1 drives on from it; empty rows fall out.
    count = len(nodes)
    lasts = np.zeros(2 * count - 1)
    lasts[0::2], lasts[1::2] = waits, took
    along = np.repeat(nodes, 2)[: 2 * count - 1]
    first = np.repeat(speed, 2)[: 2 * count - 1]
    rates = np.zeros(2 * count - 1)
    rates[1::2] = rate
    standing = np.zeros(2 * count - 1, np.bool_)
    standing[0::2] = True
    first[standing] = 0.0
    parked = standing & (lasts >= PARK_S)
    if not closed:
        lasts[-1], parked[-1] = np.inf, True
    keep = lasts > 0.0
    times = np.concatenate([[0.0], np.cumsum(lasts[keep])])
    return Lap(
        times[:-1], along[keep], first[keep], rates[keep], parked[keep],
        float(times[-1]), float(nodes[-1]),
    )  # fmt: skip
