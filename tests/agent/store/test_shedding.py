"""Who leaves when the disk does not suffice: the rule, without a database."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.records import Rank
from agent.store.accounting import Lost, Stored, ranges, shed, tally
from tests.support.store_cases import EPOCH, spool_record

ranks = st.sampled_from(list(Rank))
sizes = st.integers(min_value=1, max_value=50)


@given(
    st.lists(st.tuples(ranks, sizes)),
    st.lists(st.tuples(ranks, sizes)),
    st.integers(min_value=-10, max_value=2000),
)
def test_shedding_frees_what_is_asked_lowest_rank_and_oldest_first(
    stored: list[tuple[Rank, int]], incoming: list[tuple[Rank, int]], excess: int
) -> None:
    rows = sorted(
        (Stored(n, int(rank), size) for n, (rank, size) in enumerate(stored, 1)),
        key=lambda r: (r.rank, r.row),
    )
    records = [spool_record(n, rank, size) for n, (rank, size) in enumerate(incoming)]
    chosen = shed(rows, records, excess)
    # Oracle: everything in one order, taken until it suffices.
    order = sorted(
        [(r.rank, 0, r.row, r.size) for r in rows if r.rank < Rank.CONTROL]
        + [
            (int(r.rank), 1, i, len(r.body))
            for i, r in enumerate(records)
            if r.rank < Rank.CONTROL
        ]
    )
    gone, freed = [], 0
    for one in order:
        if freed >= excess:
            break
        gone.append(one)
        freed += one[3]
    assert set(chosen.rows) == {n for _, side, n, _ in gone if side == 0}
    assert chosen.refused == tuple(sorted(n for _, side, n, _ in gone if side == 1))
    assert chosen.short_bytes == max(excess - freed, 0)


def test_ranges_merge_neighbours_only() -> None:
    other = bytes(16)
    places = [(EPOCH, 4), (EPOCH, 2), (EPOCH, 3), (EPOCH, 9), (other, 5), (EPOCH, 3)]
    assert ranges(places) == ((other, 5, 5), (EPOCH, 2, 4), (EPOCH, 9, 9))


def test_tally_counts_every_record_once() -> None:
    lost = [
        Lost("data", 1, EPOCH, 7, 10, 100),
        Lost("data", 2, EPOCH, 8, 20, 200),
        Lost("data", 1, EPOCH, 8, 30, 300),
        Lost("telemetry", 1, b"", 0, 0, 5),
    ]
    rows = tally(lost, "refused")
    assert [(r.kind, r.label, r.records, r.bytes_used, r.samples) for r in rows] == [
        ("data", 1, 2, 400, 40),
        ("data", 2, 1, 200, 20),
        ("telemetry", 1, 1, 5, 0),
    ]
    assert rows[0].epoch_ranges == ((EPOCH, 7, 8),)
    assert rows[2].epoch_ranges == ()
    assert {r.cause for r in rows} == {"refused"}
