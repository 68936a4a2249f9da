"""The frame of a batch and the keys of an epoch: exact bytes, and every refusal."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import msgpack
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from protocols.announcement import context, wrap_info
from protocols.envelope import (
    HEADER_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    SUITES,
    Header,
    derive_keys,
    encode_envelope,
    encode_header,
    nonce,
    parse_envelope,
)
from protocols.errors import WireError

if TYPE_CHECKING:
    from pathlib import Path

EPOCH = bytes(range(16))
HEADER = Header(
    "x25519-aes256gcm", "gw-1", EPOCH, 1, bytes(32), 272, "oem", 1767225600 * 10**9
)


def blocks(root: Path) -> list[str]:
    text = (root / "docs" / "formats" / "envelope.md").read_text(encoding="utf-8")
    return text.split("## 12. Worked example")[1].split("```")[1::2]


def test_the_documents_header_and_keys_are_ours(root: Path) -> None:
    _, header, derived = blocks(root)[:3]
    assert encode_header(HEADER) == bytes.fromhex(header)
    found = dict(re.findall(r"(\w+) +([0-9a-f]+)", derived))
    keys = derive_keys(bytes(range(32)), HEADER.suite, "gw-1", EPOCH)
    assert keys.key.hex() == found["key"]
    assert keys.commitment.hex() == found["commitment"]
    sealed = AESGCM(keys.key).encrypt(nonce(1), b"sluice", encode_header(HEADER))
    assert sealed.hex() == found["ciphertext"]


def test_nonces_are_the_sequence_and_never_collide() -> None:
    assert nonce(1).hex() == "000000000000000000000001"
    assert nonce(2**63 - 1).hex() == "000000007fffffffffffffff"
    assert len({nonce(n) for n in range(1000)}) == 1000


def test_keys_differ_by_device_epoch_and_suite() -> None:
    places = [
        ("x25519-aes256gcm", "gw-1", EPOCH),
        ("mlkem768x25519-aes256gcm", "gw-1", EPOCH),
        ("x25519-aes256gcm", "gw-2", EPOCH),
        ("x25519-aes256gcm", "gw-1", bytes(16)),
    ]
    made = [derive_keys(bytes(32), *place) for place in places]
    assert len({k.key for k in made} | {k.commitment for k in made}) == 8


def test_a_wrap_is_tied_to_its_destination_and_label() -> None:
    ties = {
        wrap_info(context("x25519-aes256gcm", "gw-1", EPOCH, destination, label))
        for destination in ("oem", "supplier")
        for label in (272, 273)
    }
    assert len(ties) == 4


@given(
    st.sampled_from(sorted(SUITES)),
    st.text("abc-._9é", min_size=1, max_size=60),
    st.binary(min_size=16, max_size=16),
    st.integers(1, 2**63 - 1),
    st.binary(max_size=200),
)
def test_any_batch_reads_back(
    suite: str, device: str, epoch: bytes, sequence: int, body: bytes
) -> None:
    header = replace(HEADER, suite=suite, device=device, epoch=epoch, sequence=sequence)
    signature = bytes(64) if suite == "open" else b""
    octets = encode_header(header)
    found = parse_envelope(encode_envelope(octets, body + bytes(16), signature))
    assert found.header == header
    assert (found.header_bytes, found.body) == (octets, body + bytes(16))
    assert found.signature == signature


def changed(place: int, value: object) -> bytes:
    fields = msgpack.unpackb(encode_header(HEADER))
    fields[place] = value
    packed = msgpack.packb(fields)
    assert isinstance(packed, bytes)
    return packed


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (changed(0, 2), "version 2"),
        (changed(1, 3), "unknown suite 3"),
        (changed(1, 0), "do not fit together"),
        (changed(2, ""), "empty or too long"),
        (changed(2, "x" * 129), "empty or too long"),
        (changed(3, bytes(15)), "epoch of 15"),
        (changed(4, 0), "sequence"),
        (changed(4, 2**63), "sequence"),
        (changed(5, bytes(31)), "policy digest"),
        (changed(6, 6 << 8), "no such label"),
        (changed(6, -1), "no such label"),
        (changed(7, b"oem"), "nine fields"),
        (changed(8, 2**63), "time"),
        (msgpack.packb([1, 2, 3]), "nine fields"),
        (b"\xc1", "is not msgpack"),
        (bytes(HEADER_BYTES_MAX + 1), "larger than"),
    ],
)
def test_a_header_that_is_none_is_refused(header: bytes, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        parse_envelope(encode_envelope(header, bytes(16)))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (bytes(MESSAGE_BYTES_MAX + 1), "larger than"),
        (b"", "is not msgpack"),
        (msgpack.packb([b"a"]), "is not"),
        (msgpack.packb([b"a", b"b", b"c"]), "is not"),
        (msgpack.packb({"a": 1}), "is not msgpack"),
        (msgpack.packb([encode_header(HEADER), bytes(15)]), "shorter than a tag"),
        (msgpack.packb([encode_header(HEADER), bytes(16), bytes(64)]), "do not fit"),
        (msgpack.packb([encode_header(HEADER), bytes(16)]) + b"\0", "is not msgpack"),
    ],
)
def test_a_message_that_is_none_is_refused(message: bytes, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        parse_envelope(message)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_batch_or_refused(message: bytes) -> None:
    try:
        found = parse_envelope(message)
    except WireError:
        return
    assert found.header.sequence >= 1
