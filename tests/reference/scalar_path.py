"""Transforms one sample at a time, in plain Python objects.

Written from the docstrings of ``policies/tables.py`` and of the stages; shares no code
with them. ``scalar_world.py`` holds the data, the geometry and classification.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from base64 import b32encode
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from policies.tables import (
    Aggregate,
    Blank,
    Bucket,
    Clamp,
    DropZones,
    Every,
    Grid,
    Mask,
    Noise,
    OnChange,
    Pseudonymise,
    Role,
    Round,
    TripEnds,
)
from tests.reference.scalar_world import DEGREE_M, Datum, S, World, in_zone, metres

if TYPE_CHECKING:
    from collections.abc import Callable

    from policies.tables import CompiledRule


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
