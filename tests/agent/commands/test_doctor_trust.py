"""`doctor` where policies are pushed: root, metadata, candidate, damage."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from typing import TYPE_CHECKING

import pytest

from agent.commands.doctor_trust import Found, trust_checks
from agent.main import run
from protocols.bundle import encode_bundle
from tests.support.fleet_trust import DAY_S, FleetTrust
from tests.support.policy_bench import EVENTS, PolicyBench

if TYPE_CHECKING:
    from pathlib import Path

TERMS = {"trial_s": 5, "uplink_s": 3}


@pytest.fixture
def bench(tmp_path: Path) -> PolicyBench:
    """A device of today: the doctor asks the machine's clock."""
    (tmp_path / "root.json").write_bytes(b"")
    found = PolicyBench(tmp_path, FleetTrust(now_s=int(time.time())))
    (tmp_path / "root.json").write_bytes(found.root)
    return found


def looked(bench: PolicyBench) -> dict[str, Found]:
    return {one.what: one for one in trust_checks(bench.paths)}


def live(bench: PolicyBench, *, online: bool = True) -> None:
    async def story() -> None:
        async with bench.running():
            await bench.push(2, EVENTS, terms=TERMS)
            bench.uplink.online = online
            await bench.pass_time(6)

    asyncio.run(story())


def test_before_the_first_start_and_with_a_good_policy(bench: PolicyBench) -> None:
    found = looked(bench)
    assert (found["root"].verdict, found["pushed policy"].verdict) == ("good", "warn")
    live(bench)
    found = looked(bench)
    assert {one.verdict for one in found.values()} == {"good"}
    assert found["pushed policy"].said == (
        "pushed 2 decides (pushed); pushed 2 is active"
    )
    assert "timestamp 1" in found["trust"].said


def test_what_was_taken_back_is_told_with_its_reason(bench: PolicyBench) -> None:
    live(bench, online=False)
    told = looked(bench)["pushed policy"]
    assert told.verdict == "warn"
    assert "local 1 decides" in told.said
    assert "reverted: uplink no link" in told.said
    assert "attempt" in told.mend


def test_metadata_that_end_soon_or_have_ended(bench: PolicyBench) -> None:
    live(bench)
    bench.fleet.now_s -= 6 * DAY_S
    bench.fleet.versions["timestamp"] += 1
    message = bench.fleet.renew()

    async def renewed() -> None:
        async with bench.running():
            await bench.send(encode_bundle(message), "timestamp")

    asyncio.run(renewed())
    told = looked(bench)["trust"]
    assert (told.verdict, bool(told.mend)) == ("warn", True)


def test_a_root_that_is_none_and_a_damaged_document(
    bench: PolicyBench, tmp_path: Path
) -> None:
    live(bench)
    raw = sqlite3.connect(tmp_path / "store.db")
    raw.execute("UPDATE documents SET body = x'00' WHERE name = 'policy.active'")
    raw.commit()
    raw.close()
    found = [one for one in trust_checks(bench.paths) if one.verdict == "bad"]
    assert any("has changed on the disk" in one.said for one in found)
    (tmp_path / "root.json").write_bytes(b"{}")
    (told,) = trust_checks(bench.paths)
    assert (told.what, told.verdict) == ("root", "bad")
    assert "root.json" in told.said


def test_doctor_and_run_name_a_root_that_is_missing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gw.toml").write_text(
        'device = "gw-1"\nfleet = "north"\nstate_dir = "s"\n'
        '[trust]\nroot = "nowhere.json"\n',
        encoding="ascii",
    )
    run(["doctor", "--json", "-c", str(tmp_path / "gw.toml")])
    rows = {row["what"]: row for row in json.loads(capfd.readouterr().out)}
    assert rows["root"]["verdict"] == "bad"
    assert run(["run", "-c", str(tmp_path / "gw.toml")]) == 2
    line = capfd.readouterr().err
    assert "nowhere.json" in line
    assert len(line.splitlines()) == 1
