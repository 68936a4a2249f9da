"""docs/formats/enrolment.md and its vector are what the code gives, and no more."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.enrolment import (
    decode_answer,
    heard,
    open_message,
    open_request,
    open_request_file,
    spoken,
)
from protocols.errors import WireError
from protocols.pki import check_chain, parse_chain, parse_csr, spki
from tests.support.make_enrolment_vector import FILE, vector
from tests.support.sealing import Device

if TYPE_CHECKING:
    from pathlib import Path

VECTOR: dict[str, Any] = json.loads(FILE.read_text(encoding="ascii"))
MESSAGE = bytes.fromhex(VECTOR["request_message"])
DEVICE = Device("gw-7", VECTOR["seed"])


def test_the_vector_is_what_the_code_gives(root: Path) -> None:
    """Else run ``python -m tests.support.make_enrolment_vector``."""
    assert (root / FILE).exists()
    assert vector(VECTOR["csr"], VECTOR["certificates"]) == VECTOR


def test_the_vector_by_hand() -> None:
    """Without our code: the two forms, the signed bytes, the fingerprints."""
    form = json.loads(VECTOR["request_file"])
    body, signature = msgpack.unpackb(MESSAGE)
    assert form["body"].encode() == body
    assert base64.b64decode(form["signature"]) == signature
    assert DEVICE.sign(b"sluicegate/1/enrolment-request\0" + body) == signature
    assert hashlib.sha256(body).hexdigest() == VECTOR["request_fingerprint"]
    answer = json.loads(VECTOR["answer_file"])
    flat = json.dumps(answer, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(flat.encode()).hexdigest() == VECTOR["answer_fingerprint"]
    assert answer["request"] == VECTOR["request_fingerprint"]


def test_request_and_answer_belong_together() -> None:
    asked = open_message(MESSAGE, DEVICE.public_key())
    assert asked == open_request_file(VECTOR["request_file"].encode())
    csr = parse_csr(asked.csr, "gw-7")
    answer = decode_answer(VECTOR["answer_file"].encode())
    check_chain(parse_chain(answer.chain()), spki(csr.public_key()), "gw-7")
    with pytest.raises(WireError, match="does not name the device"):
        check_chain(parse_chain(answer.chain()), spki(csr.public_key()), "gw-8")
    with pytest.raises(WireError, match="another key"):
        check_chain(parse_chain(answer.chain()), b"", "gw-7")
    with pytest.raises(WireError, match="common name"):
        parse_csr(asked.csr, "gw-8")


def test_another_identity_cannot_take_a_request_over() -> None:
    other = Device("gw-7", 8)
    with pytest.raises(WireError, match="does not hold"):
        open_message(MESSAGE, other.public_key())
    body, _ = msgpack.unpackb(MESSAGE)
    signature = other.sign(b"sluicegate/1/enrolment-request\0" + body)
    for identity in (b"", other.public_key()):
        with pytest.raises(WireError):
            open_request(body, signature, identity)


@given(st.integers(0, len(MESSAGE) - 1), st.integers(1, 255))
def test_a_changed_request_is_refused(at: int, change: int) -> None:
    changed = bytearray(MESSAGE)
    changed[at] ^= change
    with pytest.raises(WireError):
        open_message(bytes(changed), DEVICE.public_key())


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    for read in (open_request_file, decode_answer):
        with pytest.raises(WireError):
            read(data)
    with pytest.raises(WireError):
        parse_csr(data, "gw-7")


def test_fingerprints_as_people_type_them() -> None:
    digest = VECTOR["request_fingerprint"]
    assert heard(spoken(digest)) == digest[:32]
    assert heard(digest.upper()) == digest
    assert heard(":".join(digest[at : at + 2] for at in range(0, 32, 2))) == digest[:32]
    for text in ("", digest[:31], digest + "0", "g" * 32, digest[:32] + "\n", "²" * 32):
        with pytest.raises(WireError):
            heard(text)


def test_an_unknown_field_is_refused_and_not_repeated() -> None:
    form = json.loads(VECTOR["answer_file"])
    with pytest.raises(WireError) as told:
        decode_answer(json.dumps({**form, "\x1b[2J": 1}).encode())
    assert "2J" not in str(told.value)
