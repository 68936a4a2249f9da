"""Acks: what is written is read, bytes of others are refused with one line."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.acks import (
    ACK_BYTES_MAX,
    APPROVERS_MAX,
    GROUPS_MAX,
    REASON_CHARACTERS_MAX,
    Ack,
    AckState,
    decode_ack,
    encode_ack,
    open_ack,
    pack_ack,
)
from protocols.errors import WireError
from protocols.signed import pack_signed
from tests.support.sealing import Device

DEVICE = Device("gw-1", seed=3)
KEY = DEVICE.public_key()
BASE = Ack(
    device="gw-1", number=7, time_ns=1_767_225_600_000_000_000, boot="b1",
    clock="good", state="waiting",
)  # fmt: skip
STATES: tuple[AckState, ...] = (
    "waiting", "verified", "staged", "trial", "active", "refused", "reverted",
    "lockdown", "local",
)  # fmt: skip


def _with(**fields: object) -> bytes:
    return json.dumps({**json.loads(encode_ack(BASE)), **fields}).encode()


@given(
    st.sampled_from(STATES), st.integers(0, 2**63 - 1), st.integers(-1, 9999),
    st.lists(st.from_regex(r"\A[a-z0-9_.-]{1,64}\Z"), max_size=GROUPS_MAX),
    st.text(max_size=400),
)  # fmt: skip
def test_an_ack_reads_back(
    state: AckState, number: int, slot: int, groups: list[str], reason: str
) -> None:
    ack = msgspec.structs.replace(
        BASE, state=state, number=number, slot=slot, groups=tuple(groups), reason=reason
    )
    found = open_ack(pack_ack(ack, DEVICE.sign), KEY, "gw-1")
    assert msgspec.structs.replace(found, reason=reason) == ack
    assert found.reason.isprintable()
    assert len(found.reason) <= REASON_CHARACTERS_MAX


def test_the_largest_ack_fits() -> None:
    ack = msgspec.structs.replace(
        BASE, groups=tuple(f"{n:064}" for n in range(GROUPS_MAX)),
        approvers=("\U00020000" * 100,) * APPROVERS_MAX, reason="\U00020000" * 200,
        policy_digest="a" * 64, candidate_digest="b" * 64, nonce="c" * 32,
    )  # fmt: skip
    assert len(encode_ack(ack)) < ACK_BYTES_MAX
    assert decode_ack(encode_ack(ack)) == ack


def test_an_ack_of_others_is_refused() -> None:
    message = pack_ack(BASE, DEVICE.sign)
    with pytest.raises(WireError, match="another device"):
        open_ack(message, KEY, "gw-2")
    with pytest.raises(WireError, match="signature"):
        open_ack(message, Device("gw-2", seed=4).public_key(), "gw-1")
    other = pack_signed("state", encode_ack(BASE), DEVICE.sign)
    with pytest.raises(WireError, match="signature"):
        open_ack(other, KEY, "gw-1")
    with pytest.raises(WireError, match="larger"):
        open_ack(bytes(ACK_BYTES_MAX + 1), KEY, "gw-1")
    with pytest.raises(WireError, match="larger"):
        decode_ack(bytes(ACK_BYTES_MAX + 1))


@pytest.mark.parametrize(
    "fields",
    [
        {"v": 2}, {"device": ""}, {"device": "a/b"}, {"device": "gw-1\n"},
        {"number": -1}, {"number": 2**63}, {"state": "happy"}, {"slot": 10_000},
        {"slot": -2}, {"nonce": "xyz"}, {"policy_digest": "AB"}, {"clock": "bad"},
        {"reason": "x" * 201}, {"groups": ["g"] * 17}, {"groups": ["a b"]},
        {"approvers": [""]}, {"evidence_index": -2}, {"Secret4711": 1},
    ],
)  # fmt: skip
def test_what_the_format_forbids_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(WireError) as caught:
        decode_ack(_with(**fields))
    assert "Secret4711" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_our_own_bad_ack_is_not_sent() -> None:
    with pytest.raises(WireError):
        encode_ack(msgspec.structs.replace(BASE, rule="not a word"))


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_give_an_ack_or_the_one_error(body: bytes) -> None:
    for read in (decode_ack, lambda b: open_ack(b, KEY, "gw-1")):
        with pytest.raises(WireError):
            read(body)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(WireError):
        decode_ack(b'{"v":' + b"[" * 8000 + b"]" * 8000 + b"}")
