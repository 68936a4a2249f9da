"""The firewall's book: nothing is told twice, nothing is forgotten, it is bounded."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.firewall.book import CELLS_MAX, FirewallBook, merged, restored
from agent.records import VerdictRow

ROWS = st.lists(
    st.builds(
        VerdictRow,
        st.sampled_from(["plc1", ""]),
        st.sampled_from(["poll", "speed", ""]),
        st.sampled_from(["allowed", "refused"]),
        st.sampled_from(["none", "value"]),
        st.integers(1, 9),
    ),
    max_size=12,
)


@given(before=ROWS, more=ROWS)
def test_a_power_cut_between_two_snapshots_loses_nothing(
    before: list[VerdictRow], more: list[VerdictRow]
) -> None:
    book = FirewallBook()
    book.add(before)
    document = book.with_more(more)  # in the transaction that makes ``more`` durable
    assert restored(document).grown() == merged([*before, *more])
    book.add(more)
    assert book.grown() == merged([*before, *more])
    book.told()
    assert (book.grown(), book.told_total) == (
        (), sum(row.count for row in [*before, *more]),
    )  # fmt: skip
    assert book.totals() == merged([*before, *more])


def test_it_is_bounded_and_still_adds_up() -> None:
    rows = [VerdictRow("plc1", f"r{n}", "allowed", "none", 1) for n in range(3000)]
    book = FirewallBook(rows)
    assert len(book.grown()) <= CELLS_MAX + 4
    assert sum(row.count for row in book.grown()) == 3000


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode([2, []]),
        msgspec.msgpack.encode([1, [["plc1", "", "refused", "value", 0]]]),
        msgspec.msgpack.encode([1, [{"link": 3}]]),
    ],
)
def test_a_damaged_book_is_no_book(document: bytes) -> None:
    with pytest.raises(ValueError, match="no book"):
        restored(document)
