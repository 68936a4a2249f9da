"""M8: floods, learned rates, requests without replies."""

from __future__ import annotations

from agent.inspection.findings import Level
from agent.inspection.modbus_flood import Flood, FloodLimits
from protocols.modbus.exchanges import Problem, Verdict
from tests.support.exchange_rows import STRANGER, Row, S, seen


def burst(second: int, count: int, **more: int) -> list[Row]:
    return [Row(second * S + i * (S // count), **more) for i in range(count)]


def test_more_than_the_floor_by_somebody_new_is_a_flood() -> None:
    detector = Flood(learn_s=0)
    assert detector.inspect(seen(burst(1, 100) + burst(2, 50))) == []
    (found,) = detector.inspect(seen([*burst(3, 200, client=STRANGER), Row(9 * S)]))
    assert (found.level, found.variant, found.count) == (Level.ALERT, "", 200)
    assert found.detail == "200 requests in 1 s, ordinary are 100"


def test_three_times_what_was_learned_is_a_flood() -> None:
    detector = Flood(learn_s=100)
    ordinary = [row for t in range(0, 101, 10) for row in burst(t, 150)]
    told = detector.inspect(seen(ordinary))
    assert {one.level for one in told} <= {Level.NOTICE}
    detector.inspect(seen([Row(190 * S)]))
    assert detector.inspect(seen([*burst(200, 450), Row(210 * S)])) == []
    (found,) = detector.inspect(seen([*burst(220, 460), Row(230 * S)]))
    assert found.level is Level.ALERT
    assert found.bound is not None


def test_writes_and_refusals_are_told_apart() -> None:
    detector = Flood(learn_s=1000)
    rows = burst(1, 300, client=STRANGER, function=6, verdict=int(Verdict.REFUSED))
    (found,) = detector.inspect(seen([*rows, Row(9 * S)]))
    assert (found.level, found.variant) == (Level.ALERT, "write")
    assert found.refused
    assert not detector._most[:2].max() > 1


def test_five_hundred_requests_without_a_reply_in_ten_seconds() -> None:
    silent = int(Problem.UNANSWERED)
    rows = [
        row
        for t in range(1, 12)
        for row in burst(t, 55, problems=silent, answered=False)
    ]
    found = Flood(learn_s=5000).inspect(seen([*rows, Row(30 * S)]))
    assert found[0].detail == "550 requests without a reply in 10 s"
    assert found[0].level is Level.ALERT
    # Broadcasts are never answered, and what a proxy refuses was not asked.
    for more in ({"unit": 0}, {"verdict": int(Verdict.REFUSED)}):
        rows = [
            row for t in range(1, 12) for row in burst(t, 55, problems=silent, **more)
        ]
        assert Flood(learn_s=0).inspect(seen([*rows, Row(30 * S)])) == []


def test_limits_are_the_policys() -> None:
    detector = Flood(FloodLimits(per_second=10, times=1.0, unanswered=5), learn_s=0)
    (found,) = detector.inspect(seen([*burst(1, 11), Row(5 * S)]))
    assert found.count == 11
