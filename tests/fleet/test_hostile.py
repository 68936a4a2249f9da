"""Any bytes from anybody: a finding, never an exception, never a value in it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.announcement import ANNOUNCEMENT
from protocols.signed import pack_signed
from tests.support import sealing
from tests.support.examples import upto
from tests.support.fleet_side import Gateway, Side

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KINDS = ["key", "data", "event", "audit", "state", "telemetry", "ack"]
DEVICE = sealing.DEVICE
CANARY = 123_456_789_012
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1)
    | st.binary(max_size=40) | st.text(max_size=20) | st.floats(),
    lambda inner: st.lists(inner, max_size=14)
    | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=30,
)  # fmt: skip


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    made = Side(tmp_path_factory.mktemp("ledger"))
    made.ledger.query("PRAGMA synchronous = OFF")  # thousands of transactions
    yield made
    made.ledger.close()


@pytest.fixture(scope="module")
def messages() -> list[tuple[str, bytes]]:
    gateway = Gateway()
    gateway.seal([CANARY, CANARY + 1])
    rows = gateway.snapshot()
    index = len(gateway.entries) - 1
    return [
        *((r.kind, r.body) for r in gateway.records),
        ("audit", gateway.page()),
        ("state", gateway.state()),
        ("telemetry", gateway.telemetry(rows, index)),
    ]


@given(st.sampled_from(KINDS), st.binary(max_size=200))
def test_any_bytes_are_refused(side: Side, kind: str, body: bytes) -> None:
    before = side.collector.totals.refused
    side.take(kind, body)
    assert side.collector.totals.refused == before + 1


@given(st.sampled_from(KINDS), VALUE)
def test_any_msgpack_is_refused(side: Side, kind: str, value: object) -> None:
    side.take(kind, msgpack.packb(value, use_bin_type=True))


@given(kind=st.sampled_from(["state", "telemetry", ANNOUNCEMENT]), value=VALUE)
def test_anything_that_the_device_signs_is_survived(
    side: Side, kind: str, value: object
) -> None:
    sign = sealing.Device().sign
    topic = "key" if kind == ANNOUNCEMENT else kind
    side.take(topic, pack_signed(kind, msgpack.packb(value, use_bin_type=True), sign))


@given(data=st.data())
@settings(max_examples=upto(300))
@pytest.mark.slow
def test_changed_messages_are_survived(
    side: Side, messages: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    _, body = data.draw(st.sampled_from(messages))
    kind = data.draw(st.sampled_from(KINDS))
    cut = data.draw(st.integers(0, len(body)))
    changed = bytearray(body)
    for place in data.draw(st.lists(st.integers(0, len(body) - 1), max_size=4)):
        changed[place] ^= 1 << data.draw(st.integers(0, 7))
    side.take(kind, bytes(changed), body[:cut], body[cut:], body + body[:cut])


@given(
    number=st.integers(-(2**70), 2**70),
    field=st.sampled_from([b'"number":1', b'"evidence_size":3', b'"time_ns":']),
)
def test_signed_numbers_out_of_range_are_refused(
    side: Side, number: int, field: bytes
) -> None:
    gateway = Gateway()
    body, _ = msgpack.unpackb(gateway.state())
    name = field.split(b":")[0]
    changed = body.replace(field, name + b":" + str(number).encode())
    with contextlib.suppress(AssertionError):
        assert changed != body
    side.take("state", pack_signed("state", changed, gateway.signer.sign))


@given(st.text(max_size=80), st.binary(max_size=20))
def test_any_topic_is_survived(side: Side, topic: str, body: bytes) -> None:
    with side.ledger.transaction():
        side.collector.take_topic(topic, body, 0)


def test_no_finding_holds_a_value(
    tmp_path: Path, messages: list[tuple[str, bytes]]
) -> None:
    side = Side(tmp_path)
    for _, body in messages:
        for kind in KINDS:
            flipped = bytearray(body)
            flipped[-3] ^= 1
            side.take(kind, body, bytes(flipped), body[:-1])
    told = str(side.findings())
    assert len(side.findings()) > 8
    value = CANARY * 0.01
    for canary in (str(CANARY), str(value), f"{value:.2f}", f"{CANARY:x}"):
        assert canary not in told


def test_a_flood_of_device_names_does_not_grow_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.ledger.FINDINGS_MAX", 10)
    side = Side(tmp_path)
    for number in range(50):
        side.take("data", b"", device=f"gw-{number + 100}")
    assert len(side.ledger.query("SELECT * FROM findings")) <= 11
    assert side.one("SELECT SUM(count) FROM findings") == 50
