"""What the collector takes, opens, refuses, and promises in its receipts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.protection.sealer import KEY
from policies.tables import Action
from protocols.envelope import encode_envelope, parse_envelope
from protocols.receipts import open_receipt
from tests.support import sealing
from tests.support.fleet_side import KEEPER, NOW_NS, OEM, Gateway, Side

if TYPE_CHECKING:
    from pathlib import Path

    from fleet.keys import RecipientKeys
    from protocols.receipts import Receipt

COUNT = "SELECT COUNT(*) FROM "
DEVICE = sealing.DEVICE


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return Side(tmp_path)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def receipts(side: Side, keys: RecipientKeys = OEM) -> list[Receipt]:
    key = keys.receipt.public_key().public_bytes_raw()
    made = side.collector.receipts(NOW_NS)
    return [open_receipt(message, key, device) for device, message in made]


def settled(side: Side) -> dict[bytes, list[tuple[int, int]]]:
    found: dict[bytes, list[tuple[int, int]]] = {}
    for receipt in receipts(side):
        for epoch, spans in receipt.epochs:
            found.setdefault(epoch, []).extend(spans)
    return found


def test_batches_are_opened_stored_and_receipted(side: Side, gateway: Gateway) -> None:
    gateway.seal([100, 200])
    gateway.seal([300])
    side.send(gateway)
    rows = side.ledger.query(
        "SELECT device, item, unit, value, destination FROM samples ORDER BY time_ns,"
        " value"
    )
    assert {row[3] for row in rows} == {1.0, 2.0, 3.0}
    assert rows[0][:3] == (DEVICE, "Vehicle.Speed", "km/h")
    assert settled(side) == {gateway.records[0].epoch: [(0, 2)]}
    assert receipts(side) == []  # told once
    assert not side.rules()
    assert (side.collector.totals.batches, side.collector.totals.samples) == (2, 3)


def test_what_comes_again_is_stored_once_and_receipted_again(
    side: Side, gateway: Gateway
) -> None:
    gateway.seal()
    side.send(gateway)
    first = settled(side)
    side.send(gateway)
    assert settled(side) == first
    assert side.one(COUNT + "samples") == 3
    assert side.collector.totals.replays == 2
    batch = gateway.records[1]
    side.take("event", batch.body)  # the same batch under another topic
    assert side.one(COUNT + "samples") == 3
    assert side.collector.totals.replays == 3


def test_batches_may_come_before_their_announcement(
    side: Side, gateway: Gateway
) -> None:
    gateway.seal([1])
    gateway.seal([2])
    key, *batches = gateway.records
    side.send(gateway, batches)
    assert receipts(side) == []  # nothing is promised that cannot be opened
    assert side.one(COUNT + "samples") == 0
    side.again()  # a restart in between forgets nothing
    side.send(gateway, [key])
    assert settled(side) == {key.epoch: [(0, 2)]}
    assert side.one(COUNT + "samples") == 2
    assert side.one(COUNT + "unopened") == 0


def test_a_forged_batch_before_the_key_never_hides_the_true_one(
    side: Side, gateway: Gateway
) -> None:
    gateway.seal([1])
    key, batch = gateway.records
    whole = parse_envelope(batch.body)
    forged = encode_envelope(whole.header_bytes, bytes(len(whole.body)))
    side.take("data", forged, batch.body)
    side.send(gateway, [key])
    assert side.one(COUNT + "batches") == 1
    assert settled(side) == {key.epoch: [(0, 1)]}
    assert ("batch", "the tag does not hold") in side.findings()


def test_a_forged_batch_behind_the_key_is_a_finding_and_not_receipted(
    side: Side, gateway: Gateway
) -> None:
    gateway.seal([1])
    key, batch = gateway.records
    side.send(gateway, [key])
    settled(side)
    flipped = bytearray(batch.body)
    flipped[-1] ^= 1
    side.take("data", bytes(flipped))
    assert settled(side) == {}
    side.send(gateway, [batch])
    assert settled(side) == {key.epoch: [(1, 1)]}


def test_what_is_sealed_to_others_is_kept_and_not_receipted(tmp_path: Path) -> None:
    side = Side(tmp_path, keys=[KEEPER])
    gateway = Gateway()
    gateway.seal([7])
    side.send(gateway)
    assert receipts(side, KEEPER) == []
    assert side.ledger.query("SELECT status FROM unopened") == [("sealed",)]
    assert not side.rules()
    side.again([KEEPER, OEM])  # the key comes to us later: what is here opens
    assert side.one(COUNT + "samples") == 1
    assert side.one(COUNT + "unopened") == 0
    told = side.collector.receipts(NOW_NS)
    assert len(told) == 1  # by the key that opens it, not by the other
    oem = OEM.receipt.public_key().public_bytes_raw()
    assert open_receipt(told[0][1], oem, DEVICE).epochs[0][1] == ((1, 1),)


def test_open_batches_are_verified_and_receipted_by_every_key(tmp_path: Path) -> None:
    side = Side(tmp_path, keys=[KEEPER, OEM])
    gateway = Gateway(policy=sealing.policy(actions=(Action.ALLOW,)))
    gateway.seal([7])
    side.send(gateway)
    assert side.one(COUNT + "samples") == 1
    assert len(side.collector.receipts(NOW_NS)) == 2


def test_a_batch_of_another_device_is_refused(tmp_path: Path) -> None:
    other = sealing.Device("gw-2", 9)
    first = sealing.Device()
    known = {d.device: d.public_key() for d in (first, other)}
    side = Side(tmp_path, known)
    gateway = Gateway()
    gateway.seal()
    for record in gateway.records:
        side.take(record.kind, record.body, device="gw-2")
    assert side.one(COUNT + "batches") == 0
    assert side.one(COUNT + "epochs") == 0
    assert side.rules() == {"announcement", "batch"}
    assert side.collector.totals.devices["gw-2"].refused == 2


def test_an_unknown_device_and_an_unknown_kind_are_findings(
    side: Side, gateway: Gateway
) -> None:
    gateway.seal()
    side.take("data", gateway.records[1].body, device="gw-99")
    side.take("ack", b"x")
    with side.ledger.transaction():
        side.collector.take_topic("sg/1/other/gw-1/data", b"x", NOW_NS)
        side.collector.take_topic("no/such/topic", b"x", NOW_NS)
    assert set(side.findings()) >= {
        ("device", "is not enrolled"),
        ("topic", "no such kind of message"),
        ("topic", "of another fleet"),
    }
    assert side.collector.totals.refused == 4
    assert side.one(COUNT + "unopened") == 0


def test_one_epoch_announced_in_two_ways_is_refused_also_after_a_restart(
    side: Side, gateway: Gateway
) -> None:
    gateway.seal()
    key = gateway.records[0]
    assert key.kind == KEY
    twin = Gateway()  # the same entropy gives the same epoch, HPKE another wrap
    twin.seal()
    assert twin.records[0].epoch == key.epoch
    assert twin.records[0].body != key.body
    side.send(gateway, [key])
    side.again()
    side.send(twin, [twin.records[0]])
    reason = "the epoch was announced before, differently"
    assert ("announcement", reason) in side.findings()
    side.send(gateway)
    assert side.one(COUNT + "samples") == 3


def test_a_sequence_used_twice_is_a_finding_of_its_own(
    side: Side, gateway: Gateway
) -> None:
    gateway.seal([1, 2])
    side.send(gateway)
    twin = Gateway()
    twin.seal([8, 9])  # same data key, same nonce, other content
    assert twin.records[1].epoch == gateway.records[1].epoch
    side.send(twin, [twin.records[1]])
    assert side.rules() == {"nonce"}
    assert side.one("SELECT MAX(value) FROM samples") == 0.02


def test_states_never_go_back_and_telemetry_is_kept_once(
    side: Side, gateway: Gateway
) -> None:
    gateway.seal()
    rows = gateway.snapshot()
    side.take("state", gateway.state(2, 5), gateway.state(1, 3))
    assert side.one("SELECT number FROM states") == 2
    told = gateway.telemetry(rows, 5)
    side.take("telemetry", told, told)
    assert side.one(COUNT + "telemetry") == 1
    assert not side.rules()
    side.take("telemetry", gateway.telemetry(rows[:1], 5))
    side.take("state", gateway.telemetry(rows, 6))
    assert side.rules() == {"telemetry", "state"}


def test_a_restart_goes_on_where_it_was(side: Side, gateway: Gateway) -> None:
    gateway.seal([1])
    side.send(gateway)
    side.again()
    gateway.seal([2])
    side.send(gateway)
    assert side.one(COUNT + "samples") == 2
    assert settled(side) == {gateway.records[0].epoch: [(0, 2)]}


def test_a_receipt_never_says_more_than_its_format_holds(
    side: Side, gateway: Gateway
) -> None:
    gateway.seal([1])
    side.send(gateway)
    settled(side)
    epoch = gateway.records[0].epoch
    for sequence in range(1, 9001, 2):
        side.collector._owe(DEVICE, epoch, sequence)
    told = receipts(side)
    assert [len(r.epochs[0][1]) for r in told] == [2048, 2048, 404]


def test_rolled_back_work_leaves_nothing(side: Side, gateway: Gateway) -> None:
    gateway.seal()

    def fail() -> None:
        with side.ledger.transaction():
            for record in gateway.records:
                side.collector.take(DEVICE, record.kind, record.body, NOW_NS)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert side.one(COUNT + "samples") == 0
    assert side.one(COUNT + "epochs") == 0
    side.again()
    side.send(gateway)
    assert side.one(COUNT + "samples") == 3
