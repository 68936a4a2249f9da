"""What waits for the flow is bounded; what is shed is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.records import BusChange
from agent.sources.gathering import (
    CHANGES_WAITING_MAX,
    EXCHANGES_WAITING_MAX,
    Gathering,
)
from agent.sources.losses import Losses
from tests.support.pair_rows import Row, pair_batch

if TYPE_CHECKING:
    import pytest

READ = Row(b"\x03\x00\x00\x00\x01", b"\x03\x02\x00\x07")


def test_exchanges_come_as_arrivals_of_their_own_with_their_rules() -> None:
    gathering = Gathering(Losses())
    gathering.add_exchanges(pair_batch([READ]))
    gathering.add_exchanges(pair_batch([READ, READ]), ("poll",))
    tapped, proxied = gathering.arrivals(5, 5, last=False)
    assert (tapped.rules, proxied.rules) == (None, ("poll",))
    assert tapped.exchanges is not None
    assert proxied.exchanges is not None
    assert (len(tapped.exchanges), len(proxied.exchanges)) == (1, 2)
    (empty,) = gathering.arrivals(6, 6, last=True)
    assert (empty.now_ns, empty.exchanges, empty.frames) == (6, None, None)


def test_the_eldest_exchanges_go_where_there_is_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.sources.gathering.EXCHANGES_WAITING_MAX", 3)
    losses = Losses()
    gathering = Gathering(losses)
    for _ in range(3):
        gathering.add_exchanges(pair_batch([READ, READ]))
    assert losses.totals() == {"exchange queue": 4}
    assert len(gathering.arrivals(5, 5, last=False)) == 1
    assert EXCHANGES_WAITING_MAX == 65_536


def test_buses_that_went_away_are_told_first_and_are_bounded() -> None:
    losses = Losses()
    gathering = Gathering(losses)
    for number in range(CHANGES_WAITING_MAX + 2):
        gathering.add_change(BusChange(number % 256, number, "absent"))
    (arrival,) = gathering.arrivals(5, 5, last=False)
    assert len(arrival.changes) == CHANGES_WAITING_MAX
    assert arrival.changes[0].time_ns == 2
    assert losses.totals() == {"bus changes": 2}
    assert gathering.arrivals(6, 6, last=False)[0].changes == ()
