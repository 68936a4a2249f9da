"""Groups of rows: complete, in order, and bounded."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.inspection.findings import ALL_UNITS, NO_HOST
from agent.inspection.modbus_groups import GROUPS_MAX, OTHERS, asked, groups, name_of
from protocols.modbus.exchanges import UNLISTED
from tests.support.examples import upto
from tests.support.exchange_rows import NAMES, Row, S, exchanges

ONE = st.tuples(st.integers(0, 3), st.integers(1, 3), st.booleans())


@settings(max_examples=upto(50))
@given(st.lists(ONE, max_size=30))
def test_every_odd_row_is_in_one_group_with_its_like(
    told: list[tuple[int, int, bool]],
) -> None:
    rows = exchanges([Row(i, client=c, unit=u) for i, (c, u, _) in enumerate(told)])
    odd = np.array([is_odd for _, _, is_odd in told], np.bool_)
    found = [*groups(rows, odd, NAMES)]
    assert sorted(r for one in found for r in one.rows.tolist()) == [
        i for i, (_, _, is_odd) in enumerate(told) if is_odd
    ]
    for one in found:
        mine = one.rows.tolist()
        assert mine == sorted(mine)
        assert {(NAMES[told[r][0]], told[r][1]) for r in mine} == {
            (one.subject.client, one.subject.unit)
        }


def test_more_groups_than_the_bound_are_told_together() -> None:
    told = [Row(i, server=i % 1000, unit=1) for i in range(1500)]
    rows = exchanges(told)
    found = [*groups(rows, np.ones(1500, np.bool_), NAMES)]
    assert len(found) == GROUPS_MAX + 1
    assert sum(len(one.rows) for one in found) == 1500
    (rest,) = [one.subject for one in found if one.subject.client == OTHERS]
    assert (rest.server, rest.link, rest.unit) == (NO_HOST, UNLISTED, ALL_UNITS)


def test_what_was_asked_in_few_words() -> None:
    told = [Row(S, function=f, address=f) for f in (1, 2, 3, 4, 5, 6)]
    rows = exchanges(
        [*told, Row(S, function=17), Row(S, function=16, address=9, count=3)]
    )
    assert asked(rows, np.array([0])) == "read-coils at 1"
    assert asked(rows, np.array([6])) == "report-server-id"
    assert asked(rows, np.array([7])) == "write-multiple-registers at 9 to 11"
    assert asked(rows, np.arange(8)).endswith("4 more functions at 1 to 11")


def test_a_peer_that_nobody_named_has_a_number() -> None:
    assert name_of(2, ["others", "a"]) == "peer-2"
