"""What leaves in a support bundle names nobody and says no value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.masking import Mask, leaks

KEY = bytes(range(32))
VIN = "LSVAA4182E2123456"


def mask(*known: tuple[str, str], key: bytes = KEY) -> Mask:
    return Mask(key, known)


@given(st.text(max_size=60), st.text(max_size=60), st.text("abcXYZ-.9", min_size=3))
def test_a_known_name_is_nowhere(before: str, after: str, name: str) -> None:
    shown = mask(("device", name)).names(before + name + after)
    assert name not in shown.replace(mask().word("device", name), "")


def test_one_name_is_one_word_within_a_bundle_only() -> None:
    here = mask(("device", "gw-1"))
    text = here.names("gw-1 asked gw-1")
    first, _, second = text.split(" ")
    assert first == second != "gw-1"
    assert first not in mask(("device", "gw-1"), key=bytes(32)).names("gw-1")


def test_longer_names_go_before_what_they_contain() -> None:
    shown = mask(("device", "north"), ("host", "north.example")).names("north.example")
    assert shown.startswith("host-")


@pytest.mark.parametrize(
    "text",
    [
        VIN, f"x={VIN},",
        "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----",
        "-----BEGIN EC PRIVATE KEY-----\ncut short", "10.1.2.3", "192.0.2.1:8883",
        "02:00:5e:10:00:01", "fe80::1:2:3:4", "2001:db8:0:0:0:0:0:1", "10.1.2.3.",
        "fe80::1", "2001:db8::", "fd00::", "pin-value=123456", "pin-value=s3cret&x=1",
    ],
)  # fmt: skip
def test_what_looks_like_a_name_goes(text: str) -> None:
    shown = mask().names(f"a {text} b")
    assert text not in shown
    assert shown.startswith("a ")
    assert "MC4=" not in shown
    assert "cut short" not in shown


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "0.0.0.0:502", "2026-11-26T16:01:56Z", "17645123456789012",
        "0.1.0", "252.39-1", "at 12:34:56: x", "a.py::test", "::1", "[::1]:502",
        "sluicegate_lost_total 4", "a" * 64,
    ],
)  # fmt: skip
def test_what_names_nobody_stays(text: str) -> None:
    assert mask().names(text) == text


def test_positions_go_out_of_free_text() -> None:
    shown = mask().values("at 31.230416,121.4737 after 12.5 s, 99.95 %")
    assert shown == "at #.####,#.#### after 12.5 s, 99.95 %"
    shown = mask().values("from 48.1371N/11.5754E to lat48.1372. 3.11.7000 at 1.2e5")
    assert shown == "from #.####N/#.####E to lat#.####. 3.11.7000 at 1.2e5"


def test_what_still_leaks_is_named_not_quoted() -> None:
    assert leaks("all is well", ["", "s3cret"]) == ""
    assert leaks(f"vin {VIN}", []) == "what looks like a VIN"
    assert leaks("a s3cret", ["s3cret"]) == "a secret of this device"
    assert leaks("BEGIN PRIVATE KEY", []) == "a private key"
