"""D8: error frames by what they say, bursts across batches, buses that go."""

from __future__ import annotations

import json

import numpy as np

from agent.inspection.can_errors import BURST_FRAMES, BusErrors
from agent.inspection.findings import ALL_IDENTS, CanId, Level, View
from agent.inspection.kinds import kind_of
from agent.inspection.ocsf import Context, event
from agent.records import BusChange
from protocols.frames import CAN_ERR_FLAG, FrameBatch

ERR = CAN_ERR_FLAG
SECOND = 1_000_000_000


def frames(*rows: tuple[int, int, int, int]) -> FrameBatch:
    """Frames of (time ns, bus, can_id, data[1])."""
    payload = np.zeros((len(rows), 8), np.uint8)
    payload[:, 1] = [one for *_, one in rows]
    return FrameBatch(
        np.array([t for t, *_ in rows], np.int64),
        np.array([bus for _, bus, *_ in rows], np.uint8),
        np.array([ident for _, _, ident, _ in rows], np.uint32),
        np.full(len(rows), 8, np.uint8), np.zeros(len(rows), np.uint8), payload,
    )  # fmt: skip


def view(batch: FrameBatch, *changes: BusChange) -> View:
    return View(batch, np.full(len(batch), -2, np.int32), (), (), changes=changes)


def said(
    detector: BusErrors, batch: FrameBatch, *changes: BusChange
) -> list[tuple[str, Level, int, int]]:
    found = detector.inspect(view(batch, *changes))
    assert {one.subject.ident for one in found if isinstance(one.subject, CanId)} <= {
        ALL_IDENTS
    }
    return [
        (one.variant, one.level, one.subject.bus, one.count)
        for one in found
        if isinstance(one.subject, CanId)
    ]


def test_each_kind_of_trouble_is_told_by_bus() -> None:
    batch = frames(
        (1, 0, 0x123, 0xFF),  # a data frame, whatever it holds
        (2, 0, ERR | 0x40, 0),
        (3, 1, ERR | 0x4, 0x10), (4, 1, ERR | 0x4, 0x20),
        (5, 0, ERR | 0x4, 0x01),
        (6, 2, ERR | 0x80, 0), (7, 2, ERR | 0x4, 0x04),
    )  # fmt: skip
    assert said(BusErrors(), batch) == [
        ("bus-off", Level.ALERT, 0, 1),
        ("passive", Level.ALERT, 1, 2),
        ("overrun", Level.NOTICE, 0, 1),
        ("", Level.NOTICE, 2, 2),
    ]


def test_a_short_error_frame_tells_no_more_than_it_has() -> None:
    batch = frames((1, 0, ERR | 0x4, 0x10))
    batch.size[:] = 1
    assert said(BusErrors(), batch) == [("", Level.NOTICE, 0, 1)]


def test_a_burst_counts_across_batches_and_ends_with_its_second() -> None:
    detector = BusErrors()
    half = BURST_FRAMES // 2
    some = frames(*((5 * SECOND + n, 3, ERR | 0x80, 0) for n in range(half)))
    assert [row[0] for row in said(detector, some)] == [""]
    assert ("burst", Level.ALERT, 3, half) in said(detector, some)
    later = frames(*((6 * SECOND + n, 3, ERR | 0x80, 0) for n in range(half)))
    assert [row[0] for row in said(detector, later)] == [""]


def test_a_bus_that_goes_is_told_without_any_frame() -> None:
    gone = BusChange(1, 7 * SECOND, "absent")
    (finding,) = BusErrors().inspect(view(frames(), gone))
    assert (finding.variant, finding.level) == ("gone", Level.ALERT)
    assert kind_of(finding).title == "CAN interface gone"
    context = Context("gw-1", ("body", "drive"), b"", "good", "1")
    told = json.loads(event(finding, context, 0))
    assert told["device"]["interface_name"] == "drive"
    assert told["unmapped"]["can"] == {"bus": "drive"}
    assert told["finding_info"]["desc"] == "absent"


def test_nothing_is_said_of_data() -> None:
    assert BusErrors().inspect(view(frames((1, 0, 0x123, 1)))) == []
