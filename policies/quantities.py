"""Quantities as people write them: durations, lengths, times of the week, names.

Every function takes text of a file and returns a number, or raises ValueError with a
reason that stands on its own: the caller adds file, line and path.
"""

from __future__ import annotations

import re
from typing import Final

from policies.errors import nearest, shown
from policies.tables import TimeTest

NS: Final = 1_000_000_000
DURATION_NS_MAX: Final = 100 * 365 * 86_400 * NS  # a century: still far below 2**63
LENGTH_M_MAX: Final = 1_000_000.0

_UNITS_NS: Final = {
    "ms": 1_000_000, "s": NS, "m": 60 * NS, "h": 3600 * NS,
    "d": 86_400 * NS, "w": 7 * 86_400 * NS, "y": 365 * 86_400 * NS,
}  # fmt: skip
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d|w|y)")
_LENGTH: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(m|km)")
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WINDOW: Final = re.compile(
    r"(?:(?P<days>[A-Za-z,-]+) )?(?P<from>[0-9]{2}:[0-9]{2})-(?P<to>[0-9]{2}:[0-9]{2})"
    r"(?: (?P<zone>Z|[+-][0-9]{2}:[0-9]{2}))?"
)


def duration_ns(text: str) -> int:
    """Return nanoseconds of ``250ms``, ``60s``, ``10m``, ``1.5h``, ``7d``, ``2w``."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise ValueError(
            f"not a duration: {shown(text)} (a number with ms, s, m, h, d, w or y,"
            " such as 60s)"
        )
    total = round(float(found[1]) * _UNITS_NS[found[2]])
    if not 0 < total <= DURATION_NS_MAX:
        raise ValueError(f"a duration between 1 ns and 100 y is needed: {shown(text)}")
    return total


def hysteresis_ns(text: str) -> int:
    """Return nanoseconds of a duration that may be nothing: ``0s``."""
    return 0 if text == "0s" else duration_ns(text)


def length_m(text: str) -> float:
    """Return metres of ``500m`` or ``1.1km``."""
    found = _LENGTH.fullmatch(text)
    if not found:
        raise ValueError(
            f"not a length: {shown(text)} (a number with m or km, such as 1100m)"
        )
    metres = float(found[1]) * (1000.0 if found[2] == "km" else 1.0)
    if not 0 < metres <= LENGTH_M_MAX:
        raise ValueError(f"a length up to {LENGTH_M_MAX / 1000:g} km is needed")
    return metres


def time_window(text: str) -> TimeTest:
    """Return the test of ``Mon-Fri 07:00-19:00 +08:00``; days and offset optional.

    A window that ends before it starts runs over midnight and belongs to the day on
    which it began.
    """
    found = _WINDOW.fullmatch(text)
    if not found:
        raise ValueError(
            f"not a time window: {shown(text)} (such as Mon-Fri 07:00-19:00 +08:00)"
        )
    start_s, end_s = _seconds(found["from"]), _seconds(found["to"])
    if start_s == end_s:
        raise ValueError(f"a time window that holds nothing: {shown(text)}")
    return TimeTest(_days(found["days"]), start_s, end_s, _offset_s(found["zone"]))


def _seconds(text: str) -> int:
    hours, minutes = int(text[:2]), int(text[3:])
    if minutes > 59 or hours * 60 + minutes > 24 * 60:
        raise ValueError(f"no such time of day: {shown(text)}")
    return hours * 3600 + minutes * 60


def _offset_s(text: str | None) -> int:
    if text is None or text == "Z":
        return 0
    hours, minutes = int(text[1:3]), int(text[4:])
    if minutes > 59 or hours > 14:
        raise ValueError(f"no such time zone offset: {shown(text)}")
    return (-1 if text[0] == "-" else 1) * (hours * 3600 + minutes * 60)


def _days(text: str | None) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        start = _day(first)
        end = _day(last) if last else start
        # Fri-Mon runs over the end of the week.
        days |= {(start + step) % 7 for step in range((end - start) % 7 + 1)}
    return frozenset(days)


def _day(text: str) -> int:
    name = text.capitalize()
    if name not in _DAYS:
        raise ValueError(f"no such day: {shown(text)} (one of {', '.join(_DAYS)})")
    return _DAYS.index(name)


_ITEM: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)+")
_GLOB_PART: Final = re.compile(r"\*\*|[A-Za-z0-9_*-]+")
NAME_CHARACTERS_MAX: Final = 200
STARS_MAX: Final = 3  # ``**`` in one pattern: each multiplies the ways to match


def item_name(text: str) -> str:
    """Return the item name; ValueError where it is not dotted names, two or more."""
    if len(text) > NAME_CHARACTERS_MAX or not _ITEM.fullmatch(text):
        raise ValueError(
            f"not an item name: {shown(text)} (dotted names, such as Vehicle.Speed)"
        )
    return text


def glob_parts(text: str) -> list[str]:
    """Return the parts of an item pattern; ValueError where it is none."""
    parts = text.split(".")
    if len(text) > NAME_CHARACTERS_MAX or not all(map(_GLOB_PART.fullmatch, parts)):
        raise ValueError(
            f"not an item pattern: {shown(text)} (such as Vehicle.Chassis.**)"
        )
    if parts.count("**") > STARS_MAX or any("**" in p and p != "**" for p in parts):
        raise ValueError(
            f"** stands alone between dots, {STARS_MAX} times at most: {shown(text)}"
        )
    return parts


class ItemGlob:
    """A pattern for items: ``*`` within one part, ``**`` any number of parts.

    ``Vehicle.Chassis.**`` is everything below; ``**.Latitude`` is Latitude anywhere.
    Its expression is compiled when an item begins and ends as the pattern does: of the
    hundreds in a catalogue most never meet one.
    """

    __slots__ = ("_expression", "_head", "_tail", "_text")

    def __init__(self, text: str) -> None:
        """Check the pattern; ValueError where it is none."""
        glob_parts(text)
        self._text = text
        self._head = text.partition("*")[0]
        before, _, tail = text.rpartition("*")
        # Of "**.Latitude" the dot may be missing: ** is any number of parts, or none.
        self._tail = tail.removeprefix(".") if before.endswith("*") else tail
        self._expression: re.Pattern[str] | None = None

    def fullmatch(self, item: str) -> bool:
        """Return whether the pattern is that of this item."""
        if not (item.startswith(self._head) and item.endswith(self._tail)):
            return False
        if self._expression is None:
            self._expression = re.compile(_expression(glob_parts(self._text)))
        return self._expression.fullmatch(item) is not None


def _expression(parts: list[str]) -> str:
    out = ""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            out += r"[^.]+(?:\.[^.]+)*" if last else r"(?:[^.]+\.)*"
        else:
            out += _part(part) + ("" if last else r"\.")
    return out


def _part(part: str) -> str:
    """Return the expression of one part of a pattern.

    What stands between two stars is taken where it is found first, once: to go back and
    look for a later one can find nothing more, and takes exponential time.
    """
    first, *rest = part.split("*")
    if not rest:
        return re.escape(part)
    *between, last = rest
    found = "".join(rf"(?>[^.]*?{re.escape(one)})" for one in between)
    return f"{re.escape(first)}{found}[^.]*{re.escape(last)}"


def specificity(pattern: str) -> tuple[int, int, int]:
    """Return how specific a pattern is; of several that match, the largest wins."""
    parts = pattern.split(".")
    literal = sum("*" not in part for part in parts)
    letters = sum(c != "*" for c in pattern)
    return literal, -parts.count("**"), letters


def one_of(text: str, known: tuple[str, ...], what: str) -> str:
    """Return ``text`` where it is one of ``known``; ValueError with the nearest."""
    if text not in known:
        hint = nearest(text, known) or f"one of {', '.join(known)}"
        raise ValueError(f"no such {what}: {shown(text)} ({hint})")
    return text
