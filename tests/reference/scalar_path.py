"""Classification and transforms one sample at a time, in plain Python objects.

Written from the docstrings of ``policies/tables.py`` and the limits that the stages
document; shares no code with them, knows no batches (a whole stream at a time) and no
numpy. It is slow on purpose: "as of" looks at every earlier sample again.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from base64 import b32encode
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from policies.tables import (
    Action,
    Aggregate,
    Blank,
    Bucket,
    Clamp,
    ConsentTest,
    DropZones,
    Every,
    Grid,
    ItemTest,
    Mask,
    Noise,
    OnChange,
    Pseudonymise,
    Role,
    Round,
    TimeTest,
    TripEnds,
    Zone,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from policies.tables import CompiledPolicy, CompiledRule, Condition, ItemTable

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
    if isinstance(condition, TimeTest):
        return in_hours(condition, time_ns) if world.clock_ok else None
    places = [world.where(group, time_ns, 10 * S) for group in world.groups()]
    known = [place for place in places if place is not None]
    if not known:
        return None
    inside = any(in_zone(zone, *p) for p in known for zone in condition.zones)
    return inside == condition.inside


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


# --- Transforms: each maps a whole list to a list; losses go to the ledger ------------


@dataclass
class Ledger:
    """Where every datum went."""

    thinned: list[Datum] = field(default_factory=list)
    failed: list[Datum] = field(default_factory=list)
    held: int = 0


def run_rule(
    rule: CompiledRule,
    world: World,
    data: list[Datum],
    *,
    master: bytes = b"",
    entropy: Callable[[int], bytes] | None = None,
) -> tuple[list[Datum], Ledger]:
    """Return what a rule releases of a whole stream, without any wall clock."""
    ledger = Ledger()
    blanked = False
    for transform in rule.transforms:
        if not blanked and not isinstance(transform, Blank):
            data = _finite(data, ledger)
        match transform:
            case Round() | Clamp() | Bucket() | Blank():
                data = [_value(transform, d) for d in data]
            case Noise():
                data = _noise(transform, world, data, ledger, entropy)
            case Every():
                data = _every(transform, data, ledger)
            case OnChange():
                data = _on_change(transform, data, ledger)
            case Aggregate():
                data = _aggregate(transform, data, ledger)
            case Mask() | Pseudonymise():
                data = [_text(transform, world, d, master) for d in data]
            case Grid():
                data = _grid(transform, world, data, ledger)
            case DropZones():
                data = _drop_zones(transform, world, data, ledger)
            case TripEnds():
                data = _trip_ends(transform, world, data, ledger)
        blanked = blanked or isinstance(transform, Blank)
    return (data if blanked or not rule.transforms else _finite(data, ledger)), ledger


def _finite(data: list[Datum], ledger: Ledger) -> list[Datum]:
    ledger.failed += [d for d in data if not math.isfinite(d.value)]
    return [d for d in data if math.isfinite(d.value)]


def _value(transform: Round | Clamp | Bucket | Blank, datum: Datum) -> Datum:
    value = datum.value
    if isinstance(transform, Blank):
        if datum.text is not None:
            return replace(datum, text=b"")
        return replace(datum, value=math.nan)
    if isinstance(transform, Round):
        quotient = value / transform.step
        if not math.isfinite(quotient):
            return replace(datum, value=math.nan)
        whole = round(quotient)
        near = abs(quotient - whole) <= 1e-9 * max(1, abs(whole))
        if transform.down and not near:
            whole = math.floor(quotient)
        value = whole * transform.step
    elif isinstance(transform, Clamp):
        value = min(max(value, transform.low), transform.high)
    else:
        lower = [edge for edge in transform.edges if edge <= value]
        value = lower[-1] if lower else transform.edges[0]
    return replace(datum, value=value)


def _noise(
    noise: Noise,
    world: World,
    data: list[Datum],
    ledger: Ledger,
    entropy: Callable[[int], bytes] | None,
) -> list[Datum]:
    out: list[Datum] = []
    step = 2.0 ** math.floor(math.log2(noise.sensitivity / noise.epsilon) - 10)
    scale = (noise.sensitivity + step) / noise.epsilon
    for datum in data:
        role = world.items.role[datum.item]
        if role in {Role.LATITUDE, Role.LONGITUDE, Role.ALTITUDE}:
            ledger.failed.append(datum)
            continue
        assert entropy is not None
        draws = []
        for _ in range(2):
            bits = int.from_bytes(entropy(8), "little") >> 11
            uniform = (bits + 0.5) / 2**53
            draws.append(math.floor(math.log(uniform) * scale / -step))
        value = (round(datum.value / step) + draws[0] - draws[1]) * step
        out.append(replace(datum, value=value))
    return out


def _every(every: Every, data: list[Datum], ledger: Ledger) -> list[Datum]:
    served: dict[int, int] = {}
    out: list[Datum] = []
    for datum in data:
        period = datum.time_ns // every.period_ns
        if datum.item in served and period <= served[datum.item]:
            ledger.thinned.append(datum)
        else:
            served[datum.item] = period
            out.append(datum)
    return out


def _on_change(rule: OnChange, data: list[Datum], ledger: Ledger) -> list[Datum]:
    last: dict[int, Datum] = {}
    out: list[Datum] = []
    for datum in data:
        old = last.get(datum.item)
        if old is None:
            changed = True
        elif datum.text is not None:
            changed = datum.text != old.text
        else:
            changed = abs(datum.value - old.value) > rule.deadband
        if changed:
            last[datum.item] = datum
            out.append(datum)
        else:
            ledger.thinned.append(datum)
    return out


def _aggregate(rule: Aggregate, data: list[Datum], ledger: Ledger) -> list[Datum]:
    windows: dict[tuple[int, int], list[float]] = {}
    for datum in data:
        key = (datum.item, datum.time_ns // rule.window_ns)
        windows.setdefault(key, []).append(datum.value)
    latest = max((d.time_ns for d in data), default=0)
    out: list[Datum] = []
    for (item, window), values in windows.items():
        if latest < (window + 1) * rule.window_ns + S:
            ledger.held += len(values)
            continue
        total = math.fsum(values)
        results = {"min": min(values), "max": max(values), "sum": total}
        results |= {"count": float(len(values)), "last": values[-1]}
        results |= {"mean": total / len(values)}
        for name in rule.of:
            row = Datum(window * rule.window_ns, item, 0, results[name])
            out.append(replace(row, statistic=name, count=len(values)))
    return out


def _text(
    rule: Mask | Pseudonymise, world: World, datum: Datum, master: bytes
) -> Datum:
    if isinstance(rule, Pseudonymise):
        return _pseudonym(rule, world, datum, master)
    return replace(datum, text=_mask(rule, datum.text or b""))


def _mask(mask: Mask, text: bytes) -> bytes:
    letters = text.decode()
    if len(letters) <= mask.keep_first + mask.keep_last:
        return b"*" * len(letters)
    last = len(letters) - mask.keep_last
    shown = [
        c if not mask.keep_first <= i < last else "*" for i, c in enumerate(letters)
    ]
    return "".join(shown).encode()


def _pseudonym(rule: Pseudonymise, world: World, datum: Datum, master: bytes) -> Datum:
    info = f"{rule.purpose}/{datum.time_ns // rule.period_ns}".encode()
    extracted = hmac.new(bytes(32), master, hashlib.sha256).digest()  # RFC 5869 2.2
    key = hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()  # 2.3, one block
    text = datum.text
    if text is None:
        kind = int(world.items.kind[datum.item])
        number = datum.raw % 2**64 if kind == 1 else datum.raw
        text = (repr(datum.value) if kind == 2 else str(number)).encode()
    message = world.items.category[datum.item].encode() + b"\0" + text
    digest = hmac.new(key, message, hashlib.sha256).digest()
    return replace(datum, text=b32encode(digest)[:26], value=0.0)


def _grid(grid: Grid, world: World, data: list[Datum], ledger: Ledger) -> list[Datum]:
    out: list[Datum] = []
    high = grid.size_m / DEGREE_M
    for datum in data:
        role, group = world.items.role[datum.item], int(world.items.group[datum.item])
        lat: float | None = datum.value
        if role == Role.LONGITUDE:
            found = world.part(group, Role.LATITUDE, datum.time_ns)
            fresh = found is not None and datum.time_ns - found[0] <= 2 * S
            lat = found[1] if found is not None and fresh else None
        elif role != Role.LATITUDE:
            ledger.thinned.append(datum)
            continue
        if lat is None or not abs(lat) <= 90:
            ledger.failed.append(datum)
            continue
        centre = max(-90.0, min(90.0, (math.floor(lat / high) + 0.5) * high))
        if role == Role.LONGITUDE:
            wide = grid.size_m / (DEGREE_M * math.cos(math.radians(centre)))
            if not abs(datum.value) <= 180:
                ledger.failed.append(datum)
                continue
            centre = (math.floor(datum.value / wide) + 0.5) * wide
            centre = max(-180.0, min(180.0, centre))
        out.append(replace(datum, value=centre))
    return out


def _drop_zones(
    drop: DropZones, world: World, data: list[Datum], ledger: Ledger
) -> list[Datum]:
    out: list[Datum] = []
    told = {
        group: [(m, _inside(drop, world, group, m)) for m in world.moments(group)]
        for group in world.groups()
    }
    for datum in data:
        group = int(world.items.group[datum.item])
        if group < 0:
            ledger.failed.append(datum)
            continue
        stays = world.where(group, datum.time_ns, 2 * S) is not None
        before = [(m, inside) for m, inside in told[group] if m <= datum.time_ns]
        if before and before[-1][1]:
            stays = False
        if any(i and datum.time_ns - m < drop.hysteresis_ns for m, i in before):
            stays = False
        (out if stays else ledger.thinned).append(datum)
    return out


def _inside(drop: DropZones, world: World, group: int, time_ns: int) -> bool:
    lat = world.part(group, Role.LATITUDE, time_ns)
    lon = world.part(group, Role.LONGITUDE, time_ns)
    if lat is None or lon is None:
        return False
    return any(in_zone(zone, lat[1], lon[1]) for zone in drop.zones)


def _trip_ends(
    rule: TripEnds, world: World, data: list[Datum], ledger: Ledger
) -> list[Datum]:
    out: list[Datum] = []
    for datum in data:
        if world.items.group[datum.item] < 0:
            ledger.failed.append(datum)
    for group in sorted({int(g) for g in world.items.group if g >= 0}):
        mine = [d for d in data if world.items.group[d.item] == group]
        out += _one_trip_ends(rule, world, group, mine, ledger)
    return out


def _one_trip_ends(
    rule: TripEnds, world: World, group: int, data: list[Datum], ledger: Ledger
) -> list[Datum]:
    """Walk the anchors; keep for each datum its trip and the anchors around it."""
    gate = min(25.0, rule.length_m / 4)
    trips: list[list[tuple[int, float]]] = []  # per trip: (time, way) of its anchors
    place = (0.0, 0.0)
    for moment in world.moments(group):
        here = world.where(group, moment, 2 * S)
        if here is None:
            continue
        if not trips or moment - trips[-1][-1][0] >= rule.gap_ns:
            trips.append([(moment, 0.0)])
            place = here
        elif metres(place, here) > gate:
            trips[-1].append((moment, trips[-1][-1][1] + metres(place, here)))
            place = here
    out: list[Datum] = []
    for datum in data:
        begun = [t for t in trips if t[0][0] <= datum.time_ns]
        if not begun:
            ledger.thinned.append(datum)
            continue
        trip = begun[-1]
        passed = [a for a in trip if a[0] <= datum.time_ns]
        coming = [a for a in trip if a[0] > datum.time_ns]
        over = datum.time_ns - passed[-1][0] >= rule.gap_ns
        if over or passed[-1][1] <= rule.length_m:
            ledger.thinned.append(datum)
        elif coming and trip[-1][1] - coming[0][1] > rule.length_m:
            out.append(datum)
        elif trip is trips[-1]:
            ledger.held += 1
        else:
            ledger.thinned.append(datum)
    return out
