"""Counters of what left: never below while the limit is passed, or may be."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.classification.volumes import Volumes, restored
from policies.tables import CompiledVolume, VolumeTest

S = 1_000_000_000
H, D = 3600 * S, 86_400 * S
T0 = 1_764_028_800 * S  # 2025-11-25 00:00 UTC
DAY = CompiledVolume("day", 100, D, D // 16, by_time=False)
HOURS = CompiledVolume("hours", 3, D, H, by_time=True)


def over(volume: CompiledVolume, *recipients: str) -> VolumeTest:
    return VolumeTest(volume, recipients or ("oem",), above=True)


def sent(
    volumes: Volumes, at_ns: int, samples: int, volume: CompiledVolume = DAY
) -> None:
    volumes.look(at_ns, clock_ok=True)
    volumes.left([volume], ["oem"], samples)


def test_the_limit_itself_still_is_below() -> None:
    volumes = Volumes()
    sent(volumes, T0, 99)
    assert not volumes.is_above(over(DAY))
    sent(volumes, T0 + 1, 1)
    assert volumes.is_above(over(DAY))  # the next one would be the 101st
    assert not volumes.is_above(over(DAY, "other"))
    assert volumes.is_above(over(DAY, "other", "oem"))  # any recipient reads it


def test_a_window_slides() -> None:
    volumes = Volumes()
    sent(volumes, T0, 100)
    for hours, expected in ((23, True), (24, True), (25.5, False)):
        volumes.look(T0 + int(hours * H), clock_ok=True)
        assert volumes.is_above(over(DAY)) == expected


def test_hours_with_data_are_counted_and_not_samples() -> None:
    volumes = Volumes()
    for hour in (0, 0, 1, 2):
        volumes.look(T0 + hour * H, clock_ok=True)
        assert not volumes.is_above(over(HOURS))
        sent(volumes, T0 + hour * H, 1000, HOURS)
    volumes.look(T0 + 3 * H - 1, clock_ok=True)
    assert not volumes.is_above(over(HOURS))  # still in the third
    volumes.look(T0 + 3 * H, clock_ok=True)
    assert volumes.is_above(over(HOURS))  # it would be the fourth
    volumes.look(T0 + 26 * H, clock_ok=True)
    assert not volumes.is_above(over(HOURS))


def test_a_clock_that_is_not_believed_opens_nothing_and_counts_later() -> None:
    volumes = Volumes()
    volumes.look(5 * S, clock_ok=False)  # 1970
    assert volumes.is_above(over(DAY))
    volumes.left([DAY], ["oem"], 60)
    volumes.look(5 * S + D, clock_ok=False)
    volumes.left([DAY], ["oem"], 50)
    volumes.look(T0, clock_ok=True)
    assert volumes.is_above(over(DAY))  # 50 now, 60 a day ago: partly in the window
    volumes.look(T0 + D // 8, clock_ok=True)
    assert not volumes.is_above(over(DAY))
    sent(volumes, T0 + D // 8, 50)
    assert volumes.is_above(over(DAY))


def test_a_document_brings_everything_back() -> None:
    volumes = Volumes()
    sent(volumes, T0, 70)
    volumes.look(9 * S, clock_ok=False)
    volumes.left([DAY, HOURS], ["oem", "other"], 30)
    assert volumes.changed
    body = volumes.document()
    assert not volumes.changed
    again = restored(body, was_used=True)
    assert again.document() == body
    again.look(T0 + 1, clock_ok=True)
    assert again.is_above(over(DAY))
    assert not again.is_above(over(DAY, "other"))
    assert not again.is_above(over(HOURS, "other"))


OTHERS = [{"v": 2, "lost_ns": 0, "series": []}, {"v": 1, "lost_ns": -2, "series": []}]
LOST = [None, b"", b"\xc1", b"\x80", *map(msgspec.msgpack.encode, OTHERS)]


@pytest.mark.parametrize("document", LOST)
def test_lost_counters_are_above_for_one_window(document: bytes | None) -> None:
    volumes = restored(document, was_used=True)
    volumes.look(T0, clock_ok=False)
    assert volumes.is_above(over(DAY))
    volumes.look(T0 + H, clock_ok=True)  # the window begins with the first good time
    assert volumes.is_above(over(DAY, "nobody"))
    volumes = restored(volumes.document(), was_used=True)  # and outlives a start
    volumes.look(T0 + H + D - 1, clock_ok=True)
    assert volumes.is_above(over(DAY))
    volumes.look(T0 + H + D, clock_ok=True)
    assert not volumes.is_above(over(DAY))


def test_a_new_device_begins_below() -> None:
    volumes = restored(None, was_used=False)
    volumes.look(T0, clock_ok=True)
    assert not volumes.is_above(over(DAY))


def test_a_limit_that_counts_otherwise_now_begins_as_unknown() -> None:
    volumes = Volumes()
    sent(volumes, T0, 1)
    week = CompiledVolume("day", 100, 7 * D, 7 * D // 16, by_time=False)
    volumes.look(T0 + H, clock_ok=True)
    assert volumes.is_above(over(week))
    volumes.look(T0 + H + 7 * D, clock_ok=True)
    assert not volumes.is_above(over(week))


def test_counters_stay_small() -> None:
    volumes = Volumes()
    for hour in range(2000):
        sent(volumes, T0 + hour * H, 1)
        sent(volumes, T0 + hour * H, 1, HOURS)
    assert len(volumes.document()) < 1000


@given(
    st.lists(st.tuples(st.integers(0, 20 * H), st.integers(1, 40)), max_size=40),
    st.integers(0, 40),
    st.lists(st.integers(0, 39), max_size=4),
)
def test_whatever_leaves_the_limit_holds(
    steps: list[tuple[int, int]], last: int, starts: list[int]
) -> None:
    """Against a list of everything: above wherever a true window is full."""
    volumes, now, told = Volumes(), T0, list[tuple[int, int]]()
    for number, (gap, samples) in enumerate([*steps, (last * H, 0)]):
        now += gap
        if number in starts:
            volumes = restored(volumes.document(), was_used=True)
        volumes.look(now, clock_ok=True)
        true = sum(many for at, many in told if at > now - D)
        wide = sum(many for at, many in told if at >= now - D - D // 16)
        is_above = volumes.is_above(over(DAY))
        assert is_above or true < DAY.more_than
        assert not is_above or wide >= DAY.more_than
        told.append((now, samples))
        volumes.left([DAY], ["oem"], samples)
