"""`audit verify`: an honest history holds; every kind of tampering is told."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.consents import Change
from agent.records import Outcome
from agent.store.salvage import Break
from fleet.audit.tree import Head
from policies.tables import Action
from protocols.tlog.tree import Growth, leaf_hash
from tests.support import sealing
from tests.support.audits import checked, drive, report
from tests.support.fleet_side import NOW_NS, Gateway, Side

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def gateway() -> Gateway:
    return drive()


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return Side(tmp_path)


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
_TYPES = [
    "boot", "cfg.change", "key.life", "flow.out", "count.snap", "loss.rec",
    "consent.state", "firewall.snap", "x",
]  # fmt: skip


@given(st.data())
@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("state", "lasts_s", "good"),
    [
        ("on", 86_400, True),
        ("on", 365 * 86_400, True),
        ("on", 366 * 86_400, False),  # T51: no consent is permanent
        ("on", 0, False),
        ("off", 0, True),
        ("refused", 2**33, True),
    ],
)
def test_a_consent_has_an_end(
    gateway: Gateway, state: str, lasts_s: int, good: bool
) -> None:
    expires_ns = NOW_NS + lasts_s * 10**9
    change = Change("c", ("location",), state, "driver", expires_ns, False, "given")
    gateway.entries.append(gateway.evidence.consent(NOW_NS, change))
    assert bool(checked(gateway).problems) != good
