"""The world of the scalar reference: data, what was known when, places, decisions.

Written from the docstrings of ``policies/tables.py`` and the limits that the stages
document; shares no code with them, knows no batches (a whole stream at a time) and no
numpy. It is slow on purpose: "as of" looks at every earlier sample again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from policies.tables import (
    Action,
    ConsentTest,
    ItemTest,
    Role,
    TimeTest,
    VolumeTest,
    Zone,
    ZoneTest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from policies.tables import CompiledPolicy, Condition, ItemTable

S = 1_000_000_000
DEGREE_M = 111_320.0


@dataclass(frozen=True)
class Datum:
    """One sample: a number, or a text (``text`` is then no None)."""

    time_ns: int
    item: int
    raw: int = 0
    value: float = 0.0
    text: bytes | None = None
    statistic: str = ""
    count: int = 1


@dataclass
class World:
    """The stream so far, as an oracle sees it: all of it."""

    items: ItemTable
    stream: Sequence[Datum]
    clock_ok: bool = True
    consents: dict[str, int] = field(default_factory=dict)
    passed: frozenset[str] = frozenset()  # names of volumes
    memo: dict[tuple[int, int, int], tuple[int, float] | None] = field(
        default_factory=dict
    )

    def latest(
        self, time_ns: int, wanted: Callable[[int], bool]
    ) -> tuple[int, float] | None:
        best: tuple[int, float] | None = None
        for datum in self.stream:
            if datum.text is not None or datum.time_ns > time_ns:
                continue
            if wanted(datum.item) and (best is None or datum.time_ns >= best[0]):
                best = (datum.time_ns, datum.value)
        return best

    def part(self, group: int, role: Role, time_ns: int) -> tuple[int, float] | None:
        """Return the latest sample of a role; each question is worked out once."""
        key = (group, int(role), time_ns)
        if key not in self.memo:
            self.memo[key] = self.latest(time_ns, self.role(group, role))
        return self.memo[key]

    def role(self, group: int, role: Role) -> Callable[[int], bool]:
        return lambda item: bool(
            self.items.group[item] == group and self.items.role[item] == role
        )

    def groups(self) -> list[int]:
        roles = (Role.LATITUDE, Role.LONGITUDE, Role.FIX)
        pairs = zip(self.items.group.tolist(), self.items.role.tolist(), strict=True)
        return sorted({g for g, r in pairs if g >= 0 and r in roles})

    def where(
        self, group: int, time_ns: int, age_max_ns: int
    ) -> tuple[float, float] | None:
        """Return a sound and fresh position, or None."""
        lat = self.part(group, Role.LATITUDE, time_ns)
        lon = self.part(group, Role.LONGITUDE, time_ns)
        if lat is None or lon is None:
            return None
        if time_ns - min(lat[0], lon[0]) > age_max_ns:
            return None
        if not (abs(lat[1]) <= 90 and abs(lon[1]) <= 180):
            return None
        table = range(len(self.items))
        if any(self.role(group, Role.FIX)(item) for item in table):
            fix = self.part(group, Role.FIX, time_ns)
            if fix is None or not fix[1] > 0 or time_ns - fix[0] > 10 * S:
                return None
        return lat[1], lon[1]

    def moments(self, group: int) -> list[int]:
        lat, lon = self.role(group, Role.LATITUDE), self.role(group, Role.LONGITUDE)
        return sorted({d.time_ns for d in self.stream if lat(d.item) or lon(d.item)})


# --- Classification -------------------------------------------------------------------


def judge(condition: Condition, time_ns: int, world: World) -> bool | None:
    """Return whether a condition holds; None where nobody can know."""
    if isinstance(condition, ItemTest):
        found = world.latest(time_ns, lambda item: item in condition.items)
        if found is None or math.isnan(found[1]):
            return None
        a, b = found[1], condition.value
        answers = {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b}
        return {**answers, ">": a > b, ">=": a >= b}[condition.op]
    if isinstance(condition, ConsentTest):
        if condition.name not in world.consents:
            return False
        expires_ns = world.consents[condition.name]
        return time_ns < expires_ns if world.clock_ok else None
    if isinstance(condition, VolumeTest):
        is_above = condition.volume.name in world.passed or not world.clock_ok
        return is_above == condition.above
    if isinstance(condition, TimeTest):
        return in_hours(condition, time_ns) if world.clock_ok else None
    if all(world.where(group, time_ns, 10 * S) is None for group in world.groups()):
        return None
    inside = any(in_or_lingers(condition, g, time_ns, world) for g in world.groups())
    return inside == condition.inside


def in_or_lingers(test: ZoneTest, group: int, time_ns: int, world: World) -> bool:
    """Return whether a group counts as inside; one that is nowhere does not."""
    here = world.where(group, time_ns, 10 * S)
    inside = here is not None and any(in_zone(z, *here) for z in test.zones)
    for moment in world.moments(group):
        if not moment <= time_ns < moment + test.hysteresis_ns:
            continue
        lat = world.part(group, Role.LATITUDE, moment)
        lon = world.part(group, Role.LONGITUDE, moment)
        was = lat is not None and lon is not None
        was = was and any(in_zone(zone, lat[1], lon[1]) for zone in test.zones)
        if was and not test.lingers_outside:
            return True
        sound = world.where(group, moment, 10**6 * S) is not None
        if test.lingers_outside and sound and not was:
            return False
    return inside


def in_hours(test: TimeTest, time_ns: int) -> bool:
    minute_by_minute = (time_ns // S + test.utc_offset_s) % (7 * 86_400)
    day, second = divmod(minute_by_minute, 86_400)
    day = (day + 3) % 7
    if test.start_s <= test.end_s:
        return day in test.days and test.start_s <= second < test.end_s
    if second >= test.start_s:
        return day in test.days
    return second < test.end_s and (day - 1) % 7 in test.days


def decide(policy: CompiledPolicy, destination: int, datum: Datum, world: World) -> int:
    """Return the number of the first rule that applies; -1: none."""
    if not policy.items.classified[datum.item]:
        return -1
    for number in policy.destinations[destination].chain[datum.item].tolist():
        if number < 0:
            return -1
        rule = policy.rules[number]
        answers = [judge(c, datum.time_ns, world) for c in rule.conditions]
        if rule.action in {Action.DROP, Action.KEEP}:
            answers = [answer is not False for answer in answers]
        if all(answers):
            return int(number)
    return -1


# --- Geometry -------------------------------------------------------------------------


def in_zone(zone: Zone, lat: float, lon: float) -> bool:
    """Crossing number, or nearer to an edge than the buffer, on the zone's plane."""
    lat0 = (min(zone.latitude) + max(zone.latitude)) / 2
    lon0 = (min(zone.longitude) + max(zone.longitude)) / 2
    east = DEGREE_M * math.cos(math.radians(lat0))
    corners = [
        ((b - lon0) * east, (a - lat0) * DEGREE_M)
        for a, b in zip(zone.latitude, zone.longitude, strict=True)
    ]
    x, y = (lon - lon0) * east, (lat - lat0) * DEGREE_M
    odd, nearest = False, math.inf
    for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            odd = not odd
        square = (x2 - x1) ** 2 + (y2 - y1) ** 2
        part = ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / square if square else 0
        part = min(1.0, max(0.0, part))
        away = math.hypot(x - x1 - part * (x2 - x1), y - y1 - part * (y2 - y1))
        nearest = min(nearest, away)
    return odd or nearest <= zone.buffer_m


def metres(a: tuple[float, float], b: tuple[float, float]) -> float:
    turn = (b[1] - a[1] + 180) % 360 - 180
    scale = math.cos(math.radians((a[0] + b[0]) / 2))
    return DEGREE_M * math.hypot(b[0] - a[0], turn * scale)
