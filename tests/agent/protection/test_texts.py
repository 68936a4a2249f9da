"""Mask and pseudonymise: published and golden vectors, and the closed side."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b32encode

import numpy as np
import pytest

from agent.protection.keyring import KEYS_MAX, KeyRing
from agent.protection.texts import MaskStep
from agent.protection.transforms import RuleRunner
from agent.records import Outcome
from policies.tables import Blank, Mask, Pseudonymise, Round
from protocols.samples import raw_of_floats
from tests.reference.scalar_tables import (
    SERIAL,
    SPEED,
    TEMP,
    VIN,
    columns,
    items,
    rule,
)
from tests.reference.scalar_world import Datum

DAY_NS = 86_400 * 10**9
MASTER = bytes(range(32))
ITEMS = items()


def pseudonyms(master: bytes, *data: Datum, purpose: str = "warranty") -> list[str]:
    runner = RuleRunner(rule(Pseudonymise(purpose, DAY_NS)), ITEMS, KeyRing(master))
    result = runner.apply(*columns(data), 0)
    return [t.decode() for part in result.released for t in part.texts.text]


def test_pseudonym_equals_the_formula_written_out() -> None:
    """inspection.md 4.2 over RFC 5869, from hmac and hashlib alone."""
    extracted = hmac.new(bytes(32), MASTER, hashlib.sha256).digest()
    key = hmac.new(extracted, b"warranty/3\x01", hashlib.sha256).digest()
    message = b"identity.vin\x00LSVAA4187E2184840"
    expected = b32encode(hmac.new(key, message, hashlib.sha256).digest())[:26].decode()
    got = pseudonyms(MASTER, Datum(3 * DAY_NS, VIN, text=b"LSVAA4187E2184840"))
    assert got == [expected]


GOLDEN: list[tuple[int, bytes | float | int, int, str]] = [
    (VIN, b"LSVAA4187E2184840", 0, "RREQ5RHSEFNLZ3UZFDUDR7VIKX"),
    (VIN, b"LSVAA4187E2184840", 1, "XGN5MVH37GHKZ2L23PPA4IMTVJ"),
    (VIN, b"", 0, "GYJNCHZ6DNLIHJF2RDZWZ7DL4T"),
    (SERIAL, -1, 0, "RKTGPTJJF5PIYJWDMICJ3I7BYL"),  # kind UINT64: 18446744073709551615
    (TEMP, -40, 0, "UPLPYKM57KZXKYTFDA52AIVU3M"),
    (SPEED, 12.5, 0, "V2KXKYJL4KKGF52UWXDNAKIL5A"),  # kind FLOAT: "12.5"
]


@pytest.mark.parametrize(("item", "value", "day", "expected"), GOLDEN)
def test_golden_pseudonyms(
    item: int, value: bytes | float, day: int, expected: str
) -> None:
    """These may never change: receivers join on them within a period."""
    if isinstance(value, bytes):
        one = Datum(day * DAY_NS, item, text=value)
    elif item == SPEED:
        raw = int(raw_of_floats(np.array([value]))[0])
        one = Datum(day * DAY_NS, item, raw, value)
    else:
        one = Datum(day * DAY_NS, item, int(value), float(value))
    assert pseudonyms(MASTER, one) == [expected]


def test_pseudonyms_join_within_and_never_across_period_purpose_and_device() -> None:
    vin = b"LSVAA4187E2184840"
    early, late = Datum(5, VIN, text=vin), Datum(DAY_NS - 1, VIN, text=vin)
    next_day = Datum(DAY_NS, VIN, text=vin)
    a, b, c = pseudonyms(MASTER, early, late, next_day)
    assert a == b != c
    other = pseudonyms(MASTER, early, purpose="research")
    device = pseudonyms(bytes(32), early)
    assert len({a, c, *other, *device}) == 4


def test_a_number_and_its_text_in_another_category_do_not_join() -> None:
    got = pseudonyms(MASTER, Datum(0, VIN, text=b"77"), Datum(0, SERIAL, 77, 77.0))
    assert got[0] != got[1]


def test_a_short_master_key_is_refused_and_none_is_ever_shown() -> None:
    with pytest.raises(ValueError, match="master key"):
        KeyRing(b"short")
    assert repr(bytes(range(32)))[3:20] not in repr(KeyRing(MASTER))


def test_derived_keys_at_hand_are_bounded() -> None:
    ring = KeyRing(MASTER)
    first = ring.pseudonym_key("p", 0)
    for epoch in range(3 * KEYS_MAX):
        ring.pseudonym_key("p", epoch)
    assert len(ring._keys) <= KEYS_MAX
    assert ring.pseudonym_key("p", 0) == first


@pytest.mark.parametrize(
    ("first", "last", "text", "expected"),
    [
        (3, 4, b"LSVAA4187E2184840", b"LSV**********4840"),
        (3, 0, b"LSVAA", b"LSV**"),
        (0, 0, b"abc", b"***"),
        (2, 2, b"abcd", b"****"),  # nothing would be hidden: hide all
        (9, 9, b"abcd", b"****"),
        (1, 1, "京A12345".encode(), "京*****5".encode()),
        (1, 1, b"\xff\xfe\xfd", "ÿ*ý".encode()),
        (1, 1, b"", b""),
    ],
)
def test_mask(first: int, last: int, text: bytes, expected: bytes) -> None:
    assert MaskStep(Mask(first, last)).masked(text) == expected


def test_numbers_under_mask_and_texts_under_round_fail() -> None:
    both = columns([Datum(0, TEMP, 5, 5.0), Datum(0, VIN, text=b"LSVAA")])
    masked = RuleRunner(rule(Mask(1, 1)), ITEMS, KeyRing(MASTER)).apply(*both, 0)
    assert masked.counts == {Outcome.FAILED: 1, Outcome.SENT: 1}
    rounded = RuleRunner(rule(Round(1.0)), ITEMS, KeyRing(MASTER)).apply(*both, 0)
    assert rounded.counts == {Outcome.FAILED: 1, Outcome.SENT: 1}
    assert not len(rounded.released[0].texts)


def test_blank_leaves_the_time_alone() -> None:
    both = columns([Datum(7, TEMP, 5, 5.0), Datum(8, VIN, text=b"LSVAA")])
    part = RuleRunner(rule(Blank()), ITEMS, KeyRing(MASTER)).apply(*both, 0).released[0]
    assert np.isnan(part.samples.value).all()
    assert np.isnan(part.samples.raw.view(np.float64)).all()
    assert part.texts.text == (b"",)
    assert (part.samples.time_ns[0], part.texts.time_ns[0]) == (7, 8)
