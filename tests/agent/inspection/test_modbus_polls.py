"""M9: clocks of polls, learned, armed, late."""

from __future__ import annotations

from agent.inspection.findings import Finding, Level
from agent.inspection.modbus_polls import PollDeadline
from agent.inspection.modbus_seconds import KEYS_MAX
from protocols.modbus.exchanges import Problem
from tests.support.exchange_rows import STRANGER, Row, S, seen

LEARN = 100


def ticking(begin: int, end: int, **more: int) -> list[Row]:
    return [Row(t * S, **more) for t in range(begin, end)]


def others(begin: int, end: int) -> list[Row]:
    """Somebody else goes on, so that time does."""
    return ticking(begin, end, client=STRANGER, server=9, unit=3)


def run(detector: PollDeadline, *parts: list[Row]) -> list[Finding]:
    rows = sorted((row for part in parts for row in part), key=lambda r: r.time_ns)
    return detector.inspect(seen(rows))


def of_hmi(found: list[Finding]) -> list[Finding]:
    return [one for one in found if one.subject.client == "10.0.0.7"]


def test_a_poll_that_nobody_answers_alarms_after_three_periods() -> None:
    detector = PollDeadline(learn_s=LEARN)
    assert run(detector, ticking(0, 200)) == []
    silent = [
        Row(t * S, answered=False, problems=Problem.UNANSWERED) for t in range(200, 210)
    ]
    found = run(detector, silent)
    assert found[0].level is Level.ALERT
    assert found[0].last_ns == 203 * S
    assert found[0].detail == "read-holding-registers at 0 to 0: 4 of 1 s missed"
    assert found[0].bound is not None
    assert sum(one.count for one in found) == 10
    # It is answered again: all is well from the next second on.
    assert run(detector, ticking(210, 220))[1:] == []


def test_a_client_that_falls_silent_alarms_and_a_closed_page_is_a_notice() -> None:
    detector = PollDeadline(learn_s=LEARN)
    pages = [ticking(0, 200), ticking(0, 200, address=50), others(0, 200)]
    assert run(detector, *pages) == []
    closed = of_hmi(run(detector, ticking(200, 240), others(200, 240)))
    assert {one.level for one in closed} == {Level.NOTICE}
    silent = of_hmi(run(detector, others(240, 260)))
    assert Level.ALERT in {one.level for one in silent}


def test_what_keeps_no_time_is_never_armed() -> None:
    detector = PollDeadline(learn_s=LEARN)
    times, now = [], 0
    for i in range(60):
        now += 1 + (i * i) % 7
        times.append(Row(now * S))
    assert run(detector, times, others(0, now)) == []
    assert of_hmi(run(detector, others(now, now + 400))) == []


def test_a_gap_while_calibrating_begins_the_calibration_anew() -> None:
    detector = PollDeadline(learn_s=LEARN)
    early = of_hmi(run(detector, ticking(0, 70), others(0, 150)))
    assert {one.level for one in early} == {Level.NOTICE}
    # By the old calibration it would be armed at 100 s, by the new one at 190 s.
    run(detector, ticking(150, 180), others(150, 180))
    again = of_hmi(run(detector, others(180, 400)))
    assert {one.level for one in again} == {Level.NOTICE}


def test_a_scan_does_not_push_out_clocks() -> None:
    detector = PollDeadline(learn_s=LEARN)
    run(detector, ticking(0, 100))
    for part in range(3):
        scan = [
            Row(200 * S + i, client=STRANGER, address=i, unit=part + 1)
            for i in range(4000)
        ]
        detector.inspect(seen(scan))
    assert len(detector._polls) <= KEYS_MAX
    assert any(poll.period_ns > 0 for poll in detector._polls.values())
    assert detector.ignored > 0


def test_who_asks_under_ever_new_names_is_forgotten() -> None:
    detector = PollDeadline(learn_s=LEARN)
    for part in range(1, 4):
        detector.inspect(
            seen([
                Row(part * 100 * S + i, client=client, address=i)
                for i, client in enumerate(range(part * 3000, part * 3000 + 3000))
            ])
        )  # fmt: skip
    assert len(detector._asked) <= len(detector._polls) <= KEYS_MAX


def test_a_silence_of_all_is_no_poll_that_is_late() -> None:
    detector = PollDeadline(learn_s=LEARN)
    assert run(detector, ticking(0, 200), others(0, 200)) == []
    # The tap itself was away for an hour.
    again = run(detector, ticking(3800, 3900), others(3800, 3900))
    assert again == []
    silent = [Row(t * S, answered=False) for t in range(3900, 3910)]
    assert run(detector, silent)[0].level is Level.ALERT


def test_it_does_not_matter_how_batches_are_cut() -> None:
    rows = ticking(0, 150) + [
        Row(t * S, answered=False, problems=Problem.UNANSWERED) for t in range(150, 170)
    ]
    whole = PollDeadline(learn_s=LEARN).inspect(seen(rows))
    one_by_one = PollDeadline(learn_s=LEARN)
    assert [f for row in rows for f in one_by_one.inspect(seen([row]))] == whole
    assert whole
