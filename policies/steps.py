"""The ``do`` list of a rule: transforms in order, then one action.

``{grid: 1100m}`` becomes ``tables.Grid(1100.0)``; ``encrypt`` becomes the action. Each
function raises PolicyError at its own path.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeVar

from policies.datum import converted, to_gcj02, to_wgs84
from policies.errors import PolicyError, nearest, shown
from policies.model import (
    ZONE_POINTS_MAX,
    RoundStep,
    Step,
    TripEndsStep,
    ZonesStep,
)
from policies.parse import HASH_HINT, HASH_REASON, is_hash
from policies.quantities import duration_ns, hysteresis_ns, length_m
from policies.tables import (
    Action,
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
    Round,
    TripEnds,
    Zone,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from policies.datum import Point
    from policies.model import Policy, ZoneFile
    from policies.model_base import Names
    from policies.parse import Document
    from policies.tables import Transform
    from policies.yaml_tree import Path

ACTIONS: Final = {action.name.lower(): action for action in Action}
BUCKET_EDGES_MAX: Final = 1000
GRID_M_MIN: Final = 1.0
ZONE_BUFFER_M: Final = 500.0  # T62: the buffer is ours
POINTS_MIN: Final = 3

T = TypeVar("T")


class StepReader:
    """Reads the steps and zones of one policy."""

    def __init__(self, document: Document[Policy], *, gcj02: bool = False) -> None:
        """Compile the zones; PolicyError where one has no area.

        ``gcj02``: some bound position is of that datum and will meet the zones.
        """
        self._document = document
        self._gcj02 = gcj02
        self.zones: dict[str, tuple[Zone, ...]] = {}
        points = 0
        for name, zone in document.model.zones.items():
            self.zones[name] = self._zone(name, zone)
            points += sum(len(part.latitude) for part in self.zones[name])
            if points > ZONE_POINTS_MAX:
                reason = f"more than {ZONE_POINTS_MAX} points in all zones"
                raise document.error(("zones", name), reason)

    def read(self, number: int, purpose: str) -> tuple[tuple[Transform, ...], Action]:
        """Return (transforms in order, action) of rule ``number``.

        ``purpose`` is the one of the rule, for pseudonyms that name none themselves.
        """
        rule = self._document.model.rules[number]
        path: Path = ("rules", number, "do")
        transforms: list[Transform] = []
        action: Action | None = None
        for index, step in enumerate(rule.do):
            here = (*path, index)
            if action is not None:
                raise self._document.error(here, "nothing comes after the action")
            if isinstance(step, Step):
                transforms.append(self._step(step, here, purpose))
            elif step in ACTIONS:
                action = ACTIONS[step]
            elif step == "blank":
                transforms.append(Blank())
            else:
                raise self._no_such(step, here)
        if action is None:
            known = ", ".join(ACTIONS)
            raise self._document.error(
                path, "ends without an action", f"one of {known}"
            )
        if transforms and action == Action.DROP:
            raise self._document.error(path, "what is dropped is not transformed")
        return tuple(transforms), action

    def zone_list(self, names: Names, path: Path) -> tuple[Zone, ...]:
        """Return the polygons of one or more named zones."""
        out: list[Zone] = []
        for name in [names] if isinstance(names, str) else names:
            if name not in self.zones:
                hint = nearest(name, self.zones) or "zones are named under zones:"
                raise self._document.error(path, f"no such zone: {shown(name)}", hint)
            out += self.zones[name]
        if not out:
            raise self._document.error(path, "names no zone")
        return tuple(out)

    def quantity(self, read: Callable[[str], T], text: str, path: Path) -> T:
        """Return ``read(text)``; its ValueError becomes a PolicyError at ``path``."""
        try:
            return read(text)
        except ValueError as error:
            raise self._document.error(path, str(error)) from None

    def _no_such(self, word: str, path: Path) -> PolicyError:
        if is_hash(word):
            return self._document.error(path, HASH_REASON, HASH_HINT)
        if word in Step.__struct_fields__:
            hint = f"write {{{word}: ...}}"
            return self._document.error(path, f"{word} needs its parameters", hint)
        hint = nearest(word, (*ACTIONS, "blank", *Step.__struct_fields__))
        return self._document.error(path, f"no such step: {shown(word)}", hint)

    def _step(self, step: Step, path: Path, purpose: str) -> Transform:
        fields = [f for f in Step.__struct_fields__ if getattr(step, f) is not None]
        if len(fields) != 1:
            hint = "one list entry for each"
            raise self._document.error(path, "needs exactly one transform", hint)
        here = (*path, fields[0])
        try:
            return self._of_values(step) or self._of_places(step, here, purpose)
        except ValueError as error:
            if isinstance(error, PolicyError):
                raise
            raise self._document.error(here, str(error)) from None

    def _of_values(self, step: Step) -> Transform | None:
        """Return a transform whose parameters are plain numbers; None: another one."""
        if step.round is not None:
            given = step.round
            if not isinstance(given, RoundStep):
                given = RoundStep(step=given)
            _need(given.step > 0, "a step above 0 is needed")
            return Round(given.step, given.down)
        if step.clamp is not None:
            _need(step.clamp.low <= step.clamp.high, "low lies above high")
            return Clamp(step.clamp.low, step.clamp.high)
        if step.bucket is not None:
            edges = tuple(map(float, step.bucket))
            _need(1 <= len(edges) <= BUCKET_EDGES_MAX, "1 to 1000 edges are needed")
            _need(all(a < b for a, b in pairwise(edges)), "edges must rise")
            return Bucket(edges)
        if step.on_change is not None:
            _need(step.on_change >= 0, "a dead band is not negative")
            return OnChange(step.on_change)
        if step.mask is not None:
            return Mask(step.mask.keep_first, step.mask.keep_last)
        if step.noise is not None:
            good = step.noise.epsilon > 0 and step.noise.sensitivity > 0
            _need(good, "epsilon and sensitivity above 0 are needed")
            return Noise(step.noise.epsilon, step.noise.sensitivity)
        return None

    def _of_places(self, step: Step, path: Path, purpose: str) -> Transform:
        """Return a transform with quantities or names in it."""
        if step.grid is not None:
            size = length_m(step.grid)
            _need(size >= GRID_M_MIN, "a grid of 1 m or more is needed")
            return Grid(size)
        if step.every is not None:
            return Every(duration_ns(step.every))
        if step.drop_zones is not None:
            zones = step.drop_zones
            if not isinstance(zones, ZonesStep):
                zones = ZonesStep(zones=zones)
            hysteresis = self.quantity(
                hysteresis_ns, zones.hysteresis, (*path, "hysteresis")
            )
            return DropZones(self.zone_list(zones.zones, path), hysteresis)
        if step.trip_ends is not None:
            ends = step.trip_ends
            if not isinstance(ends, TripEndsStep):
                ends = TripEndsStep(length=ends)
            gap = self.quantity(duration_ns, ends.gap, (*path, "gap"))
            return TripEnds(length_m(ends.length), gap)
        if step.aggregate is not None:
            statistics = tuple(step.aggregate.of)
            _need(bool(statistics), "of names no statistic")
            _need(len(set(statistics)) == len(statistics), "a statistic is there twice")
            window = duration_ns(step.aggregate.window)
            return Aggregate(window, statistics)
        assert step.pseudonymise is not None  # one field is set, and it is this
        name = step.pseudonymise.purpose or purpose
        _need(bool(name), "a pseudonym is made for a purpose, and there is none")
        period = duration_ns(step.pseudonymise.period)
        return Pseudonymise(name, period)

    def _zone(self, name: str, zone: ZoneFile) -> tuple[Zone, ...]:
        path: Path = ("zones", name)
        buffer_m = ZONE_BUFFER_M
        if zone.buffer is not None:
            buffer_m = self.quantity(length_m, zone.buffer, (*path, "buffer"))
        out: list[Zone] = []
        for index, polygon in enumerate(zone.polygons):
            here = (*path, "polygons", index)
            if len(polygon) < POINTS_MIN:
                raise self._document.error(here, "a polygon has three points or more")
            for number, (latitude, longitude) in enumerate(polygon):
                if not (abs(latitude) <= 90 and abs(longitude) <= 180):
                    reason = "not a latitude and longitude in degrees"
                    raise self._document.error((*here, number), reason)
            try:
                out.append(self._shape(name, zone.datum, polygon, buffer_m))
            except ValueError as error:
                raise self._document.error(here, str(error)) from None
        return tuple(out)

    def _shape(
        self, name: str, datum: str, polygon: list[Point], buffer_m: float
    ) -> Zone:
        """Return a polygon in WGS-84 and, where somebody is there, in GCJ-02."""
        wgs84 = gcj02 = polygon
        if datum == "GCJ-02":
            wgs84 = converted(polygon, to_wgs84, ZONE_POINTS_MAX)
        elif self._gcj02:
            gcj02 = converted(polygon, to_gcj02, ZONE_POINTS_MAX)
        latitudes, longitudes = zip(*wgs84, strict=True)
        if not self._gcj02:
            return Zone(name, latitudes, longitudes, buffer_m)
        north, east = zip(*gcj02, strict=True)
        return Zone(name, latitudes, longitudes, buffer_m, (north, east))


def _need(good: bool, reason: str) -> None:
    if not good:
        raise ValueError(reason)
