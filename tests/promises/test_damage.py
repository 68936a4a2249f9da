"""Disk full, a database cut short, bits flipped: said, and nothing committed lost."""

from __future__ import annotations

import random
import resource
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.broker import needs_mosquitto
from tests.support.gateway import OTHER_WORLD, POLICY, SPEED, Gateway, Settings

if TYPE_CHECKING:
    from pathlib import Path

FOREVER = resource.RLIM_INFINITY


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_disk_full_is_said_shed_counted_and_outlived(tmp_path: Path) -> None:
    """The limit of a file's size stands for the disk: SQLite cannot grow its log."""
    settings = Settings(program=OTHER_WORLD)
    with Gateway(tmp_path, settings) as gateway:
        gateway.collector.mute = True  # what is committed stays in the spool
        (gateway.folder / "flood").write_text("40000", encoding="ascii")
        gateway.start()
        gateway.until(lambda: gateway.metric("spool_records") > 5)
        assert gateway.process is not None
        pid = gateway.process.pid
        # Room for the daemon's own words: the limit stands for every file of its.
        limit = max((gateway.state / "store.db-wal").stat().st_size, 1 << 20)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, FOREVER))
        gateway.until(lambda: "store: " in gateway.problems())
        stuck = gateway.metric("evidence_entries")
        gateway.until(lambda: gateway.metric("lost_total") > 0)
        assert gateway.metric("evidence_entries") == stuck  # and it answers meanwhile
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FOREVER, FOREVER))
        gateway.until(lambda: "store: " not in gateway.problems())
        gateway.until(lambda: gateway.metric("evidence_entries") > stuck + 5)
        gateway.collector.mute = False
        (gateway.folder / "flood").unlink()
        assert gateway.stop() == 0
        gateway.start()  # all that is left goes out
        gateway.drained()
        assert gateway.stop() == 0
        assert gateway.collector.problems() == []
        shed = [
            entry["count"]
            for entry in gateway.collector.entries("loss.rec")
            if str(entry["cause"]).startswith("batcher ")
        ]
        assert shed


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_a_stop_does_not_wait_for_a_full_disk(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway:
        gateway.drive(2.0)
        gateway.start()
        gateway.until(lambda: gateway.metric("spool_records") > 2)
        assert gateway.process is not None
        limit = (gateway.state / "store.db-wal").stat().st_size
        resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (limit, FOREVER))
        gateway.until(lambda: "store: " in gateway.problems())
        assert gateway.stop() == 1
        assert gateway.log().splitlines()[-1].startswith("sluicegate: store: ")
        gateway.start()
        gateway.park()
        gateway.drained()
        assert gateway.collector.problems() == []


def hurt(path: Path, how: str, rng: random.Random) -> None:
    whole = path.read_bytes()
    if how == "cut":
        path.write_bytes(whole[: len(whole) * 2 // 3 + 17])
        return
    spoiled = bytearray(whole)
    for _ in range(40):
        spoiled[rng.randrange(4096, len(spoiled))] ^= 1 << rng.randrange(8)
    path.write_bytes(spoiled)


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_a_damaged_database_is_set_aside_and_said(tmp_path: Path, how: str) -> None:
    with Gateway(tmp_path) as gateway:
        gateway.collector.mute = True
        gateway.drive(2.0)
        gateway.start()
        gateway.until(lambda: gateway.metric("spool_records") > 60)
        gateway.park()
        assert gateway.stop() == 0
        hurt(gateway.state / "store.db", how, random.Random(7))
        gateway.collector.mute = False
        for _ in range(3):  # damage that only reading finds ends one life: exit 1
            if started(gateway):
                break
        aside = list(gateway.state.glob("store.db.damaged-?"))
        assert len(aside) == 1
        assert "store: was damaged, set aside" in gateway.problems()
        gateway.drive()
        gateway.until(lambda: gateway.metric("samples_total") > 500)
        gateway.park()
        gateway.drained()
        assert gateway.stop() == 0
        broken = [
            entry
            for entry in gateway.collector.entries("loss.rec")
            if entry["cause"] == "damaged store"
        ]
        assert len(broken) == 1
        assert broken[0]["why"]
        # a nonce twice, a contradiction, a gap of numbers: never, whatever was hurt
        told = [p for p in gateway.collector.problems() if "not received" not in p]
        assert [p for p in told if "not in the evidence" not in p] == []


def started(gateway: Gateway) -> bool:
    """Start; True where it also got through its log and spool without finding more."""
    gateway.start()
    assert gateway.process is not None
    process = gateway.process
    try:
        gateway.drained()
    except AssertionError:
        assert process.returncode == 1, gateway.log()
        assert gateway.log().splitlines()[-1].startswith("sluicegate: store: ")
        return False
    return True


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_reload_swaps_destroys_refuses_and_says_so(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway:
        gateway.collector.mute = True
        gateway.drive(2.0)
        gateway.start()
        gateway.until(lambda: gateway.metric("spool_records") > 20)
        gateway.write_policy("schema: sluicegate/policy/1\nname: broken\nwrong: 1\n")
        gateway.send(signal.SIGHUP)
        gateway.until(lambda: "policy: refused" in gateway.problems())
        assert gateway.status()["policy_version"] == 1
        gateway.write_policy(POLICY.format(version=2, rules=SPEED))  # no more to DE
        gateway.send(signal.SIGHUP)
        gateway.until(lambda: gateway.status()["policy_version"] == 2)
        assert "policy: refused" not in gateway.problems()
        gateway.collector.mute = False
        gateway.park()
        assert gateway.stop() == 0
        gateway.start()
        gateway.drained()
        assert gateway.stop() == 0
        collector = gateway.collector
        steps = [e["step"] for e in collector.entries("cfg.change")]
        assert steps == ["active", "refused", "active", "active"]
        refused = collector.entries("cfg.change")[1]
        assert "wrong" in str(refused["reason"])
        destroyed = collector.entries("destroy.rec")
        assert destroyed
        assert collector.problems() == []
        after = collector.entries()
        swap = next(i for i, e in enumerate(after) if e.get("version") == 2)
        assert {e["dest"] for e in after[swap:] if e["type"] == "flow.out"} == {"oem"}
