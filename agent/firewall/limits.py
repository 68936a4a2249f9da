"""The limits of a rule that covers a request: value, change, rate, hours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from protocols.modbus.exchanges import Reason
from protocols.modbus.values import TYPES, numbers, patterns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.firewall.memory import Memory
    from agent.firewall.places import Part
    from policies.firewall.tables import FirewallRule, Hours
    from protocols.modbus.values import Point

MINUTE_NS: Final = 60 * 10**9
DAY_MIN: Final = 1440
EPOCH_DAY: Final = 3  # 1970-01-01 was a Thursday
EXPONENT_MAX: Final = 10  # SunSpec: scale factors are -10 to 10


def in_hours(hours: Hours, now_ns: int) -> bool:
    """Tell whether a time lies within weekly hours."""
    local_min = now_ns // MINUTE_NS + hours.offset_min
    day, minute = divmod(local_min, DAY_MIN)
    today = (day + EPOCH_DAY) % 7
    if hours.begin_min < hours.end_min:
        return today in hours.days and hours.begin_min <= minute < hours.end_min
    if minute >= hours.begin_min:
        return today in hours.days
    return minute < hours.end_min and (today - 1) % 7 in hours.days


def holds_now(rule: FirewallRule, now_ns: int, *, clock_ok: bool) -> bool:
    """Tell whether a rule's hours hold; without belief in the clock they do not."""
    return rule.hours is None or (clock_ok and in_hours(rule.hours, now_ns))


def broken_limit(
    rule: FirewallRule,
    place: tuple[int, int, int],
    part: Part,
    memory: Memory,
    now_ns: int,
    *,
    clock_ok: bool,
) -> Reason:
    """Return the first limit of an allow that does not hold, NONE where all do."""
    if not holds_now(rule, now_ns, clock_ok=clock_ok):
        return Reason.TIME
    if part.writes and (rule.value is not None or rule.max_delta is not None):
        wrong = _values(rule, place, part, memory)
        if wrong:
            return wrong
    if rule.rate is not None and memory.is_full(rule.name, rule.rate, now_ns):
        return Reason.RATE
    return Reason.NONE


def _values(
    rule: FirewallRule, place: tuple[int, int, int], part: Part, memory: Memory
) -> Reason:
    if part.values is None:
        return Reason.VALUE
    new = physical(rule.point, part.values, place, memory)
    if new is None:
        return Reason.VALUE
    if rule.value is not None:
        low, high = rule.value
        if not all(low <= one <= high for one in new):
            return Reason.VALUE
    if rule.max_delta is not None:
        raw = memory.last(place, part.address, part.size)
        old = None if raw is None else physical(rule.point, raw, place, memory)
        if old is None:
            return Reason.UNKNOWN_BEFORE
        if not all(abs(a - b) <= rule.max_delta for a, b in zip(new, old, strict=True)):
            return Reason.DELTA
    return Reason.NONE


def physical(
    point: Point | None,
    raw: Sequence[int],
    place: tuple[int, int, int],
    memory: Memory,
) -> list[float] | None:
    """Return values to compare: registers as they are, or an item in its unit.

    None where the registers mean no number: text, NaN, the pattern for "not
    implemented", or a scale factor that was never read.
    """
    if point is None:
        return [float(one) for one in raw]
    shape = TYPES[point.type].shape
    if len(raw) != point.registers or shape == "text":
        return None
    if shape == "coil":
        return [float(raw[0])]
    registers = np.array([raw], np.uint16)
    if (
        point.invalid is not None
        and int(patterns(registers, point.order)[0]) == point.invalid
    ):
        return None
    if shape == "bit":
        word = int(patterns(registers, point.order)[0])
        return [float(word >> (point.bit or 0) & 1)]
    _, number, valid = numbers(point.type, registers, point.order)
    if not valid[0] or not np.isfinite(number[0]):
        return None
    value = float(number[0])
    if point.scale_factor is None:
        return [value * point.scale + point.offset]
    told = memory.last(place, point.scale_factor, 1)
    if told is None:
        return None
    exponent = told[0] - 65_536 if told[0] >= 32_768 else told[0]
    if abs(exponent) > EXPONENT_MAX:
        return None
    return [float(value * 10.0**exponent)]
