"""Rules in words: conditions, transforms, actions and spans as people read them.

Used by ``explain`` and ``diff``. Every kind of condition and transform has its words:
the matches are exhaustive, so that mypy refuses a new kind that has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from policies.quantities import NS
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
    Round,
    TimeTest,
    TripEnds,
    VolumeTest,
    ZoneTest,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from policies.tables import CompiledRule, Condition, Transform, Zone

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
ACTIONS: Final = {
    Action.DROP: "is dropped",
    Action.KEEP: "is kept on the device, sealed to the custodian",
    Action.ALLOW: "leaves in the open",
    Action.ENCRYPT: "leaves sealed",
}
KEPT_BACK: Final = "is kept back"
_SPANS: Final = (("d", 86_400 * NS), ("h", 3600 * NS), ("min", 60 * NS), ("s", NS))


def span(time_ns: int) -> str:
    """Return a duration as people say it: ``60 s``, ``10 min``, ``1.5 h``, ``7 d``."""
    for name, size in _SPANS:
        if time_ns >= size and time_ns % size == 0:
            many = time_ns // size
            return "60 s" if (name, many) == ("min", 1) else f"{many} {name}"
    return f"{time_ns / NS:g} s" if time_ns >= NS else f"{time_ns / 1e6:g} ms"


def condition_words(condition: Condition, names: Sequence[str]) -> str:
    """Return one condition in words; ``names``: of the item table's rows."""
    match condition:
        case ItemTest():
            watched = sorted({names[row] for row in condition.items})
            what = " or ".join(watched) or "an item that is not bound here"
            return f"{what} {condition.op} {condition.value:g}"
        case TimeTest():
            return _window(condition)
        case ZoneTest():
            where = "inside" if condition.inside else "outside"
            return f"{where} {_zones(condition.zones)}{_lingering(condition)}"
        case ConsentTest():
            return f"with consent {condition.name}"
        case VolumeTest():
            return f"{'above' if condition.above else 'below'} {_volume(condition)}"
        case _:
            assert_never(condition)


def transform_words(step: Transform) -> str:
    """Return one transform in words."""
    match step:
        case DropZones():
            return f"not in {_zones(step.zones)}"
        case TripEnds():
            return f"first and last {step.length_m:g} m of a trip cut"
        case Every():
            return f"one in {span(step.period_ns)}"
        case OnChange():
            by = f" by more than {step.deadband:g}" if step.deadband else ""
            return f"only changes{by}"
        case Aggregate():
            return f"{', '.join(step.of)} of {span(step.window_ns)}"
        case Pseudonymise():
            return f"pseudonym for {step.purpose}, new every {span(step.period_ns)}"
        case _:
            return _value_words(step)


def _value_words(
    step: Round | Clamp | Bucket | Grid | Mask | Noise | Blank,
) -> str:
    match step:
        case Round():
            return f"rounded {'down ' if step.down else ''}to {step.step:g}"
        case Clamp():
            return f"clamped to {step.low:g} .. {step.high:g}"
        case Bucket():
            return f"{len(step.edges)} buckets"
        case Grid():
            return f"grid of {step.size_m:g} m"
        case Mask():
            return f"masked but {step.keep_first} first, {step.keep_last} last"
        case Noise():
            return f"noise of scale {step.sensitivity / step.epsilon:g}"
        case Blank():
            return "without its value"
        case _:
            assert_never(step)


def outcome_words(rule: CompiledRule) -> str:
    """Return what a rule does: its action and, in order, its transforms."""
    steps = ", ".join(map(transform_words, rule.transforms))
    return f"{ACTIONS[rule.action]} ({steps})" if steps else ACTIONS[rule.action]


def chain_words(rules: Iterable[CompiledRule], names: Sequence[str]) -> str:
    """Return the rules of one item at one place, in order, in words."""
    out: list[str] = []
    for rule in rules:
        tests = [condition_words(one, names) for one in rule.conditions]
        when = f" if {' and '.join(tests)}" if tests else ""
        out.append(f"{outcome_words(rule)}{when}")
        if not tests:
            return "; else ".join(out)
    return "; else ".join([*out, KEPT_BACK])


def _zones(zones: Iterable[Zone]) -> str:
    names = list(dict.fromkeys(zone.name for zone in zones))
    return f"{'zone' if len(names) == 1 else 'zones'} {', '.join(names)}"


def _volume(test: VolumeTest) -> str:
    volume = test.volume
    unit = f"spans of {span(volume.slot_ns)}" if volume.by_time else "samples"
    window = span(volume.window_ns)
    return f"the volume {volume.name} ({volume.more_than} {unit} in {window})"


def _lingering(test: ZoneTest) -> str:
    if not test.hysteresis_ns:
        return ""
    time = span(test.hysteresis_ns)
    opens = test.inside == test.lingers_outside  # it holds on the side that opens
    return f" for {time}" if opens else f" or {time} after"


def _window(test: TimeTest) -> str:
    days = "" if len(test.days) == len(DAYS) else f"{days_words(sorted(test.days))} "
    offset = abs(test.utc_offset_s) // 60
    sign = "-" if test.utc_offset_s < 0 else "+"
    zone = f"{sign}{offset // 60:02}:{offset % 60:02}" if offset else "UTC"
    return f"{days}{_clock(test.start_s)}-{_clock(test.end_s)} {zone}"


def _clock(second: int) -> str:
    return f"{second // 3600:02}:{second % 3600 // 60:02}"


def days_words(days: Sequence[int]) -> str:
    """Return days of the week, 0 Monday: ``Mon-Fri``, ``Sat,Sun``."""
    whole = days[-1] - days[0] + 1 == len(days) > 2
    if whole:
        return f"{DAYS[days[0]]}-{DAYS[days[-1]]}"
    return ",".join(DAYS[day] for day in days)
