"""WGS-84 and GCJ-02, the datum that maps of China are published in. Pure.

GCJ-02 is WGS-84 plus an offset of up to 700 m that changes from place to place. The
offset was never published by the authority; what everybody uses is one formula that has
been public since about 2010 on the Krasovsky 1940 ellipsoid. Forward (WGS-84 to GCJ-02)
it is closed; the inverse is found by iteration, to far below a millimetre.

Outside the rectangle ``is_shifted`` the usual implementations add no offset: there both
data are the same by definition. The rectangle is coarse: it holds parts of the
neighbours and of the sea.
"""

from __future__ import annotations

from math import cos, hypot, pi, radians, sin, sqrt
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Point: TypeAlias = tuple[float, float]  # latitude, longitude in degrees

AXIS_M: Final = 6_378_245.0  # semi-major axis of the Krasovsky 1940 ellipsoid
ECCENTRICITY2: Final = 0.00669342162296594323  # square of its first eccentricity
ORIGIN: Final = (35.0, 105.0)  # of the polynomial
LATITUDES: Final = (0.8293, 55.8271)
LONGITUDES: Final = (72.004, 137.8347)

METRES_A_DEGREE: Final = 111_320.0
ROUNDS_MAX: Final = 32
EXACT_DEGREES: Final = 1e-11  # about a micrometre
EDGE_M_MAX: Final = 1000.0  # of a converted edge: its bend stays below 0.1 m


def is_shifted(point: Point) -> bool:
    """Tell whether the usual implementations shift a point (degrees) at all."""
    latitude, longitude = point
    return (
        LATITUDES[0] <= latitude <= LATITUDES[1]
        and LONGITUDES[0] <= longitude <= LONGITUDES[1]
    )


def to_gcj02(point: Point) -> Point:
    """Return the GCJ-02 coordinates of a WGS-84 point."""
    if not is_shifted(point):
        return point
    north, east = _offset(point)
    return point[0] + north, point[1] + east


def to_wgs84(point: Point) -> Point:
    """Return the WGS-84 coordinates of a GCJ-02 point.

    The fixed point of ``point - offset(guess)``: the offset changes by under 1 % of the
    way (but within millimetres of 105 E, where it has a cusp), so each round gives two
    digits more. Outside the rectangle the answer is the point itself.
    """
    if not is_shifted(point):
        return point
    guess = point
    for _ in range(ROUNDS_MAX):
        north, east = _offset(guess)
        better = point[0] - north, point[1] - east
        moved = max(abs(better[0] - guess[0]), abs(better[1] - guess[1]))
        guess = better
        if moved < EXACT_DEGREES:
            break
    return guess


def converted(
    polygon: Sequence[Point], convert: Callable[[Point], Point], points_max: int
) -> list[Point]:
    """Return a closed polygon in the other datum.

    An edge that is straight in one datum is bent in the other; long ones are split, so
    that what is straight again lies within 0.1 m of the bend. ValueError where that
    makes more than ``points_max`` points.
    """
    out: list[Point] = []
    for start, end in zip(polygon, [*polygon[1:], *polygon[:1]], strict=True):
        north = (end[0] - start[0]) * METRES_A_DEGREE
        middle = radians((start[0] + end[0]) / 2)
        east = (end[1] - start[1]) * METRES_A_DEGREE * cos(middle)
        parts = int(hypot(north, east) // EDGE_M_MAX) + 1
        if not (is_shifted(start) or is_shifted(end)):
            parts = 1
        if len(out) + parts > points_max:
            raise ValueError(
                f"more than {points_max} points once its edges are split for the"
                " other datum"
            )
        out += [
            convert(
                (
                    start[0] + (end[0] - start[0]) * part / parts,
                    start[1] + (end[1] - start[1]) * part / parts,
                )
            )
            for part in range(parts)
        ]
    return out


def _offset(point: Point) -> Point:
    """Return what the formula adds to a WGS-84 point, in degrees."""
    latitude, longitude = point
    y, x = latitude - ORIGIN[0], longitude - ORIGIN[1]
    ripple = _waves(x, (20.0, 6.0), (20.0, 2.0))  # the same in both directions
    north_m = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y
    north_m += 0.2 * sqrt(abs(x)) + ripple
    north_m += _waves(y, (20.0, 1.0), (40.0, 1 / 3), (160.0, 1 / 12), (320.0, 1 / 30))
    east_m = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y
    east_m += 0.1 * sqrt(abs(x)) + ripple
    east_m += _waves(x, (20.0, 1.0), (40.0, 1 / 3), (150.0, 1 / 12), (300.0, 1 / 30))
    # Metres to degrees by the radii of curvature: along the meridian and across it.
    bend = 1.0 - ECCENTRICITY2 * sin(radians(latitude)) ** 2
    meridian_m = AXIS_M * (1.0 - ECCENTRICITY2) / (bend * sqrt(bend))
    parallel_m = AXIS_M / sqrt(bend) * cos(radians(latitude))
    return north_m / meridian_m * 180.0 / pi, east_m / parallel_m * 180.0 / pi


def _waves(angle: float, *waves: tuple[float, float]) -> float:
    return sum(2 / 3 * high * sin(pi * angle * often) for high, often in waves)
