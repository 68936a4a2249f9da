"""Logs stay 190 days (USE-02): a simulated log prunes only what is older."""

from __future__ import annotations

import shutil
import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import msgpack
import pytest

from agent.adapters.clock import ClockConfidence
from agent.adapters.journal import Journal
from agent.adapters.pruning import Pruner
from agent.adapters.sqlite_check import check_all
from agent.adapters.sqlite_open import StoreOptions, open_store
from agent.evidence import Evidence
from agent.records import Commit
from fleet.audit.sources import verify_store
from fleet.audit.verify import Verifier
from protocols.tlog.checkpoint import Checkpoint, sign_checkpoint
from tests.support.sealing import DEVICE, NOW_NS, Device

if TYPE_CHECKING:
    from agent.adapters.sqlite_store import SqliteStore
    from fleet.audit.report import Report

DAY_NS = 86_400 * 10**9
MIB = 1 << 20
KEY = Device().public_key()
A_DAY = 24  # entries


class Gateway:
    """A device whose days pass quickly; a collector has all that it is sent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = self.real = NOW_NS + 30 * DAY_NS  # what the clock says; what is true
        self.mono = 0
        self.boots = 0
        self.archive: list[bytes] = []
        self.notes: list[tuple[int, bytes, bytes]] = []
        self.made: list[int] = []  # true time of every entry
        self.start()

    def now_ns(self) -> int:
        return self.now

    def start(self) -> None:
        self.boots += 1
        evidence = Evidence(DEVICE, self.boots.to_bytes(16, "big"), "test")
        self.evidence, self.journal = evidence, Journal(evidence, self)  # type: ignore[arg-type]  # asked for the time only
        witness, broken = self.journal.witness, self.journal.broken
        self.store: SqliteStore = open_store(
            self.path, StoreOptions(MIB, MIB, witness, broken)
        )
        assert self.store.broken is None
        self.journal.attach(self.store)
        self.confidence = ClockConfidence(self.store.clock_floor_ns)
        self.pruner = Pruner(self.store, self.journal, 190, kept_min=0)
        self.write(evidence.boot(self.now, KEY, "high", {}))

    def restart(self) -> None:
        self.write(self.evidence.stop(self.now, "test"))
        self.store.close()
        self.start()

    def write(self, *entries: bytes) -> None:
        self.journal.commit(Commit(evidence=entries))
        self.told()

    def told(self) -> None:
        size = self.store.root()[0]
        start = len(self.archive)
        self.archive += self.store.evidence_since(start, size - start)
        self.made += [self.real] * (size - start)

    def turn(self, *, synchronised: bool = False) -> None:
        """Do what the clockwork does."""
        verdict = self.confidence.look(self.now, self.mono, synchronised=synchronised)
        if verdict.believed:
            self.store.remember_time(self.now)
            self.pruner.look(self.now, self.mono)
            while self.pruner.step():
                pass
        self.told()

    def day(self, *, heard: bool = True) -> None:
        """Let a day pass; ``heard``: a collector is there."""
        self.real += DAY_NS
        self.now += DAY_NS
        self.mono += DAY_NS
        loss = self.evidence.loss(self.now, "bus can0", 1)
        self.write(*[loss] * A_DAY)
        self.sign()
        if heard:
            assert self.store.evidence_receipted(*self.store.root())
        self.turn()

    def sign(self) -> None:
        size, root = self.store.root()
        origin = f"sluicegate/demo/{DEVICE}/{self.store.log_id.hex()}"
        note = sign_checkpoint(Checkpoint(origin, size, root), Device())
        self.store.add_checkpoint(size, root, note)
        self.notes.append((size, root, note))
        self.origin = origin

    def audited(self) -> Report:
        """Verify the device's own store, as an inspector would."""
        self.sign()
        self.store.close()
        assert check_all(self.path) == []
        return verify_store(self.path, KEY)


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path / "store.db")


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    """A gateway of 200 days that an auditor found good, at rest: to be copied."""
    gateway = Gateway(tmp_path_factory.mktemp("aged") / "store.db")
    for _ in range(200):
        gateway.day()
    assert gateway.audited().problems == []
    return gateway


def test_a_clock_that_goes_to_and_fro_makes_nothing_old(gateway: Gateway) -> None:
    for _ in range(20):
        gateway.day()
    for step in range(1000):  # as far as is believed, within minutes
        gateway.mono += 5 * 10**9
        gateway.now += 10**10 - DAY_NS if step % 2 else DAY_NS
        gateway.turn()
    assert gateway.store.first == 0


def test_only_what_is_older_than_190_days_goes(gateway: Gateway) -> None:
    for day in range(230):
        gateway.day()
        if day % 50 == 49:
            gateway.restart()
        youngest = max(gateway.made[: gateway.store.first], default=0)
        assert youngest <= gateway.real - 190 * DAY_NS
        if day < 190:
            assert gateway.store.first == 0
    first = gateway.store.first
    # ... and nothing stays for more than two days longer
    assert gateway.made[first] >= gateway.real - 192 * DAY_NS
    told = [msgpack.unpackb(entry) for entry in gateway.archive]
    ranges = [(e["first"], e["end"]) for e in told if e["type"] == "log.prune"]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == first
    assert all(a[1] == b[0] for a, b in pairwise(ranges))

    report = gateway.audited()
    assert report.problems == []
    assert report.notes == [f"the first {first} entries were pruned"]
    assert report.covered == report.entries == len(gateway.archive)
    # The collector's archive is whole, and says the same of itself as ever.
    archive = Verifier(DEVICE, KEY)
    archive.log(gateway.origin, gateway.archive, gateway.notes)
    assert (archive.report.problems, archive.report.notes) == ([], [])


def test_a_clock_ten_years_ahead_prunes_nothing(gateway: Gateway) -> None:
    for _ in range(100):
        gateway.day()
    gateway.now += 3650 * DAY_NS
    for synchronised in (False, True):  # even where a time server vouches for it
        gateway.turn(synchronised=synchronised)
        assert gateway.store.first == 0
    gateway.restart()
    gateway.turn()
    for _ in range(80):
        gateway.day()
    assert gateway.store.first == 0


def test_what_no_collector_has_is_kept_for_ever(gateway: Gateway) -> None:
    for _ in range(5):
        gateway.day()
    had = gateway.store.statistics().evidence_sent
    for _ in range(400):
        gateway.day(heard=False)
    assert gateway.store.first == had
    gateway.day()
    assert gateway.store.first > had


BEGINS = "(SELECT min(position) FROM entries)"
TAMPERINGS = {
    "a subtree of what is gone": (
        f"UPDATE nodes SET hash = zeroblob(9) WHERE (position + 1) << level = {BEGINS}",
        "checkpoint of",
    ),
    "an entry more is gone": (
        f"DELETE FROM entries WHERE position = {BEGINS}",
        "entries are not here, and the log does not say that they were pruned",
    ),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_an_auditor_finds_a_beginning_that_was_tampered_with(
    aged: Gateway, tmp_path: Path, what: str
) -> None:
    path = Path(shutil.copytree(aged.path.parent, tmp_path / "copy"), aged.path.name)
    assert verify_store(path, KEY).problems == []
    change, said = TAMPERINGS[what]
    raw = sqlite3.connect(path)
    assert raw.execute(change).rowcount
    raw.commit()
    raw.close()
    problems = verify_store(path, KEY).problems
    assert any(said in problem for problem in problems)


def test_an_auditor_finds_a_record_of_pruning_that_lies(aged: Gateway) -> None:
    for change, said in (
        ({"root": bytes(32)}, "under a root that it never had"),
        ({"first": 1}, "no range"),
        ({"keep_days": 10}, "after 10 days"),
        ({"end": 10**6, "count": 10**6}, "more entries than there were"),
    ):
        lying = [
            msgpack.packb({**facts, **change})
            if (facts := msgpack.unpackb(entry))["type"] == "log.prune"
            else entry
            for entry in aged.archive
        ]
        verifier = Verifier(DEVICE, KEY)
        verifier.log(aged.origin, lying, aged.notes)
        assert any(said in problem for problem in verifier.report.problems)
