"""Receipts, topics and recipient cards: what is written is read, the rest refused."""

from __future__ import annotations

import base64
import itertools
import json

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import WireError
from protocols.receipts import Receipt, encode_receipt, open_receipt, ranges
from protocols.recipients import encode_card, parse_card
from protocols.signed import pack_signed
from protocols.topics import (
    DOWN,
    UP,
    check_name,
    down_topic,
    parse_up,
    policy_topic,
    up_filters,
    up_topic,
)
from tests.support.sealing import Device, keys

COLLECTOR = Device("collector", seed=9)
KEY = COLLECTOR.public_key()
CARD = keys("oem-2026", 10).card()
DAY_S = 86_400
FIRST_S = 1_767_225_600  # 2026-01-01 00:00 UTC


@given(st.sets(st.integers(0, 60)))
def test_ranges_hold_exactly_the_numbers_and_are_few(numbers: set[int]) -> None:
    spans = ranges(numbers)
    assert [n for a, b in spans for n in range(a, b + 1)] == sorted(numbers)
    assert all(b + 1 < c for (_, b), (c, _) in itertools.pairwise(spans))


@given(
    st.dictionaries(
        st.binary(min_size=16, max_size=16), st.sets(st.integers(0, 99)), max_size=4
    ),
    st.integers(0, 2**62),
)
def test_a_receipt_reads_back(epochs: dict[bytes, set[int]], size: int) -> None:
    told = tuple((epoch, ranges(found)) for epoch, found in epochs.items())
    said = Receipt("gw-1", 12, told, b"12345678", size, bytes(32))
    assert open_receipt(encode_receipt(said, COLLECTOR.sign), KEY, "gw-1") == said
    silent = Receipt("gw-1", 12, told)
    assert open_receipt(encode_receipt(silent, COLLECTOR.sign), KEY, "gw-1") == silent


def test_a_receipt_of_others_is_refused() -> None:
    message = encode_receipt(Receipt("gw-1", 12, ()), COLLECTOR.sign)
    with pytest.raises(WireError, match="another device"):
        open_receipt(message, KEY, "gw-2")
    with pytest.raises(WireError, match="does not hold"):
        open_receipt(message, Device(seed=3).public_key(), "gw-1")
    with pytest.raises(WireError, match="larger than"):
        open_receipt(bytes(256 * 1024 + 1), KEY, "gw-1")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([1], "seven fields"),
        ([2, "gw-1", 1, [], b"", 0, b""], "version 2"),
        ([1, "gw-1", 1, [], b"12345678", 0, b""], "do not fit"),
        ([1, "gw-1", 1, [], b"", -1, b""], "size out of range"),
        ([1, "gw-1", 1, [[b"short", []]], b"", 0, b""], "an epoch is not"),
        ([1, "gw-1", 1, [[bytes(16), [[2, 1]]]], b"", 0, b""], "a range is not"),
        ([1, "gw-1", 1, [[bytes(16), [[0, 2**63]]]], b"", 0, b""], "a range is not"),
        ([1, "gw-1", 1, [[bytes(16), [5]]], b"", 0, b""], "a range is not"),
    ],
)
def test_a_signed_body_that_is_no_receipt_is_refused(body: object, reason: str) -> None:
    packed = msgpack.packb(body)
    assert isinstance(packed, bytes)
    with pytest.raises(WireError, match=reason):
        open_receipt(pack_signed("receipt", packed, COLLECTOR.sign), KEY, "gw-1")


# --- topics ---------------------------------------------------------------------------


def test_topics_read_back_and_are_what_the_design_says() -> None:
    assert up_topic("demo", "gw-1", "data") == "sg/1/demo/gw-1/data"
    assert down_topic("demo", "gw-1", "receipt") == "sg/1/demo/gw-1/receipt"
    assert policy_topic("demo", "bundle") == "sg/1/demo/policy/bundle"
    for kind in UP:
        assert parse_up(up_topic("demo", "gw-1", kind)) == ("demo", "gw-1", kind)
    kinds = UP - {"ack", "enrol"}  # the desk's, who watches a rollout; the authority's
    assert sorted(up_filters("demo")) == sorted(f"sg/1/demo/+/{one}" for one in kinds)


@pytest.mark.parametrize(
    "name", ["", "policy", "a/b", "+", "#", "$SYS", "a b", "é", "x" * 65, "a\n", "\0"]
)
def test_a_name_that_could_forge_a_topic_is_refused(name: str) -> None:
    with pytest.raises(WireError):
        check_name("device", name)
    with pytest.raises(WireError):
        up_topic("demo", name, "data")
    with pytest.raises(WireError):
        down_topic(name, "gw-1", "command")


def test_kinds_go_one_way() -> None:
    assert not UP & DOWN
    with pytest.raises(WireError):
        up_topic("demo", "gw-1", "command")
    with pytest.raises(WireError):
        down_topic("demo", "gw-1", "data")
    with pytest.raises(WireError):
        policy_topic("demo", "data")
    for topic in (
        "sg/1/demo/gw-1/command",
        "sg/2/demo/gw-1/data",
        "a",
        "sg/1/d/+/data",
    ):
        with pytest.raises(WireError):
            parse_up(topic)


# --- cards ----------------------------------------------------------------------------


def test_a_card_reads_back_and_its_digest_is_of_its_content() -> None:
    assert parse_card(encode_card(CARD)) == CARD
    assert parse_card(encode_card(CARD)).digest() == CARD.digest()
    assert keys("oem-2026", 11).card().digest() != CARD.digest()
    assert len(CARD.public_key("x25519-aes256gcm")) == 32
    assert len(CARD.public_key("mlkem768x25519-aes256gcm")) == 1216
    assert len(CARD.key_id("x25519-aes256gcm")) == 16
    with pytest.raises(ValueError, match="no key for suite open"):
        CARD.public_key("open")


@pytest.mark.parametrize(
    ("now_s", "reason"),
    [
        (FIRST_S - 1, "not valid before 2026-01-01"),
        (FIRST_S, ""),
        (FIRST_S + 365 * DAY_S - 1, ""),
        (FIRST_S + 365 * DAY_S, "expired on 2026-12-31"),
    ],
)
def test_a_card_is_good_from_its_first_to_its_last_day(now_s: int, reason: str) -> None:
    if not reason:
        CARD.check(now_s)
        return
    with pytest.raises(ValueError, match=reason):
        CARD.check(now_s)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": "other"}, "schema is not"),
        ({"name": "a/b"}, "name"),
        ({"x25519": "!"}, "x25519 is not base64"),
        ({"x25519": base64.b64encode(bytes(31)).decode()}, "31 bytes, not 32"),
        ({"mlkem768x25519": base64.b64encode(bytes(32)).decode()}, "not 1216"),
        ({"receipt_ed25519": ""}, "0 bytes, not 32"),
        ({"not_after": "2025-01-01"}, "before not_before"),
        ({"not_after": "soon"}, "not_after"),
        ({"extra": 1}, "extra"),
        ({"x25519": None}, "x25519"),
    ],
)
def test_a_card_that_is_none_is_refused_with_field_and_reason(
    change: dict[str, object], reason: str
) -> None:
    form = {**json.loads(encode_card(CARD)), **change}
    with pytest.raises(WireError, match=reason):
        parse_card(json.dumps(form).encode())


@given(st.binary(max_size=80))
def test_any_bytes_are_no_card(data: bytes) -> None:
    with pytest.raises(WireError):
        parse_card(data)


def test_a_card_too_large_is_not_parsed() -> None:
    with pytest.raises(WireError, match="larger than"):
        parse_card(b"[" * 17_000)
