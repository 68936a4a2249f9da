"""M11/other: two readers of one register."""

from __future__ import annotations

from agent.inspection.findings import Level
from agent.inspection.modbus_shadow import Differing
from tests.support.exchange_rows import HMI, STRANGER, Row, S, seen

LEARN = 200


def rows(begin: int, end: int, offset: int = 0, noise: int = 0) -> list[Row]:
    """The HMI reads every second, another every fifth, half a second later."""
    told = []
    for t in range(begin, end):
        wobble = noise * (t * 7919 % 11 - 5)
        told.append(Row(t * S, client=HMI, values=[1000 + t % 50 + offset + wobble]))
        if t % 5 == 0:
            value = 1000 + t % 50 + noise * (t * 104729 % 11 - 5)
            told.append(Row(t * S + S // 2, client=STRANGER, values=[value]))
    return told


def test_another_value_than_the_other_reader_sees_alarms() -> None:
    detector = Differing(learn_s=LEARN)
    assert detector.inspect(seen(rows(0, 400))) == []
    found = detector.inspect(seen(rows(400, 460, offset=5000)))
    assert found
    assert {(one.detector, one.variant, one.level) for one in found} == {
        ("M11", "other", Level.ALERT)
    }
    assert found[0].last_ns // S == 420
    assert "5" not in found[0].detail.replace("10.0.0.7", "")


def test_noise_that_begins_after_learning_is_no_difference() -> None:
    detector = Differing(learn_s=LEARN)
    assert detector.inspect(seen(rows(0, 400))) == []
    assert detector.inspect(seen(rows(400, 800, noise=4))) == []


def test_a_counter_that_wraps_is_no_difference() -> None:
    detector = Differing(learn_s=LEARN)
    told = []
    for t in range(600):
        at = (t * 150) & 0xFFFF
        told.append(Row(t * S, client=HMI, values=[at]))
        if t % 5 == 0:
            told.append(Row(t * S + 1, client=STRANGER, values=[(at + 1) & 0xFFFF]))
    assert detector.inspect(seen(told)) == []


def test_one_reader_alone_has_nobody_to_differ_from() -> None:
    detector = Differing(learn_s=LEARN)
    alone = [row for row in rows(0, 400) if row.client == HMI]
    assert detector.inspect(seen(alone)) == []
