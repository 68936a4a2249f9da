"""Zone conditions: where each position group was, and for how long it lingers. Pure.

One side of a zone's border closes (``policies.tables.ZoneTest``): a position on it
counts at once, and until the hysteresis is over. Inside lingers by the coordinates
alone, whatever the fix: a bad fix inside may be inside. Outside lingers by sound
positions. The state is judged once per batch at the moments of the coordinates; a
condition only looks it up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from agent.geometry import areas
from agent.track import NEVER_NS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.geometry import Area
    from agent.track import Track
    from policies.tables import ItemTable, Zone, ZoneTest
    from protocols.frames import I64, Bool

POSITION_FRESH_NS: Final = 10_000_000_000  # an older position decides nothing


@dataclass(frozen=True, slots=True)
class _Stay:
    """One group and one set of zones during one batch."""

    moments: I64  # [M] rising
    inside: Bool  # [M + 1] whether inside; the first: before any moment, no
    inside_ns: I64  # [M + 1] last moment inside so far; the first: before this batch
    outside_ns: I64  # [M + 1] last moment soundly outside so far


class Places:
    """Answers zone conditions; carries the last moment on either side."""

    def __init__(self, zones: Iterable[tuple[Zone, ...]], items: ItemTable) -> None:
        """Take every set of zones that a condition names."""
        groups = sorted(set(items.group[items.group >= 0].tolist()))
        self._areas: dict[tuple[Zone, ...], dict[int, Area]] = {
            one: areas(one, groups, items.gcj02) for one in zones
        }
        self._stays: dict[tuple[tuple[Zone, ...], int], _Stay] = {}
        self._track: Track | None = None

    def observe(self, track: Track) -> None:
        """Take the track of a batch in: once per batch, before any ``judge``."""
        self._track = track
        with np.errstate(all="ignore"):  # coordinates may be any bit pattern
            for zones, by_group in self._areas.items():
                for group in track.groups:
                    key = zones, group
                    old = self._stays.get(key)
                    self._stays[key] = _stay(track, group, by_group[group], old)

    def judge(self, test: ZoneTest, time_ns: I64) -> tuple[Bool, Bool]:
        """Return (holds, undecidable) [N] bool each; see ``Context.judge``.

        By every group with a fresh fix; inside: any of them is.
        """
        # Many samples share one moment (signals of one frame): judge each once.
        times, back = np.unique(time_ns, return_inverse=True)
        known = np.zeros(len(times), np.bool_)
        inside = np.zeros(len(times), np.bool_)
        track = self._track
        for group in track.groups if track is not None else ():
            assert track is not None  # for the type checker: the loop says so
            stay = self._stays[test.zones, group]
            at = track.at(group, times)
            fresh = at.sound & (at.age_ns <= POSITION_FRESH_NS)
            before = np.searchsorted(stay.moments, times, side="right")
            within = stay.inside[before] & fresh
            if test.hysteresis_ns:
                last_ns = stay.outside_ns if test.lingers_outside else stay.inside_ns
                lingers = times - last_ns[before] < test.hysteresis_ns
                within = within & ~lingers if test.lingers_outside else within | lingers
            inside |= within
            known |= fresh
        holds = (inside if test.inside else ~inside) & known
        return holds[back], ~known[back]


def _stay(track: Track, group: int, area: Area, old: _Stay | None) -> _Stay:
    """Return where a group was at the moments of its coordinates in this batch."""
    moments = track.moments(group)
    at = track.at(group, moments)
    inside = area.contains(at.latitude, at.longitude)
    outside = ~inside & at.sound
    never = np.array([NEVER_NS])
    inside_ns, outside_ns = never, never
    if old is not None:
        inside_ns, outside_ns = old.inside_ns[-1:], old.outside_ns[-1:]
    return _Stay(
        moments,
        np.concatenate(([False], inside)),
        _last(inside_ns, moments, inside),
        _last(outside_ns, moments, outside),
    )


def _last(before: I64, moments: I64, there: Bool) -> I64:
    """Return the last moment so far [M + 1], ``before`` [1] first."""
    marked = np.where(there, moments, NEVER_NS)
    return np.maximum.accumulate(np.concatenate((before, marked)))
