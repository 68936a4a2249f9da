"""Numbers, ranges, functions and rates as people write them in ``modbus:``.

Every function returns what it read or raises ValueError with a reason that stands on
its own: the caller adds file, line and path.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from policies.errors import nearest, shown
from policies.firewall.tables import Hours, Rate
from policies.quantities import NS, time_window
from protocols.modbus.functions import (
    BY_NAME,
    DIAGNOSTICS,
    ENCAPSULATED,
    FUNCTION_MAX,
    FUNCTIONS,
)
from protocols.modbus.values import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from policies.firewall.tables import Spans

UNIT_MAX: Final = 255
ADDRESS_MAX: Final = 65_535
SUB_MAX: Final = 65_535
RATE_MAX: Final = 100_000
_RATE: Final = re.compile(r"([0-9]{1,6})/(s|min|h|d)")
_RATE_NS: Final = {"s": NS, "min": 60 * NS, "h": 3600 * NS, "d": 86_400 * NS}
# 8 and 43 read or write by their sub-function: whoever means them names them.
_BY_SUB: Final = frozenset({DIAGNOSTICS, ENCAPSULATED})
_PUBLIC: Final = frozenset(code for code, one in FUNCTIONS.items() if one.is_public)
_WRITES: Final = frozenset(code for code in _PUBLIC if FUNCTIONS[code].is_write)
GROUPS: Final = {
    "reads": _PUBLIC - _WRITES - _BY_SUB,
    "writes": _WRITES,
    "public": _PUBLIC,
    "vendor": frozenset(range(1, FUNCTION_MAX + 1)) - _PUBLIC,
}


def number_spans(told: int | Sequence[int | list[int]], most: int) -> Spans:
    """Return the ranges of ``7``, ``[1, 9]`` (from 1 to 9) or ``[1, 3, [5, 9]]``."""
    return _merged(_span(one, most) for one in _parts(told))


def _parts(told: object) -> list[object]:
    """Two plain numbers are one range; all else is a list of numbers and ranges."""
    if not isinstance(told, list | tuple):
        return [told]
    if len(told) == 2 and not any(isinstance(one, list) for one in told):
        return [list(told)]
    return list(told)


def _span(one: object, most: int) -> tuple[int, int]:
    ends = one if isinstance(one, list) else [one, one]
    plain = [end for end in ends if isinstance(end, int)]
    if len(ends) != 2 or len(plain) != 2:
        raise ValueError("a range has two ends, [from, to]")
    first, last = plain
    if not 0 <= first <= last <= most:
        raise ValueError(f"not a range within 0 to {most}: {shown([first, last])}")
    return first, last


def _merged(spans: Iterable[tuple[int, int]]) -> Spans:
    """Return ranges in order, joined where they touch: a request may lie over both."""
    out: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if out and first <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(last, out[-1][1]))
        else:
            out.append((first, last))
    if not out:
        raise ValueError("an empty list holds nothing")
    return tuple(out)


def address_spans(told: object) -> tuple[int | None, Spans]:
    """Return (table, ranges); the table of "40011", None where numbers say none."""
    tables: set[int] = set()

    def plain(one: object) -> object:
        if isinstance(one, list):
            return [plain(end) for end in one]
        if isinstance(one, str):
            table, address = parse_address(one)
            tables.add(table)
            return address
        return one

    spans = _merged(_span(plain(one), ADDRESS_MAX) for one in _parts(told))
    if len(tables) > 1:
        raise ValueError("addresses of two tables in one rule")
    return (tables.pop() if tables else None), spans


def functions(told: int | str | Sequence[int | str]) -> frozenset[int]:
    """Return function codes of numbers, names (``write-single-coil``) and groups."""
    out: set[int] = set()
    for one in [told] if isinstance(told, int | str) else told:
        if isinstance(one, int):
            if not 1 <= one <= FUNCTION_MAX:
                raise ValueError(f"function codes are 1 to {FUNCTION_MAX}, not {one}")
            out.add(one)
        elif one in GROUPS:
            out |= GROUPS[one]
        elif one in BY_NAME:
            out.add(BY_NAME[one])
        else:
            hint = nearest(one, [*GROUPS, *BY_NAME]) or "a code, a name or a group"
            raise ValueError(f"no such function: {shown(one)} ({hint})")
    if not out:
        raise ValueError("an empty list holds nothing")
    return frozenset(out)


def rate(text: str) -> Rate:
    """Return the rate of ``6/min``: s, min, h or d."""
    found = _RATE.fullmatch(text)
    if not found or not 1 <= int(found[1]) <= RATE_MAX:
        raise ValueError(
            f"not a rate: {shown(text)} (such as 6/min; s, min, h or d; at least 1)"
        )
    return Rate(int(found[1]), _RATE_NS[found[2]])


def hours(text: str) -> Hours:
    """Return the hours of ``Mon-Fri 07:00-19:00 +08:00``."""
    window = time_window(text)
    return Hours(
        window.days,
        window.start_s // 60,
        window.end_s // 60,
        window.utc_offset_s // 60,
    )


def value_range(told: tuple[float, float]) -> tuple[float, float]:
    """Return (low, high)."""
    low, high = told
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError("a range of values is [low, high]")
    return low, high
