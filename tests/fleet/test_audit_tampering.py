"""`audit verify`: every kind of tampering is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgpack
import pytest

from agent.records import Outcome
from protocols.audit import AuditPage, encode_page
from tests.support.audits import checked, drive, report
from tests.support.fleet_side import LOG, NOW_NS, Gateway, Side

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def gateway() -> Gateway:
    return drive()


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return Side(tmp_path)


def edit(entries: list[bytes]) -> None:
    facts = msgpack.unpackb(entries[3])
    entries[3] = msgpack.packb(facts | {"samples": facts["samples"] + 1})


def delete(entries: list[bytes]) -> None:
    del entries[3]


def reorder(entries: list[bytes]) -> None:
    entries[3], entries[4] = entries[4], entries[3]


def insert(entries: list[bytes]) -> None:
    entries.insert(3, entries[3])


def truncate(entries: list[bytes]) -> None:
    del entries[-2:]


TAMPERING = [edit, delete, reorder, insert, truncate]


@pytest.mark.parametrize("how", TAMPERING)
def test_no_entry_under_a_checkpoint_can_be_changed(
    gateway: Gateway, how: Callable[[list[bytes]], None]
) -> None:
    gateway.sign()
    entries = list(gateway.entries)
    how(entries)
    found = checked(gateway, entries, gateway.checkpoints)
    assert any("checkpoint" in p or "not signed" in p for p in found.problems)


@pytest.mark.parametrize("how", [edit, delete, reorder, insert])
def test_even_a_device_that_signs_it_anew_is_found(
    gateway: Gateway, how: Callable[[list[bytes]], None]
) -> None:
    how(gateway.entries)
    assert not checked(gateway).holds


def test_a_log_cut_short_with_its_checkpoints_is_found_by_what_was_received(
    side: Side, gateway: Gateway
) -> None:
    side.send(gateway)
    side.take("audit", gateway.page(0, 7))
    found = report(side)
    assert any("does not name" in problem for problem in found.problems)
    side.take("state", gateway.state())
    assert any("the device had 14 entries" in p for p in report(side).problems)


def test_a_wrong_signature_another_device_and_another_log_are_found(
    gateway: Gateway,
) -> None:
    gateway.sign()
    ((size, root, note),) = gateway.checkpoints
    cut = note[:-9] + (b"A" if note[-9:-8] != b"A" else b"B") + note[-8:]
    strangers = [Gateway(seed=9), Gateway("gw-2"), Gateway(log=b"other-id")]
    for stranger in strangers:
        stranger.entries = gateway.entries
        stranger.sign()
    notes = [cut, *(stranger.checkpoints[0][2] for stranger in strangers)]
    for bad in notes:
        found = checked(gateway, None, [(size, root, bad)])
        assert found.checkpoints == 0
        assert not found.holds


def test_entries_of_another_device_or_key_are_found() -> None:
    for other in (Gateway("gw-2"), Gateway(seed=9)):
        gateway = Gateway()
        gateway.entries = other.entries
        assert any("another device" in p for p in checked(gateway).problems)


def test_two_histories_signed_by_the_device_are_found(side: Side) -> None:
    gateway = drive()
    side.send(gateway)
    side.take("audit", gateway.page())
    fork = drive()
    fork.entries[-1] = fork.evidence.loss(NOW_NS, "other", 1)
    side.take("audit", encode_page(AuditPage(LOG, 14, (), fork.sign())))
    assert any("another root" in problem for problem in report(side).problems)


def test_a_nonce_used_twice_is_found_in_the_log_and_in_the_ledger(side: Side) -> None:
    gateway = Gateway()
    gateway.seal([1])
    twin = Gateway()
    twin.seal([2])
    side.send(gateway)
    side.send(twin, twin.records[1:])
    gateway.snapshot()
    side.take("audit", gateway.page())
    assert any("used for two batches" in p for p in report(side).problems)
    gateway.entries.append(twin.entries[3])
    assert any("used twice" in p for p in checked(gateway).problems)


def test_envelopes_that_differ_are_missing_or_too_many_are_found(
    gateway: Gateway,
) -> None:
    from dataclasses import replace

    records = gateway.records
    other = [replace(records[1], body=b"other"), *records[2:], records[0]]
    assert "another digest" in checked(gateway, records=other).problems[0]
    more = [*records, replace(records[1], sequence=99)]
    assert "does not name" in checked(gateway, records=more).problems[0]
    fewer = [replace(records[1], samples=2), records[0], *records[2:]]
    assert "the log says 3" in checked(gateway, records=fewer).problems[0]


def test_an_epoch_without_announcement_or_with_a_gap_is_found() -> None:
    gateway = Gateway()
    gateway.seal([1])
    gateway.seal([2])
    kept = gateway.entries
    gateway.entries = [*kept[:2], *kept[3:]]
    assert any("not announced" in p for p in checked(gateway).problems)
    gateway.entries = [*kept[:3], *kept[4:]]
    gateway.checkpoints = []
    assert any("sequence 2 after 0" in p for p in checked(gateway).problems)


@pytest.mark.parametrize(
    ("place", "rule", "outcome"),
    [
        ("", "", Outcome.READ),
        ("oem", "rule-0", Outcome.SENT),
        ("oem", "", Outcome.DROPPED),
    ],
)
def test_counters_that_are_off_by_one_are_found(
    place: str, rule: str, outcome: Outcome
) -> None:
    gateway = Gateway()
    gateway.seal([1, 2], dropped=1)
    gateway.count(place, rule, outcome, 1)
    gateway.snapshot()
    assert not checked(gateway).holds


def test_a_boot_that_comes_back_is_found() -> None:
    gateway = Gateway()
    first = gateway.evidence
    gateway.start(b"second")
    gateway.entries.append(first.loss(NOW_NS, "late", 1))
    assert any("had ended" in problem for problem in checked(gateway).problems)


def test_rows_put_into_or_taken_from_the_ledger_are_found(
    side: Side, gateway: Gateway
) -> None:
    side.send(gateway)
    side.take("audit", gateway.page())
    for statement in (
        "DELETE FROM points WHERE rowid = 1",
        "UPDATE batches SET sha256 = zeroblob(32) WHERE sequence = 1",
        "DELETE FROM batches WHERE sequence = 1",
        "UPDATE entries SET body = zeroblob(9) WHERE position = 2",
        "DELETE FROM entries WHERE position = 13",
        "UPDATE epochs SET body = zeroblob(9)",
    ):
        assert report(side).holds
        side.ledger.query("BEGIN")
        side.ledger.query(statement)
        assert not report(side).holds
        side.ledger.query("ROLLBACK")


def test_a_device_without_evidence_does_not_hold(side: Side) -> None:
    assert report(side).problems == ["no evidence of this device is here"]
