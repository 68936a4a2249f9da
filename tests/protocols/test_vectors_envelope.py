"""The independent reader against our encoder, and both against recorded messages."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.protection.sealer import Sealer
from fleet.opener import Opener
from policies.tables import Action
from protocols.columns import Rows
from protocols.content import ContentEncoder, Definition, decode_content
from protocols.samples import TextBatch
from tests.reference import envelope_reader as reader
from tests.support.examples import upto
from tests.support.sealing import (
    COUNTER,
    DEVICE,
    LATITUDE,
    NOW_NS,
    SPEED,
    VIN,
    Device,
    bundle,
    entropy,
    floats,
    keys,
    numbers,
    policy,
    texts,
)

if TYPE_CHECKING:
    from pathlib import Path

    from agent.protection.sealer import Sealed
    from fleet.keys import RecipientKeys

OEM = keys("oem-2026", 10)
CARDS = {"oem-2026": OEM.card(), "keeper": keys("keeper", 20).card()}
SUITES = ("open", "x25519-aes256gcm", "mlkem768x25519-aes256gcm")
I64 = st.integers(-(2**63), 2**63 - 1)


def raw_keys(owner: RecipientKeys) -> reader.Keys:
    return reader.Keys(
        owner.x25519.private_bytes_raw(),
        owner.mlkem.private_bytes_raw(),
        owner.mlkem_x25519.private_bytes_raw(),
    )


def seal(suite: str) -> list[Sealed]:
    """Two batches of one epoch, of which the second defines nothing new."""
    is_open = suite == "open"
    action = Action.ALLOW if is_open else Action.ENCRYPT
    rules = policy(suite=SUITES[1] if is_open else suite, actions=[action])
    sealer = Sealer(rules, Device(), entropy(), bytes(range(16)), CARDS)
    to = rules.destinations[0]
    first = bundle(
        rules,
        [
            numbers(SPEED, [8000, 8010, 8025, 8000]),
            numbers(COUNTER, [2**62, -1, 0, 5]),
            floats(LATITUDE, [31.25, 31.25]),
        ],
        texts(VIN, b"LSVAA4182E2184847"),
    )
    second = bundle(rules, [numbers(SPEED, [0] * 50, NOW_NS + 123_456_789)])
    return [sealer.seal(to, one, NOW_NS + i) for i, one in enumerate((first, second))]


def ours(device_key: bytes, messages: list[bytes]) -> list[tuple[object, ...]]:
    opener = Opener([OEM], {DEVICE: device_key})
    opener.announce(DEVICE, messages[0])
    found: list[tuple[object, ...]] = []
    for message in messages[1:]:
        for column in opener.open(DEVICE, message):
            raws = column.raw.tolist() or [0] * len(column.texts)
            for raw, (time_ns, value, text) in zip(raws, column.rows(), strict=True):
                found.append((column.item, column.statistic, time_ns, raw, value, text))
    return found


def theirs(device_key: bytes, messages: list[bytes]) -> list[tuple[object, ...]]:
    epoch = reader.open_epoch(messages[0], device_key, raw_keys(OEM))
    return [
        (s.name, s.statistic, s.time_ns, s.raw, s.value, s.text)
        for message in messages[1:]
        for s in reader.open_batch(message, epoch, device_key)
    ]


@pytest.mark.parametrize("suite", SUITES)
def test_the_independent_reader_opens_what_we_seal(suite: str) -> None:
    messages = [record.body for one in seal(suite) for record in one.records]
    key = Device().public_key()
    assert theirs(key, messages) == ours(key, messages)
    assert len(theirs(key, messages)) == 61


@given(
    st.sampled_from([SPEED, COUNTER]),
    st.lists(I64, min_size=1, max_size=12),
    st.lists(st.floats(width=64, allow_nan=False), min_size=1, max_size=4),
    st.lists(st.binary(max_size=20), max_size=3),
)
@settings(max_examples=upto(60))
def test_the_independent_reader_opens_whatever_we_seal(
    item: int, raw: list[int], where: list[float], told: list[bytes]
) -> None:
    rules = policy(suite=SUITES[1])
    sealer = Sealer(rules, Device(), entropy(), bytes(16), CARDS)
    what = bundle(
        rules, [numbers(item, raw), floats(LATITUDE, where)], texts(VIN, *told)
    )
    made = sealer.seal(rules.destinations[0], what, NOW_NS)
    messages = [record.body for record in made.records]
    key = Device().public_key()
    found = theirs(key, messages)
    assert found == ours(key, messages)
    assert [row[3] for row in found[: len(raw)]] == raw
    assert [row[4] for row in found[len(raw) : -len(told) or None]] == where
    assert [row[5] for row in found if row[5] is not None] == told


@pytest.mark.parametrize("suite", SUITES)
def test_recorded_messages_open_with_both_readers(root: Path, suite: str) -> None:
    file = root / "docs" / "formats" / "vectors" / f"envelope-{suite}.json"
    vector: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    device_key = bytes.fromhex(vector["device_public_key"])
    recipient = {k: bytes.fromhex(v) for k, v in vector["recipient_keys"].items()}
    assert recipient == vars(raw_keys(OEM))
    messages = [bytes.fromhex(vector["announcement"])]
    messages += [bytes.fromhex(batch) for batch in vector["batches"]]
    want = [
        (
            s["item"], s["statistic"], s["time_ns"], s["raw"],
            None if s["value"] is None else float.fromhex(s["value"]),
            None if s["text"] is None else bytes.fromhex(s["text"]),
        )
        for s in vector["samples"]
    ]  # fmt: skip
    assert theirs(device_key, messages) == want
    assert ours(device_key, messages) == want
    if suite != "open":
        epoch = reader.open_epoch(messages[0], device_key, raw_keys(OEM))
        assert epoch.key.hex() == vector["batch_key"]


@st.composite
def rows(draw: st.DrawFn) -> tuple[Rows, np.ndarray[Any, Any]]:
    count = draw(st.integers(0, 40))
    columns = draw(st.integers(1, 6))
    near = draw(st.booleans())  # times as buses have them, or anything at all
    time = st.integers(0, 50).map(lambda k: NOW_NS + k * 1_000_000) if near else I64
    pick = st.lists(st.integers(0, columns - 1), min_size=count, max_size=count)
    numbers_ = np.array(draw(pick), np.uint32)
    if draw(st.booleans()):
        numbers_ = np.sort(numbers_)
    spread = draw(st.sampled_from([1, 7, 70_000]))
    fill = {"min_size": count, "max_size": count}
    return (
        Rows(
            np.array(draw(st.lists(time, **fill)), np.int64),
            numbers_ * np.uint32(spread),
            np.array(draw(st.lists(I64, **fill)), np.int64),
        ),
        np.array(draw(st.lists(st.booleans(), min_size=6, max_size=6)))[
            np.arange(6 * spread) // spread
        ],
    )


@given(rows(), st.lists(st.tuples(st.integers(0, 9), I64, st.binary()), max_size=4))
@settings(max_examples=upto(300))
def test_any_content_reads_the_same_in_both(
    made: tuple[Rows, np.ndarray[Any, Any]], told: list[tuple[int, int, bytes]]
) -> None:
    samples, is_float = made
    batch = TextBatch(
        np.array([t for _, t, _ in told], np.int64),
        np.array([n for n, _, _ in told], np.uint32),
        tuple(text for _, _, text in told),
    )
    word = Definition("A.B", "m", "c", "p", "", "can0", 0, 0.5, -1.0)
    data = ContentEncoder().encode(samples, is_float, batch, {3: word})

    want: dict[int, list[tuple[int, int]]] = {}
    for time_ns, column, raw in zip(
        samples.time_ns.tolist(), samples.column.tolist(), samples.raw.tolist(),
        strict=True,
    ):  # fmt: skip
        want.setdefault(column, []).append((time_ns, raw))

    words, texts_, columns = reader.content(data)
    assert {n: list(zip(t, r, strict=True)) for n, t, r in columns} == want
    assert list(words) == [3]
    assert texts_ == told

    found = decode_content(data)
    order = np.argsort(samples.column, kind="stable")
    assert found.rows.column.tolist() == samples.column[order].tolist()
    assert found.rows.time_ns.tolist() == samples.time_ns[order].tolist()
    assert found.rows.raw.tolist() == samples.raw[order].tolist()
    assert found.definitions == {3: word}
    assert list(found.texts.text) == [text for _, _, text in told]


def test_the_reader_tells_nan_from_numbers() -> None:
    bits = struct.unpack("<q", struct.pack("<d", float("nan")))[0]
    word: list[object] = ["i", "", "", "", "", "", 2, 1.0, 0.0]
    value = reader.sample(word, 0, bits).value
    assert value is not None
    assert np.isnan(value)
