"""Which reads fetch a set of points: few, within the limits, never where forbidden.

A request costs a device far more than a few registers nobody wants, so reads are joined
across short gaps. They are not joined across a ``never`` range (registers that act when
they are read, or answer with an exception) nor across points that are polled at another
period: those would be decoded twice.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

from protocols.modbus.functions import (
    FUNCTIONS,
    READ_COILS,
    READ_DISCRETE,
    READ_HOLDING,
    READ_INPUT,
)
from protocols.modbus.values import BIT_TABLES, check_point

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from protocols.modbus.values import Point

READS: Final = (READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT)
FUNCTION: Final = {FUNCTIONS[code].table: code for code in READS}  # by table
REGISTERS_MAX: Final = FUNCTIONS[READ_HOLDING].quantity_max
BITS_MAX: Final = FUNCTIONS[READ_COILS].quantity_max
GAP_MAX: Final = (
    8  # registers: 16 bytes, less than the 12 + 9 bytes of one more ADU pair
)
BITS_A_REGISTER: Final = 16
PERIOD_NS: Final = 1_000_000_000

Where: TypeAlias = tuple[int, int, int]  # link, unit, table
Interval: TypeAlias = tuple[int, int]  # first, behind the last


@dataclass(frozen=True, slots=True, order=True)
class Read:
    """One read request; ``count`` registers, or bits in tables 0 and 1."""

    link: int
    unit: int
    function: int  # 1 coils, 2 discrete inputs, 3 holding, 4 input registers
    table: int
    address: int  # 0-based
    count: int
    period_ns: int


@dataclass(frozen=True, slots=True)
class NeverRange:
    """Registers (or bits) that no read may touch."""

    link: int
    unit: int
    table: int
    address: int  # 0-based
    count: int


@dataclass(frozen=True, slots=True)
class _Block:
    """Points that share registers, read as one; as often as the most urgent asks."""

    first: int
    end: int
    period_ns: int


def coalesce(
    points: Iterable[Point],
    never: Iterable[NeverRange] = (),
    *,
    gap_max: int = GAP_MAX,
    registers_max: int = REGISTERS_MAX,
    bits_max: int = BITS_MAX,
    period_ns: int = PERIOD_NS,
) -> list[Read]:
    """Return the reads that fetch every point and its scale factor, sorted.

    Every point lies in exactly one read. ``gap_max`` counts registers (16 times as many
    bits in tables 0 and 1); ``period_ns`` holds for points that name none. ValueError
    where a point is wrong, lies in a ``never`` range, or shares registers with others
    so that no one read holds them.
    """
    if period_ns < 1:
        raise ValueError("a period of at least 1 ns is needed")
    forbidden: dict[Where, list[Interval]] = defaultdict(list)
    for place in never:
        where = (place.link, place.unit, place.table)
        forbidden[where].append((place.address, place.address + place.count))
    wanted: dict[Where, list[_Block]] = defaultdict(list)
    for point in points:
        check_point(point)
        where = (point.link, point.unit, point.table)
        every_ns = point.period_ns or period_ns
        end = point.address + point.registers
        wanted[where].append(_Block(point.address, end, every_ns))
        factor = point.scale_factor
        if factor is not None:
            wanted[where].append(_Block(factor, factor + 1, every_ns))
    reads: list[Read] = []
    for where, spans in sorted(wanted.items()):
        bits = where[2] in BIT_TABLES
        limit = bits_max if bits else registers_max
        gap = gap_max * BITS_A_REGISTER if bits else gap_max
        blocks = _overlapping_joined(spans)
        barriers = _joined(forbidden.get(where, []))
        _refuse(where, blocks, barriers, limit)
        reads += _reads(where, blocks, barriers, gap, limit)
    return sorted(reads)


def _overlapping_joined(spans: Sequence[_Block]) -> list[_Block]:
    blocks: list[_Block] = []
    for span in sorted(spans, key=lambda s: (s.first, s.end)):
        last = blocks[-1] if blocks else None
        if last is not None and span.first < last.end:
            blocks[-1] = _Block(
                last.first,
                max(last.end, span.end),
                min(last.period_ns, span.period_ns),
            )
        else:
            blocks.append(span)
    return blocks


def _joined(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the same set as sorted, disjoint intervals."""
    joined: list[Interval] = []
    for first, end in sorted(i for i in intervals if i[0] < i[1]):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((first, end))
    return joined


def _meets(barriers: Sequence[Interval], first: int, end: int) -> bool:
    """Tell whether a barrier (sorted, disjoint) shares something with [first, end)."""
    index = bisect_right(barriers, first, key=lambda barrier: barrier[1])
    return first < end and index < len(barriers) and barriers[index][0] < end


def _refuse(
    where: Where, blocks: Sequence[_Block], barriers: Sequence[Interval], limit: int
) -> None:
    link, unit, table = where
    for block in blocks:
        place = f"link {link} unit {unit} table {table} address {block.first}"
        if block.end - block.first > limit:
            raise ValueError(f"{place}: overlapping points take more than {limit}")
        if _meets(barriers, block.first, block.end):
            raise ValueError(f"{place}: a point lies in a range never to be read")


def _reads(
    where: Where,
    blocks: Sequence[_Block],
    barriers: Sequence[Interval],
    gap: int,
    limit: int,
) -> list[Read]:
    """Join greedily from the left: with disjoint blocks no choice needs fewer reads."""
    link, unit, table = where
    reads: list[Read] = []
    for every_ns in sorted({block.period_ns for block in blocks}):
        mine = [block for block in blocks if block.period_ns == every_ns]
        others = [(b.first, b.end) for b in blocks if b.period_ns != every_ns]
        closed = _joined([*barriers, *others])
        cuts = [0]
        start = mine[0].first
        for index, (last, block) in enumerate(pairwise(mine), 1):
            if (
                block.first - last.end > gap
                or block.end - start > limit
                or _meets(closed, last.end, block.first)
            ):
                cuts.append(index)
                start = block.first
        for low, high in pairwise([*cuts, len(mine)]):
            first, end = mine[low].first, mine[high - 1].end
            reads.append(
                Read(link, unit, FUNCTION[table], table, first, end - first, every_ns)
            )
    return reads
