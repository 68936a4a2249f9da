"""Entries of the log: who made them, in which order, and that no value is in them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from agent.evidence import Evidence
from agent.records import (
    CounterRow,
    Eviction,
    Outcome,
    Rank,
    RetainedRecord,
    SpoolRecord,
)
from tests.support.sealing import NOW_NS, policy

if TYPE_CHECKING:
    from collections.abc import Mapping

BOOT, EPOCH = bytes(range(16)), bytes(range(16, 32))
BODY = b"sealed bytes that nobody here can read"
HEAD = ["v", "type", "ts", "boot", "n", "policy"]


def facts_of(entry: bytes) -> Mapping[str, Any]:
    found = msgpack.unpackb(entry)
    assert list(found)[:6] == HEAD
    assert msgpack.packb(found, use_bin_type=True) == entry  # canonical: it is a leaf
    assert isinstance(found, dict)
    return found


@pytest.fixture
def evidence() -> Evidence:
    return Evidence("gw-1", BOOT, "1.0")


def record(kind: str = "data") -> SpoolRecord:
    return SpoolRecord(kind, "oem", Rank.GENERAL, 7, EPOCH, 3, NOW_NS, BODY, samples=5)


def row(outcome: Outcome, count: int, to: str = "oem") -> CounterRow:
    if outcome is Outcome.READ:
        return CounterRow("", 7, "driving", "can0", outcome, count, count * 8)
    return CounterRow(to, 7, "rule", "encrypt", outcome, count, count)


def test_entries_of_a_boot_are_numbered_without_a_gap(evidence: Evidence) -> None:
    entries = [
        evidence.boot(NOW_NS, bytes(32), "high", {"ended": "clean"}),
        evidence.policy(NOW_NS, policy(), "active", "file"),
        evidence.record(NOW_NS, record(), "CN", []),
        *evidence.counters(0, 10**9, [row(Outcome.READ, 1)], 0),
        evidence.loss(NOW_NS, "kernel", 3),
        evidence.stop(NOW_NS, "signal"),
    ]
    found = [facts_of(entry) for entry in entries]
    assert [f["n"] for f in found] == list(range(7))
    assert [f["type"] for f in found] == [
        "boot", "cfg.change", "flow.out", "collect.rec", "count.snap", "loss.rec",
        "stop",
    ]  # fmt: skip
    assert {f["boot"] for f in found} == {BOOT}


def test_entries_name_the_policy_under_which_they_were_made(
    evidence: Evidence,
) -> None:
    before = facts_of(evidence.loss(NOW_NS, "x", 1))
    step = facts_of(evidence.policy(NOW_NS, policy(), "active", "file"))
    after = facts_of(evidence.loss(NOW_NS, "x", 1))
    assert (before["policy"], step["before"]) == (b"", b"")
    assert step["policy"] == after["policy"] == policy().digest
    again = facts_of(evidence.policy(NOW_NS, policy(), "active", "file"))
    assert again["before"] == policy().digest


@pytest.mark.parametrize(("kind", "entry"), [("data", "flow.out"), ("key", "key.life")])
def test_an_envelope_is_told_by_digest_size_and_rules(
    evidence: Evidence, kind: str, entry: str
) -> None:
    facts = facts_of(
        evidence.record(NOW_NS, record(kind), "CN", [("a", 3, False), ("b", 2, True)])
    )
    assert facts["type"] == entry
    assert facts["sha256"] == hashlib.sha256(BODY).digest()
    assert (facts["bytes"], facts["samples"]) == (len(BODY), 5)
    assert (facts["dest"], facts["region"], facts["label"]) == ("oem", "CN", 7)
    assert (facts["epoch"], facts["seq"]) == (EPOCH, 3)
    assert facts["rules"] == [["a", 3, False], ["b", 2, True]]


def test_what_stays_is_told_with_its_end(evidence: Evidence) -> None:
    kept = RetainedRecord("driving", 7, EPOCH, 1, NOW_NS, NOW_NS + 9, BODY, 4)
    facts = facts_of(evidence.retained(NOW_NS, kept, "keeper", [("r", 4, False)]))
    assert (facts["kind"], facts["dest"], facts["region"]) == (
        "keep", "keeper", "device",
    )  # fmt: skip
    assert facts["expires"] == NOW_NS + 9


def test_a_snapshot_tells_every_row_and_the_six_facts_of_collection(
    evidence: Evidence,
) -> None:
    rows = [row(Outcome.READ, 50), row(Outcome.SENT, 40), row(Outcome.THINNED, 8)]
    collect, snap = map(facts_of, evidence.counters(0, 2 * 10**9, rows, 2))
    assert collect["rows"] == [["can0", "driving", 7, 50, 400, 25.0]]
    assert (collect["t0"], collect["t1"]) == (0, 2 * 10**9)
    assert sum(r[5] for r in snap["rows"] if r[0]) + snap["held"] == 50
    assert [r[4] for r in snap["rows"]] == ["read", "sent", "thinned"]


def test_no_growth_makes_no_entry_and_takes_no_number(evidence: Evidence) -> None:
    assert evidence.counters(0, 1, [], 0) == ()
    assert facts_of(evidence.stop(NOW_NS, "x"))["n"] == 0


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        ("expired", "destroy.rec"),
        ("destroyed", "destroy.rec"),
        ("evicted", "loss.rec"),
        ("damaged", "loss.rec"),
    ],
)
def test_deleted_on_purpose_and_lost_are_two_things(
    evidence: Evidence, cause: str, kind: str
) -> None:
    lost = (Eviction("data", 7, 3, 900, 60, ((EPOCH, 4, 6),), cause),)
    facts = facts_of(evidence.let_go(NOW_NS, cause, lost))
    assert (facts["type"], facts["cause"], facts["count"]) == (kind, cause, 3)
    assert facts["rows"] == [["data", 7, 3, 900, 60, [[EPOCH, 4, 6]]]]


def test_the_body_of_an_envelope_is_in_no_entry(evidence: Evidence) -> None:
    assert BODY not in evidence.record(NOW_NS, record(), "CN", [])
