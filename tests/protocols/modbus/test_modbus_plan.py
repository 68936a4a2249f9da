"""Coalesced reads: every point once, within the limits, never where forbidden."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.modbus.plan import FUNCTION, NeverRange, Read, coalesce
from protocols.modbus.values import TYPES, Point

REGISTER_TYPES = ("u16", "i32", "f64", "string", "bit")


@st.composite
def points(draw: st.DrawFn) -> list[Point]:
    found = []
    for item in range(draw(st.integers(0, 25))):
        table = draw(st.sampled_from((0, 1, 3, 4)))
        name = "coil" if table < 3 else draw(st.sampled_from(REGISTER_TYPES))
        found.append(
            Point(
                item,
                link=draw(st.integers(0, 1)),
                unit=draw(st.integers(1, 2)),
                table=table,
                address=draw(st.integers(0, 400)),
                type=name,
                bit=3 if name == "bit" else None,
                length=draw(st.integers(1, 20)) if name == "string" else 0,
                scale_factor=(
                    draw(st.none() | st.integers(0, 400)) if name == "i32" else None
                ),
                period_ns=draw(st.sampled_from((0, 10**8, 10**10))),
            )
        )
    return found


NEVER = st.lists(
    st.builds(
        NeverRange,
        st.integers(0, 1),
        st.integers(1, 2),
        st.sampled_from((0, 1, 3, 4)),
        st.integers(0, 400),
        st.integers(0, 5),
    ),
    max_size=8,
)


def registers_of(read: Read) -> set[tuple[int, int, int, int]]:
    return {
        (read.link, read.unit, read.table, address)
        for address in range(read.address, read.address + read.count)
    }


def needed_by(point: Point) -> set[tuple[int, int, int, int]]:
    place = (point.link, point.unit, point.table)
    length = point.length or TYPES[point.type].registers
    return {(*place, point.address + i) for i in range(length)}


@given(
    points=points(),
    never=NEVER,
    gap=st.integers(0, 20),
    limit=st.integers(60, 125),
)
def test_every_point_is_inside_exactly_one_read(
    points: list[Point], never: list[NeverRange], gap: int, limit: int
) -> None:
    forbidden = {
        (n.link, n.unit, n.table, n.address + i) for n in never for i in range(n.count)
    }
    try:
        reads = coalesce(points, never, gap_max=gap, registers_max=limit, bits_max=200)
    except ValueError as error:
        assert "never" in str(error) or "overlapping" in str(error)  # noqa: PT017  # either reason is right
        return
    covered = [registers_of(read) for read in reads]
    for point in points:
        needed = needed_by(point)
        assert sum(needed <= some for some in covered) == 1
        assert sum(bool(needed & some) for some in covered) == 1
        [index] = [i for i, some in enumerate(covered) if needed <= some]
        assert reads[index].period_ns <= (point.period_ns or 10**9)
        if point.scale_factor is not None:
            factor = (point.link, point.unit, point.table, point.scale_factor)
            assert sum(factor in some for some in covered) == 1
    for read, some in zip(reads, covered, strict=True):
        assert 1 <= read.count <= (200 if read.table in {0, 1} else limit)
        assert read.function == FUNCTION[read.table]
        assert not some & forbidden
    assert reads == sorted(reads)
    assert reads == coalesce(
        points[::-1], never[::-1], gap_max=gap, registers_max=limit, bits_max=200
    )


@given(
    starts=st.lists(st.integers(0, 120), min_size=1, max_size=12, unique=True),
    gap=st.integers(0, 12),
)
def test_no_plan_of_disjoint_points_needs_fewer_reads(
    starts: list[int], gap: int
) -> None:
    """Against the best of all ways to cut the sorted points into reads."""
    limit = 30
    starts.sort()
    found = coalesce(
        [Point(0, 0, 1, 4, start, "u16") for start in starts],
        gap_max=gap,
        registers_max=limit,
    )

    @cache
    def best(first: int) -> int:
        if first == len(starts):
            return 0
        answers = []
        for last in range(first, len(starts)):
            if starts[last] + 1 - starts[first] > limit:
                break
            if last > first and starts[last] - starts[last - 1] - 1 > gap:
                break
            answers.append(1 + best(last + 1))
        return min(answers)

    assert len(found) == best(0)


def test_gaps_are_joined_up_to_the_limit_and_bits_count_sixteenfold() -> None:
    near = [Point(0, 0, 1, 3, 10, "u16"), Point(1, 0, 1, 3, 19, "f32")]
    assert coalesce(near) == [Read(0, 1, 4, 3, 10, 11, 10**9)]
    far = [Point(0, 0, 1, 3, 10, "u16"), Point(1, 0, 1, 3, 20, "f32")]
    assert len(coalesce(far)) == 2
    coils = [Point(0, 0, 1, 0, 0, "coil"), Point(1, 0, 1, 0, 129, "coil")]
    assert coalesce(coils) == [Read(0, 1, 1, 0, 0, 130, 10**9)]


def test_a_read_does_not_cross_a_never_range() -> None:
    points = [Point(0, 0, 1, 4, 0, "u16"), Point(1, 0, 1, 4, 4, "u16")]
    reads = coalesce(points, [NeverRange(0, 1, 4, 2, 1)])
    assert [(r.address, r.count) for r in reads] == [(0, 1), (4, 1)]
    assert len(coalesce(points, [NeverRange(0, 2, 4, 2, 1)])) == 1
    with pytest.raises(ValueError, match="never to be read"):
        coalesce(points, [NeverRange(0, 1, 4, 4, 1)])


def test_periods_keep_apart_unless_points_share_registers() -> None:
    fast = Point(0, 0, 1, 4, 5, "u16", period_ns=10**8)
    around = [Point(1, 0, 1, 4, 0, "u32"), Point(2, 0, 1, 4, 8, "u32")]
    periods = [(r.address, r.count, r.period_ns) for r in coalesce([fast, *around])]
    assert periods == [(0, 2, 10**9), (5, 1, 10**8), (8, 2, 10**9)]
    same = Point(3, 0, 1, 4, 5, "bit", bit=1, period_ns=10**10)
    assert [r.period_ns for r in coalesce([fast, same])] == [10**8]


def test_points_that_overlap_beyond_one_read_are_refused() -> None:
    points = [
        Point(0, 0, 1, 4, 0, "string", length=100),
        Point(1, 0, 1, 4, 50, "string", length=100),
    ]
    with pytest.raises(ValueError, match="overlapping"):
        coalesce(points)
