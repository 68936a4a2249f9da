from __future__ import annotations

import re
import time
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.quantities import (
    ItemGlob,
    duration_ns,
    item_name,
    length_m,
    time_window,
)

PARTS = st.lists(st.sampled_from(["a", "b", "cc", "Row1"]), min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("text", "ns"),
    [("250ms", 250_000_000), ("60s", 60 * 10**9), ("1.5h", 5400 * 10**9),
     ("7d", 604_800 * 10**9), ("2w", 1_209_600 * 10**9), ("1y", 31_536_000 * 10**9)],
)  # fmt: skip
def test_durations(text: str, ns: int) -> None:
    assert duration_ns(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "60",
        "s",
        "-1s",
        "1 s",
        "1e3s",
        "0s",
        "999999999y",
        "1month",
        "\u0661s",
    ],
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration_ns(text)


def test_lengths() -> None:
    assert (length_m("500m"), length_m("1.1km")) == (500.0, 1100.0)
    for bad in ("500", "1 km", "0m", "-5m", "1mi", "99999km"):
        with pytest.raises(ValueError, match="length"):
            length_m(bad)


def test_time_windows() -> None:
    window = time_window("Mon-Fri 07:00-19:00 +08:00")
    assert window.days == frozenset(range(5))
    assert (window.start_s, window.end_s) == (7 * 3600, 19 * 3600)
    assert window.utc_offset_s == 8 * 3600
    assert time_window("22:00-06:00").days == frozenset(range(7))
    assert time_window("Fri-Mon,Wed 00:00-24:00 -03:30").days == {4, 5, 6, 0, 2}
    assert time_window("Fri 00:00-24:00 -03:30").utc_offset_s == -12_600
    for bad in ("Mon", "Mon 7:00-8:00", "Mon 07:00-25:00", "Mon 07:61-08:00",
                "Xxx 07:00-08:00", "07:00-07:00", "07:00-08:00 +99:00"):  # fmt: skip
        with pytest.raises(ValueError, match=r"time|day"):
            time_window(bad)


def test_item_names() -> None:
    assert item_name("Vehicle.Speed") == "Vehicle.Speed"
    for bad in ("Speed", "Vehicle.", ".Speed", "Vehicle..A", "Vehicle.*", "A.b c"):
        with pytest.raises(ValueError, match="item name"):
            item_name(bad)


@pytest.mark.parametrize(
    ("pattern", "hits", "misses"),
    [
        ("Vehicle.Chassis.**", ["Vehicle.Chassis.A", "Vehicle.Chassis.A.B"],
         ["Vehicle.Chassis", "Vehicle.ChassisX.A"]),
        ("**.Latitude", ["Latitude", "A.B.Latitude"], ["A.BLatitude", "A.Latitude.C"]),
        ("A.*.C", ["A.B.C"], ["A.C", "A.B.B.C"]),
        ("A.**.C", ["A.C", "A.B.C", "A.B.B.C"], ["A.B", "AC"]),
        ("A.Pump*.Run", ["A.Pump7.Run", "A.Pump.Run"], ["A.Pump.X.Run"]),
    ],
)  # fmt: skip
def test_patterns(pattern: str, hits: list[str], misses: list[str]) -> None:
    glob = ItemGlob(pattern)
    assert all(glob.fullmatch(name) for name in hits)
    assert not any(glob.fullmatch(name) for name in misses)


@pytest.mark.parametrize("bad", ["", "A..B", "a**", "**.**.**.**", "A.(x+)+", "A B"])
def test_what_is_no_pattern(bad: str) -> None:
    with pytest.raises(ValueError, match=r"pattern|alone"):
        ItemGlob(bad)


def _matches(pattern: list[str], name: list[str]) -> bool:
    """Say it again, slowly: the meaning of a pattern, part by part."""
    if not pattern:
        return not name
    head, rest = pattern[0], pattern[1:]
    if head == "**":
        least = 0 if rest else 1
        return any(_matches(rest, name[n:]) for n in range(least, len(name) + 1))
    if not name:
        return False
    part = re.fullmatch(head.replace("*", ".*"), name[0])
    return bool(part) and _matches(rest, name[1:])


@given(
    st.lists(st.sampled_from(["a", "b", "*", "c*", "**"]), min_size=1, max_size=5),
    PARTS,
)
def test_patterns_mean_what_the_slow_reading_says(
    pattern: list[str], name: list[str]
) -> None:
    if pattern.count("**") > 3:
        return
    found = ItemGlob(".".join(pattern)).fullmatch(".".join(name))
    assert found == _matches(pattern, name)


@given(
    st.text(st.sampled_from("ab*"), min_size=1, max_size=9).filter(
        lambda part: "**" not in part
    ),
    st.text(st.sampled_from("ab"), min_size=1, max_size=12),
)
def test_stars_within_a_part_match_what_the_shell_does(part: str, name: str) -> None:
    found = ItemGlob(f"Vehicle.{part}").fullmatch(f"Vehicle.{name}")
    assert found == fnmatchcase(name, part)


def test_many_stars_take_no_longer_than_one() -> None:
    """Ten of them over forty letters took 20 s, and nothing else ran meanwhile."""
    began_s = time.process_time()
    assert not ItemGlob("Vehicle." + "*a" * 90 + "*b").fullmatch("Vehicle." + "a" * 190)
    assert time.process_time() - began_s < 1
