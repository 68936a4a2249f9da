"""The transform trip_ends: the first and last stretch of every trip are destroyed.

What is destroyed at the end of a trip cannot be known before the trip is over, so
samples wait until the vehicle has gone ``length_m`` further; a trip that ends destroys
what still waits.

Distance is counted between anchors: positions at least ``GATE_M`` from the one before.
GNSS jitter of a parked vehicle would otherwise add up to kilometres and release the
very place that the transform is to hide. For the same reason a trip ends not only with
silence, but when no anchor was passed for ``gap_ns``: a gateway that stays awake in the
garage is not on a trip. Counted so, the way between two anchors is never over the true
one, and a sample counts from the anchor after it: all errors are on the side of cutting
more.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from agent.geometry import distance_m
from agent.protection.positions import FRESH_NS
from agent.protection.rows import Rows, concat_rows
from agent.records import Outcome
from agent.track import NEVER_NS

if TYPE_CHECKING:
    from agent.protection.rows import Flow, Tally
    from policies.tables import ItemTable, TripEnds
    from protocols.frames import F64, I64, U32

GATE_M: Final = 25.0  # wander of a parked receiver among houses
_WIDTH: Final = 256  # positions looked at in one go for the next anchor


@dataclass(frozen=True, slots=True)
class _Leg:
    """Anchors of one trip that matter to one batch: when, and the way up to each."""

    anchors_ns: list[int]
    ways_m: list[float]


@dataclass(slots=True)
class _Trip:
    """One position group on its way."""

    seen_ns: int = NEVER_NS  # positions up to here are taken in
    anchor_ns: int = NEVER_NS  # when the last anchor was passed; NEVER: no trip
    latitude: float = 0.0
    longitude: float = 0.0
    way_m: float = 0.0  # from the trip's start to the anchor
    marks: list[float] = field(default_factory=list)  # ways at anchors still of use
    queue: deque[tuple[Rows, F64]] = field(default_factory=deque)  # way at each row


class TripEndsStep:
    """First and last ``length_m`` of every trip, for all items of the group."""

    def __init__(self, trip_ends: TripEnds, items: ItemTable, held_max: int) -> None:
        """``held_max``: samples that may wait; the oldest beyond it are thinned."""
        if not trip_ends.length_m > 0.0 or trip_ends.gap_ns <= 0:
            raise ValueError("trip_ends: senseless parameters")
        self._length_m = trip_ends.length_m
        self._gap_ns = trip_ends.gap_ns
        self._gate_m = min(GATE_M, trip_ends.length_m / 4)
        self._items = items
        self._held_max = held_max
        self._trips: dict[int, _Trip] = {}

    def apply(self, flow: Flow) -> None:
        """Take rows in; pass on those that lie ``length_m`` back. Texts fail."""
        flow.fail_texts()
        group = self._items.group[flow.rows.samples.item]
        flow.keep(group >= 0, Outcome.FAILED)
        rows = flow.rows
        time_ns = rows.samples.time_ns
        if (time_ns[1:] < time_ns[:-1]).any():
            rows = rows.take(np.argsort(time_ns, kind="stable"))
        group = self._items.group[rows.samples.item]
        out: list[Rows] = []
        for number in flow.track.groups:
            trip = self._trips.setdefault(number, _Trip())
            mine = rows.take(group == number)
            self._drive(trip, mine, number, flow, out)
            if trip.anchor_ns != NEVER_NS and self._over(trip, flow.now_ns):
                self._end(trip, flow.tally)
                trip.anchor_ns = NEVER_NS
        self._bound(flow.tally)
        # A group without coordinates has no track: nothing of it can be judged.
        flow.tally.add(
            Outcome.THINNED, rows.samples.item[~np.isin(group, flow.track.groups)]
        )
        flow.rows = concat_rows([*out, rows.take(slice(0, 0))])

    def held(self) -> tuple[tuple[U32, I64 | None], ...]:
        """Return the items of the samples that wait."""
        return tuple(
            (rows.samples.item, None)
            for trip in self._trips.values()
            for rows, _ in trip.queue
        )

    def destroy(self, tally: Tally) -> None:
        """End all trips (shutdown, policy swap): what waits is destroyed."""
        for trip in self._trips.values():
            self._end(trip, tally)

    def _over(self, trip: _Trip, time_ns: int) -> bool:
        return time_ns - trip.anchor_ns >= self._gap_ns

    def _drive(
        self, trip: _Trip, rows: Rows, group: int, flow: Flow, out: list[Rows]
    ) -> None:
        """Go along the batch's positions, leg by leg: destroy, queue, release."""
        moments = flow.track.moments(group)
        moments = moments[moments > trip.seen_ns]
        if len(moments):
            trip.seen_ns = int(moments[-1])
        at = flow.track.at(group, moments)
        good = at.sound & (at.age_ns <= FRESH_NS)
        legs = self._legs(trip, moments[good], at.latitude[good], at.longitude[good])
        starts = np.array([leg.anchors_ns[0] for leg in legs[1:]], np.int64)
        cuts = np.searchsorted(rows.samples.time_ns, starts, side="left").tolist()
        bounds = [0, *cuts, len(rows)]
        for number, leg in enumerate(legs):
            if number:
                self._end(trip, flow.tally)
            part = rows.take(slice(bounds[number], bounds[number + 1]))
            self._board(trip, part, leg, flow.tally)
            trip.marks += [way for way in leg.ways_m if way not in trip.marks[-1:]]
            self._release(trip, out)

    def _legs(self, trip: _Trip, time_ns: I64, lat: F64, lon: F64) -> list[_Leg]:
        """Advance the trip; return its leg so far, then one leg per trip that began.

        The loop is over anchors, which are few: 25 m apart.
        """
        legs = [_Leg([], [])]
        if trip.anchor_ns != NEVER_NS:
            legs = [_Leg([trip.anchor_ns], [trip.way_m])]
        row = 0
        while row < len(time_ns):
            step_m = 0.0
            if trip.anchor_ns != NEVER_NS:
                row, step_m = self._next(trip, row, time_ns, lat, lon)
                if row == len(time_ns):
                    break
            now_ns = int(time_ns[row])
            if trip.anchor_ns == NEVER_NS or self._over(trip, now_ns):
                trip.way_m = 0.0
                legs.append(_Leg([now_ns], [0.0]))
            else:
                trip.way_m += step_m
                legs[-1].anchors_ns.append(now_ns)
                legs[-1].ways_m.append(trip.way_m)
            trip.anchor_ns = now_ns
            trip.latitude, trip.longitude = float(lat[row]), float(lon[row])
            row += 1
        return legs

    def _next(
        self, trip: _Trip, row: int, time_ns: I64, lat: F64, lon: F64
    ) -> tuple[int, float]:
        """Return the next anchor's row and its distance; the row count where none."""
        while row < len(time_ns):
            window = slice(row, row + _WIDTH)
            here = np.full(len(lat[window]), trip.latitude)
            there = np.full(len(lat[window]), trip.longitude)
            away = distance_m(here, there, lat[window], lon[window])
            over = time_ns[window] - trip.anchor_ns >= self._gap_ns
            found = np.flatnonzero((away > self._gate_m) | over)
            if len(found):
                return row + int(found[0]), float(away[found[0]])
            row += _WIDTH
        return len(time_ns), 0.0

    def _board(self, trip: _Trip, rows: Rows, leg: _Leg, tally: Tally) -> None:
        """Queue the rows of a leg that are past the first stretch."""
        if not len(rows):
            return
        item, time_ns = rows.samples.item, rows.samples.time_ns
        if not leg.anchors_ns:  # no trip, no position: nothing can be said
            tally.add(Outcome.THINNED, item)
            return
        anchors = np.array(leg.anchors_ns, np.int64)
        index = np.searchsorted(anchors, time_ns, side="right") - 1
        way = np.array(leg.ways_m)[index]
        goes = (index >= 0) & (time_ns - anchors[index] < self._gap_ns)
        goes &= way > self._length_m
        tally.add(Outcome.THINNED, item[~goes])
        if goes.any():
            trip.queue.append((rows.take(goes), way[goes]))

    def _release(self, trip: _Trip, out: list[Rows]) -> None:
        """Let go what lies more than ``length_m`` before the last anchor.

        A row counts from the anchor that followed it.
        """
        if not trip.marks:
            return
        marks = np.array(trip.marks)
        passed = int(np.count_nonzero(marks[-1] - marks > self._length_m))
        if not passed:
            return
        trip.marks = trip.marks[passed - 1 :]
        if passed < 2:
            return
        limit = marks[passed - 2]
        while trip.queue:
            rows, way = trip.queue[0]
            goes = way <= limit
            if not goes.any():
                break
            trip.queue.popleft()
            out.append(rows.take(goes))
            if not goes.all():
                trip.queue.appendleft((rows.take(~goes), way[~goes]))
                break

    def _end(self, trip: _Trip, tally: Tally) -> None:
        """The trip is over: its last stretch is destroyed."""
        for rows, _ in trip.queue:
            tally.add(Outcome.THINNED, rows.samples.item)
        trip.queue.clear()
        trip.marks = []

    def _bound(self, tally: Tally) -> None:
        """Thin the oldest of what waits beyond ``held_max``."""
        waiting = [trip for trip in self._trips.values() if trip.queue]
        excess = sum(len(r) for t in waiting for r, _ in t.queue) - self._held_max
        while excess > 0:
            oldest = min(
                (trip for trip in waiting if trip.queue),
                key=lambda trip: int(trip.queue[0][0].samples.time_ns[0]),
            )
            rows, way = oldest.queue.popleft()
            gone = min(excess, len(rows))
            tally.add(Outcome.THINNED, rows.samples.item[:gone])
            if gone < len(rows):
                oldest.queue.appendleft((rows.take(slice(gone, None)), way[gone:]))
            excess -= gone
