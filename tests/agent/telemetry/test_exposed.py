"""The metrics page, read back as it was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.records import StoreStatistics
from agent.telemetry.exposed import ROWS_MAX, parse_page
from agent.telemetry.prometheus import Family, exposition
from protocols.errors import WireError

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
EMPTY = StoreStatistics(0, 0, 0, 0, 0, 0, 0, 0)


@given(st.dictionaries(NAMES, st.integers(0, 2**50), max_size=6))
def test_what_was_exposed_is_read_back(losses: dict[str, int]) -> None:
    family = Family(
        "odd", "gauge", "", [({"a": cause, "b": "x"}, 0.5) for cause in losses]
    )
    page = parse_page(exposition((), EMPTY, {"online": 1.0}, losses, [family]))
    lost = [row for row in page.rows if row.name == "lost_total"]
    read = {row.labels["cause"]: row.value for row in lost}
    assert read == losses
    assert {row.labels["a"] for row in page.rows if row.name == "odd"} == set(losses)
    assert page.value("online") == 1.0
    assert page.value("absent", -1) == -1


@pytest.mark.parametrize(
    "line",
    ["x", "x{a=1} 2", 'x{a="1} 2', "x{} nan", "x +Inf", 'x{a="b"c="d"} 1', "x one"],
)
def test_another_page_is_refused(line: str) -> None:
    with pytest.raises(WireError, match="line 2"):
        parse_page("# HELP x\n" + line)


def test_a_page_without_end_is_refused() -> None:
    with pytest.raises(WireError, match="more than"):
        parse_page("x 1\n" * (ROWS_MAX + 1))
