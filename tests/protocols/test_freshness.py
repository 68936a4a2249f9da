"""Freshness answers: whole or refused, for one device and one question."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given

from policies.trust import TrustError, begin, freshness, offer
from protocols.errors import WireError
from protocols.freshness import (
    Answer,
    answer_key_id,
    encode_answer,
    is_nonce,
    open_answer,
)
from protocols.signed import pack_signed
from tests.support.fleet_trust import NOW_NS, FleetTrust

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = KEY.public_key().public_bytes_raw()
ID = "ab" * 32
NONCE = "0f" * 16
ANSWER = Answer("north", "gw-1", NONCE, 1_000, 7, bytes(32))


def test_an_answer_comes_back() -> None:
    message = encode_answer(ANSWER, ID, KEY.sign)
    assert answer_key_id(message) == ID
    assert open_answer(message, PUBLIC) == ANSWER


@given(st.data())
def test_a_changed_byte_is_refused(data: st.DataObject) -> None:
    message = bytearray(encode_answer(ANSWER, ID, KEY.sign))
    place = data.draw(st.integers(0, len(message) - 1))
    message[place] ^= data.draw(st.integers(1, 255))
    try:
        told = open_answer(bytes(message), PUBLIC)
    except WireError:
        return
    # only the key id is not under the signature: the caller looks the key up by it
    assert told == ANSWER
    assert answer_key_id(bytes(message)) != ID


@given(st.binary(max_size=300))
def test_any_bytes_are_an_answer_or_refused(message: bytes) -> None:
    with pytest.raises(WireError):
        open_answer(message, PUBLIC)


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": "0F" * 16}, {"nonce": ""}, {"nonce": NONCE + "\n"}, {"time_ns": 0},
        {"time_ns": -1}, {"timestamp_version": 0}, {"timestamp_digest": bytes(31)},
        {"fleet": "a/b"}, {"device": "+"}, {"device": "policy"},
    ],
)  # fmt: skip
def test_signed_nonsense_is_refused(change: dict[str, object]) -> None:
    message = encode_answer(replace(ANSWER, **change), ID, KEY.sign)
    with pytest.raises(WireError):
        open_answer(message, PUBLIC)


def test_another_kind_of_message_is_no_answer() -> None:
    message = pack_signed("ack", b"{}", KEY.sign)
    with pytest.raises(WireError):
        open_answer(message, PUBLIC)


def test_a_nonce_is_32_digits() -> None:
    assert is_nonce(NONCE)
    assert not is_nonce(NONCE[1:])
    assert not is_nonce(NONCE.upper())
    assert not is_nonce("")


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("another-fleet", "wrong-fleet"), ("another-device", "wrong-device"),
        ("another-nonce", "replay"), ("another-key", "key-id"), ("forged", "threshold"),
        ("older", "rollback"), ("equal", "mix-and-match"), ("cut", "format"),
    ],
)  # fmt: skip
def test_a_device_believes_only_the_answer_to_its_own(name: str, rule: str) -> None:
    fleet = FleetTrust()
    fleet.add_policy(1)
    old = fleet.publish()["timestamp.json"]
    trusted, _ = offer(begin(fleet.roots[0], "north"), fleet.publish(), NOW_NS)
    good = fleet.answer(NONCE, "gw-1")
    assert not freshness(trusted, good, NONCE, "gw-1").is_behind
    message, nonce, device = good, NONCE, "gw-1"
    if name == "another-fleet":
        fleet.name = "south"
        message = fleet.answer(NONCE, "gw-1")
    elif name == "another-device":
        device = "gw-2"
    elif name == "another-nonce":
        nonce = "00" * 16
    elif name == "another-key":
        message = fleet.answer(NONCE, "gw-1", by="snapshot")
    elif name == "forged":
        message = good[:-1] + bytes([good[-1] ^ 1])
    elif name == "cut":
        message = good[:-1]
    else:
        fleet.metadata["timestamp.json"] = old
        fleet.versions["timestamp"] = 1 if name == "older" else 2
        message = fleet.answer(NONCE, "gw-1")
    with pytest.raises(TrustError) as refusal:
        freshness(trusted, message, nonce, device)
    assert refusal.value.rule == rule
