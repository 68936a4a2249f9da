"""Which of two transforms, or lists of them, takes more away; which tests imply which.

All functions are partial orders or sound approximations of one: True is proved, False
is "not proved". Whoever asks counts what is not proved as a weakening (fail closed).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from policies.tables import (
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
    Round,
    TimeTest,
    TripEnds,
    VolumeTest,
    ZoneTest,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.tables import Condition, ItemTable, Transform, Zone

SUITES: Final = {  # larger: harder to open, today and in 30 years
    "x25519-aes256gcm": 1,
    "sm2-sm4gcm": 1,
    "mlkem768x25519-aes256gcm": 2,
}
_NEGATED: Final = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


# --- Transforms -----------------------------------------------------------------------


def takes_more(new: Sequence[Transform], old: Sequence[Transform]) -> bool:
    """Tell whether ``new`` takes away all that ``old`` does, or more.

    Every step of ``old`` must be found in ``new``, in the same order, at least as
    strong. Steps that ``new`` has beside them only take away: a transform drops samples
    or makes values coarser, and none gives back what another took.
    """
    steps = iter(new)
    return all(any(is_as_strong(one, step) for one in steps) for step in old)


def is_as_strong(new: Transform, old: Transform) -> bool:
    """Tell whether a step takes away all that another does, or more.

    By size (a grid of 1500 m is as strong as one of 1100 m): that two grids do not nest
    is no way back to the place. Steps of two kinds are never compared, but ``blank``
    takes whatever a step on values leaves.
    """
    if new == old:
        return True
    if isinstance(new, Blank):
        return isinstance(old, _ON_VALUES)
    return type(new) is type(old) and _stronger(new, old)


_ON_VALUES: Final = (Round, Clamp, Bucket, Grid, Mask, Pseudonymise, Noise)


def _stronger(new: Transform, old: Transform) -> bool:
    match new, old:
        case DropZones(), DropZones():
            longer = new.hysteresis_ns >= old.hysteresis_ns
            return longer and covers(new.zones, old.zones)
        case TripEnds(), TripEnds():  # a shorter silence ends more trips
            return new.length_m >= old.length_m and new.gap_ns <= old.gap_ns
        case Every(), Every():
            return new.period_ns >= old.period_ns
        case OnChange(), OnChange():
            return new.deadband >= old.deadband
        case Aggregate(), Aggregate():
            fewer = set(new.of) <= set(old.of)
            return new.window_ns >= old.window_ns and fewer
        case Pseudonymise(), Pseudonymise():  # of another purpose: not comparable
            return new.purpose == old.purpose and new.period_ns <= old.period_ns
        case _:
            return _stronger_on_values(new, old)


def _stronger_on_values(new: Transform, old: Transform) -> bool:
    match new, old:
        case Round(), Round():
            return new.step >= old.step and new.down == old.down
        case Clamp(), Clamp():
            return old.low <= new.low and new.high <= old.high
        case Bucket(), Bucket():
            return set(new.edges) <= set(old.edges)
        case Grid(), Grid():
            return new.size_m >= old.size_m
        case Mask(), Mask():
            first = new.keep_first <= old.keep_first
            return first and new.keep_last <= old.keep_last
        case Noise(), Noise():
            have, had = new.sensitivity / new.epsilon, old.sensitivity / old.epsilon
            return have >= had
        case _:
            return False


def covers(large: Sequence[Zone], small: Sequence[Zone]) -> bool:
    """Tell whether every polygon of ``small`` is in ``large``, its buffer no wider."""
    return all(any(_holds(one, zone) for one in large) for zone in small)


def _holds(large: Zone, small: Zone) -> bool:
    if large is small:
        return True
    same = replace(large, name=small.name, buffer_m=small.buffer_m) == small
    return same and large.buffer_m >= small.buffer_m


# --- Conditions -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NamedTest:
    """An ``ItemTest`` by (name, source), so that two item tables can be compared."""

    items: frozenset[tuple[str, str]]
    op: str
    value: float


Atom: TypeAlias = NamedTest | TimeTest | ZoneTest | ConsentTest | VolumeTest


def atom(condition: Condition, items: ItemTable) -> Atom:
    """Return a condition that does not speak of row numbers."""
    match condition:
        case ItemTest():
            source = items.source or ("",) * len(items)
            rows = frozenset((items.name[row], source[row]) for row in condition.items)
            return NamedTest(rows, condition.op, condition.value)
        case TimeTest() | ZoneTest() | ConsentTest() | VolumeTest():
            return condition
        case _:
            assert_never(condition)


def implies(one: Atom, other: Atom) -> bool:
    """Tell whether ``other`` holds wherever ``one`` does.

    Both are undecidable at the same moments wherever this is proved (the same item, the
    same clock, the same track), so that it is true of "is not known to fail", too.
    """
    if one == other:
        return True
    match one, other:
        case NamedTest(), NamedTest():
            return one.items == other.items and _within(one, other)
        case TimeTest(), TimeTest():
            return _window_within(one, other)
        case ZoneTest(), ZoneTest():
            if (one.inside, one.lingers_outside) != (
                other.inside,
                other.lingers_outside,
            ):
                return False
            if not _lingers_as_long(one, other):
                return False
            if one.inside:
                return covers(other.zones, one.zones)
            return covers(one.zones, other.zones)
        case VolumeTest(), VolumeTest():
            return _volume_within(one, other)
        case _:
            return False


def _lingers_as_long(one: ZoneTest, other: ZoneTest) -> bool:
    """Tell whether the hysteresis of ``one`` holds no moment that ``other`` excludes.

    The closing side grows with the hysteresis: what must be on the other side holds
    more rarely, what must be on it more often.
    """
    if one.inside == one.lingers_outside:
        return one.hysteresis_ns >= other.hysteresis_ns
    return one.hysteresis_ns <= other.hysteresis_ns


def excludes(one: Atom, other: Atom) -> bool:
    """Tell whether the two never hold at one moment."""
    match one, other:
        case NamedTest(), NamedTest():
            return implies(one, replace(other, op=_NEGATED[other.op]))
        case ZoneTest(), ZoneTest():
            return implies(one, replace(other, inside=not other.inside))
        case VolumeTest(), VolumeTest():
            return implies(one, replace(other, above=not other.above))
        case _:
            return False


def _volume_within(one: VolumeTest, other: VolumeTest) -> bool:
    """Tell it of two limits of one counter: of the same name, window and receivers."""
    limit, bound = one.volume.more_than, other.volume.more_than
    same = replace(one, volume=replace(one.volume, more_than=bound))
    return same == other and (limit >= bound if one.above else limit <= bound)


def _within(one: NamedTest, other: NamedTest) -> bool:
    """Tell whether all numbers that pass ``one`` pass ``other``."""
    a, b = one.value, other.value
    match one.op, other.op:
        case "==", op:
            return _passes(a, op, b)
        case ("<", "<" | "<=") | ("<=", "<="):
            return a <= b
        case "<=", "<":
            return a < b
        case (">", ">" | ">=") | (">=", ">="):
            return a >= b
        case ">=", ">":
            return a > b
        case (("<" | "<=" | ">" | ">="), "!="):
            return not _passes(b, one.op, a)
        case _:
            return False  # equal ones were told before


def _passes(value: float, op: str, bound: float) -> bool:
    return {
        "==": value == bound, "!=": value != bound, "<": value < bound,
        "<=": value <= bound, ">": value > bound, ">=": value >= bound,
    }[op]  # fmt: skip


def _window_within(one: TimeTest, other: TimeTest) -> bool:
    if one.utc_offset_s != other.utc_offset_s or not one.days <= other.days:
        return False
    if max(one.start_s - one.end_s, other.start_s - other.end_s) > 0:
        return (one.start_s, one.end_s) == (other.start_s, other.end_s)
    return other.start_s <= one.start_s and one.end_s <= other.end_s
