"""`audit verify`: an honest history holds; every kind of tampering is told."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.records import Outcome
from agent.store.salvage import Break
from fleet.audit import Verifier
from fleet.audit_sources import verify_ledger
from fleet.audit_tree import Head
from policies.tables import Action
from protocols.audit import AuditPage, encode_page
from protocols.tlog.tree import Growth, leaf_hash
from tests.support import sealing
from tests.support.fleet_side import FLEET, LOG, NOW_NS, Gateway, Side

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent.records import SpoolRecord
    from fleet.audit_report import Report

DEVICE = sealing.DEVICE
KEY = sealing.Device().public_key()
ORIGIN = f"sluicegate/{FLEET}/{DEVICE}/{LOG.hex()}"


def drive() -> Gateway:
    """Return a device that did a little of everything, and stopped cleanly."""
    gateway = Gateway()
    gateway.seal([1, 2, 3], dropped=2)
    gateway.seal([4])
    gateway.snapshot()
    gateway.start(b"second", last="clean")
    gateway.seal([5, 6])
    gateway.snapshot()
    gateway.stop()
    return gateway


@pytest.fixture
def gateway() -> Gateway:
    return drive()


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return Side(tmp_path)


def report(side: Side, *, behind_ok: bool = False) -> Report:
    (found,) = verify_ledger(side.ledger, {DEVICE: KEY}, behind_ok=behind_ok)
    return found


def checked(
    gateway: Gateway,
    entries: Sequence[bytes] | None = None,
    notes: Sequence[tuple[int, bytes, bytes]] | None = None,
    records: Sequence[SpoolRecord] | None = None,
) -> Report:
    """Verify lists: what the ledger would hold, tampered with at will."""
    if notes is None:
        gateway.sign()
        notes = gateway.checkpoints
    verifier = Verifier(DEVICE, KEY)
    verifier.log(ORIGIN, gateway.entries if entries is None else entries, notes)
    verifier.received(
        ((r.epoch, r.sequence), leaf(r.body), r.samples)
        for r in (gateway.records if records is None else records)
    )
    return verifier.report


def leaf(body: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(body).digest()


# --- what holds ---------------------------------------------------------------------


def test_an_honest_history_holds_from_end_to_end(side: Side, gateway: Gateway) -> None:
    side.send(gateway)
    side.take("audit", gateway.page(0, 5), gateway.page(5))
    side.take("state", gateway.state())
    found = report(side)
    assert found.problems == []
    assert (found.entries, found.covered, found.boots) == (14, 14, 2)
    assert (found.envelopes, found.received, found.samples_sent) == (5, 5, 6)
    assert found.notes == []


def test_telemetry_is_held_against_the_log(side: Side) -> None:
    gateway = Gateway()
    gateway.seal([1])
    rows = gateway.snapshot()
    side.send(gateway)
    side.take("audit", gateway.page())
    index = len(gateway.entries) - 1
    side.take("telemetry", gateway.telemetry(rows, index))
    assert report(side).problems == []
    assert report(side).telemetry == 1
    side.take("telemetry", gateway.telemetry(rows, 2))
    assert "no count.snap" in report(side).problems[0]
    gateway.seal([1])
    other = gateway.snapshot()
    side.send(gateway)
    side.take("audit", gateway.page())
    wrong = [*other, rows[0]]
    side.take("telemetry", gateway.telemetry(wrong, len(gateway.entries) - 1))
    assert any("other numbers" in problem for problem in report(side).problems)


def test_what_is_lost_with_a_cause_is_no_gap(side: Side, gateway: Gateway) -> None:
    lost, *rest = gateway.records[1:]
    side.send(gateway, [gateway.records[0], *rest])
    assert lost.sequence == 1
    side.take("audit", gateway.page())
    assert "was not received" in report(side).problems[0]
    assert report(side).waiting == 1
    gateway.lose("evicted", [lost])
    side.take("audit", gateway.page(14))
    found = report(side)
    assert found.problems == []
    assert found.lost == {"evicted": 1}


def test_a_device_that_is_behind_holds_only_where_that_is_allowed(
    side: Side, gateway: Gateway
) -> None:
    side.send(gateway, gateway.records[:2])
    side.take("audit", gateway.page(0, 9), gateway.page(9, 12, signed=False))
    side.take("state", gateway.state())
    assert report(side, behind_ok=True).problems == []
    assert report(side, behind_ok=True).waiting == 3
    problems = Counter(p.split(" ")[0] for p in report(side).problems)
    assert sum(problems.values()) == 5  # three missing, unsigned end, state knows more


def test_what_stays_on_the_device_is_not_asked_for() -> None:
    gateway = Gateway(policy=sealing.policy(actions=(Action.KEEP,)))
    bundle = sealing.bundle(gateway.policy, [sealing.numbers(sealing.SPEED, [1, 2])])
    place = gateway.policy.destinations[0]
    sealed = gateway.sealer.seal(place, bundle, NOW_NS)
    gateway.records = [*sealed.records]
    for record in sealed.records:
        gateway.entries.append(gateway.evidence.record(NOW_NS, record, "CN", []))
    for kept in sealed.retained:
        told = [("rule-0", kept.samples, False)] if kept.samples else []
        entry = gateway.evidence.retained(NOW_NS, kept, "keeper", told)
        gateway.entries.append(entry)
    gateway.count("", "", Outcome.READ, 2)
    gateway.count("oem", "rule-0", Outcome.KEPT, 2)
    gateway.snapshot()
    found = checked(gateway)
    assert found.problems == []
    assert (found.kept, found.waiting) == (1, 0)
    gateway.count("", "", Outcome.READ, 1)
    gateway.count("oem", "rule-0", Outcome.KEPT, 1)  # counted, in no envelope
    gateway.snapshot()
    gateway.checkpoints = []
    assert "custodian, rule rule-0" in checked(gateway).problems[0]


def test_samples_held_at_a_crash_are_told_and_add_up() -> None:
    for told, holds in ((7, True), (0, False), (6, False)):
        gateway = Gateway()
        gateway.seal([1, 2])
        gateway.count("", "", Outcome.READ, 7)  # they wait inside a transform
        gateway.snapshot(held=7)
        gateway.start(b"after", last="crash")
        if told:
            gateway.entries.append(gateway.evidence.loss(NOW_NS, "held at crash", told))
        gateway.seal([3])
        gateway.snapshot()
        assert checked(gateway).holds == holds


def test_a_destination_that_holds_everything_so_far_is_no_gap() -> None:
    gateway = Gateway()
    gateway.count("", "", Outcome.READ, 7)
    gateway.snapshot(held=7)
    gateway.count("oem", "rule-0", Outcome.MERGED, 7)
    gateway.snapshot()
    assert checked(gateway).holds


def test_a_crash_between_two_policies_is_told_apart_from_a_loss() -> None:
    gateway = Gateway()
    gateway.seal([1, 2])  # counted, not told in a snapshot: the process dies
    gateway.policy = sealing.policy(suite="mlkem768x25519-aes256gcm")
    object.__setattr__(gateway.policy, "digest", bytes(32))
    gateway.start(b"after", last="crash")
    gateway.seal([3])
    gateway.snapshot()
    assert checked(gateway).problems == []
    gateway.count("oem", "", Outcome.DROPPED, 9)  # more came out than went in
    gateway.snapshot()
    assert not checked(gateway).holds


def test_numbers_may_skip_and_a_damaged_store_is_told(side: Side) -> None:
    gateway = Gateway()
    gateway.evidence.loss(NOW_NS, "never committed", 1)
    gateway.seal([1])
    gateway.seal([2])
    gateway.snapshot()
    side.send(gateway)
    side.take("audit", gateway.page(0, 4))  # the rest was lost with the store
    again = Gateway(log=b"second-8", run=b"second")
    told = Break("r", "aside", False, "why", b"second-8", 0, 5, 0, 2, 0, 0)
    again.entries.append(again.evidence.broken(NOW_NS, told))
    again.seal([3])
    again.snapshot()
    side.send(again)
    side.take("audit", again.page())
    found = report(side)
    assert found.problems == []
    assert found.logs == 2
    assert found.not_named == 1
    assert "entries were lost with a damaged store" in found.notes


# --- what does not hold -------------------------------------------------------------


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


# --- anything -----------------------------------------------------------------------


@given(st.lists(st.binary(max_size=40), max_size=80), st.integers(0, 80))
def test_the_fast_head_is_the_tree_head(leaves: list[bytes], cut: int) -> None:
    head, tree = Head(), Growth(0, {})
    for part in (leaves[:cut], leaves[cut:]):
        head.append(part)
        tree.append([leaf_hash(entry) for entry in part])
        assert (head.size, head.root()) == (tree.size, tree.root())


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary()
    | st.text() | st.floats(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)  # fmt: skip
_TYPES = ["boot", "cfg.change", "key.life", "flow.out", "count.snap", "loss.rec", "x"]


@given(st.data())
def test_strange_entries_are_problems_and_never_exceptions(data: st.DataObject) -> None:
    gateway = drive()
    index = data.draw(st.integers(0, len(gateway.entries) - 1))
    facts = msgpack.unpackb(gateway.entries[index])
    names = st.sampled_from([*facts, "rows", "cause", "epoch", "held"])
    changed = facts | data.draw(st.dictionaries(names, _ANY, min_size=1, max_size=3))
    changed["type"] = data.draw(st.sampled_from([facts["type"], *_TYPES]))
    whole = msgpack.packb(changed, use_bin_type=True)
    gateway.entries[index] = data.draw(st.sampled_from([whole, whole[:-1], b"\xc1"]))
    checked(gateway)
