"""D1 and D2 against a slow judge, and their thresholds."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.inspection.findings import CanId, Finding, Level, View
from agent.inspection.frames import UnknownIdentifier, WrongShape
from protocols.frames import CAN_ERR_FLAG, CANFD_FDF, FrameBatch

S = 10**9


def frames(rows: list[tuple[int, int, int, int, int]]) -> FrameBatch:
    """Rows of (time ns, bus, ident, size, flags)."""
    time, bus, ident, size, flags = (list(c) for c in zip(*rows, strict=True))
    return FrameBatch(
        np.array(time, np.int64),
        np.array(bus, np.uint8),
        np.array(ident, np.uint32),
        np.array(size, np.uint8),
        np.array(flags, np.uint8),
        np.zeros((len(rows), 8), np.uint8),
    )


def view(batch: FrameBatch, message: list[int]) -> View:
    return View(batch, np.array(message, np.int32), (), ())


def ident_of(finding: Finding) -> int:
    assert isinstance(finding.subject, CanId)
    return finding.subject.ident


def test_one_unknown_frame_is_a_notice_and_the_third_an_alert() -> None:
    detector = UnknownIdentifier(frozenset({0}))
    levels = []
    for second in range(4):
        batch = frames([(second * S, 0, 0x123, 8, 0)])
        (finding,) = detector.inspect(view(batch, [-1]))
        levels.append(finding.level)
    assert levels == [Level.NOTICE, Level.NOTICE, Level.ALERT, Level.ALERT]


def test_the_window_of_d1_forgets_after_sixty_seconds() -> None:
    detector = UnknownIdentifier(frozenset({0}))
    for second in (0, 1, 62, 63):
        batch = frames([(second * S, 0, 0x123, 8, 0)])
        (finding,) = detector.inspect(view(batch, [-1]))
        assert finding.level is Level.NOTICE


def test_a_bus_without_a_database_has_no_unknown_identifiers() -> None:
    batch = frames([(0, 1, 0x123, 8, 0)] * 5)
    assert UnknownIdentifier(frozenset({0})).inspect(view(batch, [-1] * 5)) == []


def test_error_frames_are_not_unknown_identifiers() -> None:
    batch = frames([(0, 0, CAN_ERR_FLAG | 4, 8, 0)] * 5)
    assert UnknownIdentifier(frozenset({0})).inspect(view(batch, [-1] * 5)) == []


def test_a_flood_of_identifiers_stays_in_bounded_memory() -> None:
    detector = UnknownIdentifier(frozenset({0}))
    for start in range(0, 20_000, 1000):
        rows = [(0, 0, 0x80000000 | i, 8, 0) for i in range(start, start + 1000)]
        detector.inspect(view(frames(rows), [-1] * 1000))
    assert len(detector._seen) <= 4096


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.integers(0, 8), st.sampled_from([0, CANFD_FDF])
        ),
        min_size=1,
        max_size=40,
    )
)
def test_d2_equals_a_slow_judge(rows: list[tuple[int, int, int]]) -> None:
    length, kind = [8, 4, 0, 8], [1, 2, 0, 0]
    batch = frames([(i, 0, 0x100 + m, n, f) for i, (m, n, f) in enumerate(rows)])
    detector = WrongShape(
        np.array(length, np.int32), np.array(kind, np.uint8), frozenset({0})
    )
    found = {
        (ident_of(f), f.count)
        for f in detector.inspect(view(batch, [m for m, _, _ in rows]))
    }
    slow: dict[int, int] = {}
    for message, size, flags in rows:
        fd = 2 if flags else 1
        if size != length[message] or kind[message] not in {0, fd}:
            slow[0x100 + message] = slow.get(0x100 + message, 0) + 1
    assert found == set(slow.items())


def test_a_remote_frame_on_a_watched_bus_is_another_kind_of_frame() -> None:
    detector = WrongShape(np.zeros(0, np.int32), np.zeros(0, np.uint8), frozenset({0}))
    rows = [(0, bus, 0x40000000 | 0x100, 8, 0) for bus in (0, 1)]
    assert [f.subject.bus for f in detector.inspect(view(frames(rows), [-2, -2]))] == [
        0
    ]
