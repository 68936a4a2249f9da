"""Bundles: one set of files is one message; any other bytes are refused by a rule."""

from __future__ import annotations

import tracemalloc

import hypothesis.strategies as st
import msgpack
import pytest
from hypothesis import given

from protocols.bundle import (
    BUNDLE_BYTES_MAX,
    FILES_MAX,
    BundleError,
    encode_bundle,
    parse_bundle,
)

names = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,40}", fullmatch=True)
files = st.dictionaries(names, st.binary(max_size=64), max_size=8)
RULES = {"size", "depth", "cut", "format", "non-canonical"}


@given(files)
def test_files_come_back(told: dict[str, bytes]) -> None:
    assert parse_bundle(encode_bundle(told)) == told


@given(files)
def test_the_order_of_files_makes_no_other_message(told: dict[str, bytes]) -> None:
    other = dict(reversed(told.items()))
    assert encode_bundle(other) == encode_bundle(told)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_bundle_or_refused(message: bytes) -> None:
    try:
        told = parse_bundle(message)
    except BundleError as error:
        rule = error.rule
    else:
        assert encode_bundle(told) == message
        return
    assert rule in RULES


@given(files, st.data())
def test_a_changed_byte_is_another_bundle_or_none(
    told: dict[str, bytes], data: st.DataObject
) -> None:
    message = bytearray(encode_bundle(told))
    place = data.draw(st.integers(0, len(message) - 1))
    message[place] ^= data.draw(st.integers(1, 255))
    try:
        other = parse_bundle(bytes(message))
    except BundleError:
        return
    assert other != told


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (b"", "cut"),
        (bytes(BUNDLE_BYTES_MAX + 1), "size"),
        (msgpack.packb([2, {}]), "format"),
        (msgpack.packb([True, {}]), "non-canonical"),
        (msgpack.packb([1, {"../a": b""}]), "format"),
        (msgpack.packb([1, {"": b""}]), "format"),
        (msgpack.packb([1, {".a": b""}]), "format"),
        (msgpack.packb([1, {"a\n": b""}]), "format"),
        (msgpack.packb([1, {"a": "text"}]), "format"),
        (msgpack.packb([1, {b"a": b""}]), "format"),
        (msgpack.packb([1, {"a": {}}]), "format"),
        (msgpack.packb([1, {"a" * 161: b""}]), "size"),
        (msgpack.packb([1, {f"{n}": b"" for n in range(FILES_MAX + 1)}]), "size"),
        (msgpack.packb([1, {}, 0]), "size"),
        (b"\x92\x01\xdf\xff\xff\xff\xff", "size"),
        (b"\x92\xcc\x01\x80", "non-canonical"),  # 1 in two bytes
        (b"\xdc\x00\x02\x01\x80", "non-canonical"),  # a longer array header
        (b"\x92\x01\x80\x00", "non-canonical"),
        (b"\x92\x01\xc7\x00\x05", "format"),  # an extension
    ],
)
def test_what_is_no_bundle_has_a_rule(message: bytes, rule: str) -> None:
    with pytest.raises(BundleError) as refusal:
        parse_bundle(message)
    assert refusal.value.rule == rule


def test_what_cannot_be_a_bundle_is_not_made() -> None:
    with pytest.raises(BundleError, match="larger"):
        encode_bundle({"a": bytes(BUNDLE_BYTES_MAX)})
    with pytest.raises(BundleError, match="more than"):
        encode_bundle({f"{n}": b"" for n in range(FILES_MAX + 1)})
    with pytest.raises(BundleError, match="name"):
        encode_bundle({"a/b": b""})


def test_a_message_of_small_lists_is_refused_at_the_first_of_them() -> None:
    """A megabyte of them took forty in memory before it was found to be no bundle."""
    tree = b"\xc0"
    for _ in range(19):
        tree = b"\x92" + tree * 2
    for body in (tree, b"\x81\xa1a" + tree, b"\x82\xa1a\x80" + b"\xa1b" + tree):
        tracemalloc.start()
        with pytest.raises(BundleError, match=r"not \[1, files\]") as refusal:
            parse_bundle(b"\x92\x01" + body)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert refusal.value.rule == "format"
        assert most < 4 * 1024 * 1024
