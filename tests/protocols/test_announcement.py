"""Announcements and the signed form around them."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.announcement import (
    Announcement,
    Wrap,
    encode_announcement,
    open_announcement,
)
from protocols.errors import WireError
from protocols.signed import open_signed, pack_signed, split_signed
from tests.support.sealing import GENERAL, Device

DEVICE = Device()
KEY = DEVICE.public_key()
SAID = Announcement(
    "x25519-aes256gcm", DEVICE.device, bytes(16), "oem", GENERAL, bytes(16), 5,
    bytes(32), (Wrap("oem", bytes(16), b"w"), Wrap("other", bytes(16), b"")), b"words",
)  # fmt: skip
OPEN = replace(SAID, suite="open", commitment=b"", wraps=())


@pytest.mark.parametrize("said", [SAID, OPEN], ids=["sealed", "open"])
def test_what_is_announced_is_what_is_read(said: Announcement) -> None:
    assert open_announcement(encode_announcement(said, DEVICE.sign), KEY) == said


def test_any_changed_byte_is_refused() -> None:
    message = encode_announcement(SAID, DEVICE.sign)
    for place in range(len(message)):
        bad = bytearray(message)
        bad[place] ^= 1
        with pytest.raises(WireError):
            open_announcement(bytes(bad), KEY)


def body() -> list[object]:
    fields = msgpack.unpackb(
        split_signed("announcement", encode_announcement(SAID, DEVICE.sign))[0]
    )
    assert isinstance(fields, list)
    return fields


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (0, 2, "version 2"),
        (1, 7, "unknown suite"),
        (1, 0, "commitment"),
        (3, b"", "epoch of 0"),
        (4, "", "empty or too long"),
        (5, 9 << 8, "no such label"),
        (6, "G1/none/raw/none/none", "two forms"),
        (7, bytes(3), "boot"),
        (8, 2**63, "time"),
        (9, bytes(31), "commitment of 31"),
        (10, [1], "a wrap is not"),
        (10, [["a", bytes(15), b""]], "a wrap is not"),
        (10, [["a", bytes(16), b""]] * 65, "is not msgpack"),
        (11, "text", "twelve fields"),
    ],
)
def test_a_signed_body_that_is_none_is_refused(
    place: int, value: object, reason: str
) -> None:
    fields = body()
    fields[place] = value
    packed = msgpack.packb(fields)
    assert isinstance(packed, bytes)
    message = pack_signed("announcement", packed, DEVICE.sign)
    with pytest.raises(WireError, match=reason):
        open_announcement(message, KEY)


def test_an_open_epoch_with_a_wrap_is_refused() -> None:
    message = encode_announcement(replace(OPEN, wraps=SAID.wraps), DEVICE.sign)
    with pytest.raises(WireError, match="no key to wrap"):
        open_announcement(message, KEY)


def test_a_signature_for_one_purpose_serves_no_other() -> None:
    message = pack_signed("state", b"body", DEVICE.sign)
    assert open_signed("state", message, KEY) == b"body"
    for other in ("telemetry", "announcement", "stat", "state\0"):
        with pytest.raises(WireError, match="does not hold"):
            open_signed(other, message, KEY)
    with pytest.raises(WireError, match="does not hold"):
        open_signed("state", message, Device(seed=8).public_key())
    with pytest.raises(WireError, match="does not hold"):
        open_signed("state", message, b"short")
    with pytest.raises(WireError, match="larger than 9"):
        open_signed("state", message, KEY, 9)


@given(st.binary(max_size=150))
def test_any_bytes_are_refused_without_the_key(message: bytes) -> None:
    with pytest.raises(WireError):
        open_announcement(message, KEY)
