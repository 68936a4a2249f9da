"""Rollouts: slots, cohorts, hours, and the one form of the signed file."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.errors import PolicyError
from policies.rollout import (
    DEVICES_MAX,
    ROLLOUT_BYTES_MAX,
    SLOTS,
    Decision,
    Rollout,
    decide,
    encode_rollout,
    in_cohort,
    parse_rollout,
    slot,
)

SALT = "00112233445566778899aabbccddeeff"
NS = 1_000_000_000
NAMES = st.from_regex(r"\A[A-Za-z0-9_.-]{1,64}\Z")


def _rollout(**fields: Any) -> Rollout:
    base = {"name": "winter", "candidate": 43, "stable": 42, "salt": SALT}
    return Rollout(**{**base, **fields})


def _ns(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp()) * NS


def _wanted(rollout: Rollout, text: str, *, clock_ok: bool = True) -> int | None:
    return decide(rollout, "gw-1", (), _ns(text), clock_ok).version_wanted


def _refused(**fields: object) -> str:
    text = json.loads(encode_rollout(_rollout()))
    body = json.dumps({**text, **fields}, separators=(",", ":")).encode() + b"\n"
    with pytest.raises(PolicyError) as caught:
        parse_rollout(body)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(NAMES)
def test_a_slot_is_what_the_design_says(device: str) -> None:
    whole = hashlib.sha256(f"{SALT}|{device}".encode()).hexdigest()
    assert slot(SALT, device) == int(whole[:16], 16) % 10_000


@given(st.integers(0, SLOTS), st.integers(0, SLOTS), NAMES)
def test_widening_only_adds(low: int, high: int, device: str) -> None:
    low, high = sorted((low, high))
    narrow, wide = _rollout(upto=low), _rollout(upto=high)
    assert in_cohort(narrow, device, ()) <= in_cohort(wide, device, ())
    assert in_cohort(_rollout(upto=SLOTS), device, ())
    assert not in_cohort(_rollout(upto=0), device, ())


def test_one_per_cent_is_about_one_device_in_a_hundred() -> None:
    rollout = _rollout(upto=100)
    chosen = sum(in_cohort(rollout, f"gw-{n:05}", ()) for n in range(10_000))
    assert 70 <= chosen <= 130  # three standard deviations of the binomial


def test_groups_narrow_and_named_devices_always_are_in() -> None:
    rollout = _rollout(upto=SLOTS, groups=("pilots",), devices=("gw-9",))
    assert in_cohort(rollout, "gw-1", ("pilots", "north"))
    assert not in_cohort(rollout, "gw-1", ("north",))
    assert not in_cohort(rollout, "gw-1", ())
    assert in_cohort(rollout, "gw-9", ())
    assert in_cohort(_rollout(devices=("gw-9",)), "gw-9", ())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"upto": SLOTS}, Decision(43, "in the cohort")),
        ({"upto": 0}, Decision(42, "not in the cohort")),
        ({"upto": 0, "stable": 0}, Decision(None, "not in the cohort")),
        ({"upto": SLOTS, "state": "paused"}, Decision(None, "paused")),
        ({"upto": 0, "state": "paused"}, Decision(42, "not in the cohort")),
        ({"upto": SLOTS, "state": "aborted"}, Decision(42, "aborted")),
        ({"upto": 0, "state": "aborted"}, Decision(42, "aborted")),
        ({"state": "aborted", "stable": 0}, Decision(None, "aborted")),
        (
            {"state": "aborted", "window": "Mon 01:00-02:00"},
            Decision(42, "aborted"),
        ),
    ],
)
def test_the_decision_by_state(fields: dict[str, Any], expected: Decision) -> None:
    assert decide(_rollout(**fields), "gw-1", (), 0, False) == expected


def test_hours_hold_for_the_cohort_only() -> None:
    night = _rollout(upto=SLOTS, window="Fri 22:00-04:00 +08:00")
    assert _wanted(night, "2026-01-02T13:59:59Z") is None  # Friday 21:59:59
    assert _wanted(night, "2026-01-02T14:00:00Z") == 43
    assert _wanted(night, "2026-01-02T19:59:59Z") == 43  # Saturday, of Friday's night
    assert _wanted(night, "2026-01-02T20:00:00Z") is None
    assert _wanted(night, "2026-01-03T15:00:00Z") is None  # Saturday's night is none
    day = _rollout(upto=SLOTS, window="Mon-Fri 07:00-19:00")
    assert _wanted(day, "2026-01-02T07:00:00Z") == 43
    assert _wanted(day, "2026-01-02T19:00:00Z") is None
    assert _wanted(_rollout(window="Mon 07:00-19:00"), "2026-01-02T07:00:00Z") == 42


def test_dates_bound_a_rollout() -> None:
    dated = _rollout(
        upto=SLOTS, not_before="2026-01-02T00:00:00Z", not_after="2026-01-03T00:00:00Z"
    )
    assert _wanted(dated, "2026-01-01T23:59:59Z") is None
    assert _wanted(dated, "2026-01-02T00:00:00Z") == 43
    assert _wanted(dated, "2026-01-03T00:00:00Z") is None


def test_a_clock_that_is_not_believed_begins_nothing_that_has_hours() -> None:
    noon = "2026-01-02T12:00:00Z"
    hours = _rollout(upto=SLOTS, window="00:00-24:00")
    assert _wanted(hours, noon, clock_ok=True) == 43
    assert _wanted(hours, noon, clock_ok=False) is None
    assert _wanted(_rollout(upto=SLOTS), noon, clock_ok=False) == 43


@given(
    st.sampled_from(["running", "paused", "aborted"]), st.integers(0, SLOTS),
    st.sets(NAMES, max_size=5), st.sets(NAMES, max_size=5),
)  # fmt: skip
def test_a_rollout_reads_back(
    state: str, upto: int, groups: set[str], devices: set[str]
) -> None:
    rollout = _rollout(
        state=state, upto=upto, groups=tuple(sorted(groups)),
        devices=tuple(sorted(devices)),
    )  # fmt: skip
    assert parse_rollout(encode_rollout(rollout)) == rollout


def test_the_longest_list_of_devices_fits() -> None:
    names = tuple(f"{n:064}" for n in range(DEVICES_MAX))
    text = encode_rollout(_rollout(devices=names))
    assert len(text) < ROLLOUT_BYTES_MAX
    assert parse_rollout(text).devices == names


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"schema": "sluicegate/policy/1"}, "schema"),
        ({"attempt": 0}, "attempt"),
        ({"candidate": 0}, "candidate"),
        ({"stable": 43}, "older version"),
        ({"state": "resting"}, "state"),
        ({"salt": ""}, "salt"),
        ({"salt": SALT + "\n"}, "salt"),
        ({"upto": 10_001}, "upto"),
        ({"groups": ["b", "a"]}, "sorted"),
        ({"groups": ["a", "a"]}, "sorted"),
        ({"groups": ["a\n"]}, "groups"),
        ({"devices": ["a b"]}, "devices"),
        ({"devices": [f"{n:04}" for n in range(DEVICES_MAX + 1)]}, "devices"),
        ({"window": "always"}, "not a time window"),
        ({"not_before": "2026-01-01"}, "not_before"),
        ({"not_after": "2026-13-01T00:00:00Z"}, "not_after"),
        (
            {
                "not_before": "2026-01-02T00:00:00Z",
                "not_after": "2026-01-02T00:00:00Z",
            },
            "not after not_before",
        ),
        ({"halt": {"refused_share": 10_001}}, "refused_share"),
        ({"halt": {"refused_share": 1}}, "canonical"),
        ({"note": "a\nb"}, "printable"),
        ({"more": 1}, "unknown field"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(
    fields: dict[str, object], reason: str
) -> None:
    line = _refused(**fields)
    assert line.startswith("rollout.json")
    assert reason in line


def test_there_is_one_spelling() -> None:
    text = encode_rollout(_rollout())
    for other in (
        text.rstrip(), b" " + text, text.replace(b":", b": "), text + b"\n",
        text.replace(b'{"schema"', b'{"candidate":9,"schema"', 1),
        text.replace(b'"upto":0,', b""),
    ):  # fmt: skip
        with pytest.raises(PolicyError, match="canonical"):
            parse_rollout(other)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_give_the_one_error(text: bytes) -> None:
    with pytest.raises(PolicyError):
        parse_rollout(text)


def test_size_and_depth_are_bounded() -> None:
    with pytest.raises(PolicyError, match="larger"):
        parse_rollout(bytes(ROLLOUT_BYTES_MAX + 1))
    for text in (b"[" * 60_000, b'{"groups":' + b"[" * 60_000, b'{"halt":' * 10_000):
        with pytest.raises(PolicyError):
            parse_rollout(text)


def test_a_record_is_hashable_and_frozen() -> None:
    rollout = _rollout(upto=100)
    assert hash(rollout) == hash(msgspec.structs.replace(rollout))
