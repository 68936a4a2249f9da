"""A pushed policy on a real broker and a real daemon: every step, seen from outside."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import signal
from typing import TYPE_CHECKING

import pytest

from fleet.keys import generate
from protocols.recipients import encode_card
from tests.support.broker import free_port, needs_mosquitto
from tests.support.drip import Drip
from tests.support.gateway import POLICY, REST, SPEED, Gateway
from tests.support.pushing import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUNDS = int(os.environ.get("SLUICEGATE_POLICY_KILLS", "1"))  # kills at each step
pytestmark = [needs_mosquitto, pytest.mark.slow, pytest.mark.alone]


@contextlib.contextmanager
def pushed_gateway(folder: Path, **more: object) -> Iterator[tuple[Gateway, Fleet]]:
    """A gateway that drives under its local policy, and its fleet."""
    fleet = Fleet()
    port = int(str(more.pop("broker_port", 0)))
    with Gateway(folder, fleet.settings(**more), broker_port=port) as gateway:
        fleet.attach(gateway)
        gateway.drive()
        gateway.start()
        fleet.until(lambda ack: ack.state == "local")
        try:
            yield gateway, fleet
        finally:
            fleet.detach()


def test_a_pushed_policy_is_verified_tried_and_confirmed(tmp_path: Path) -> None:
    with pushed_gateway(tmp_path) as (gateway, fleet):
        first = fleet.acks[0]
        assert (first.policy_version, first.candidate_version) == (1, 0)
        assert len(first.nonce) == 32
        fleet.push(2, rules=REST)
        done = fleet.until(lambda ack: ack.state == "active")
        assert (done.policy_name, done.policy_version) == ("whole-gateway", 2)
        assert done.approvers == ("alice", "bob")
        gateway.park()
        gateway.drained()
        states = [ack.state for ack in fleet.acks]
        assert states == ["local", "verified", "staged", "trial", "active"]
        numbers = [ack.number for ack in fleet.acks]
        assert numbers == sorted(set(numbers))
        assert fleet.steps() == ["verified", "staged", "trial", "active"]
        entries = gateway.collector.entries()
        for ack in fleet.acks[1:]:
            entry = entries[ack.evidence_index]
            assert (entry["type"], entry["step"]) == ("cfg.change", ack.state)
            assert entry["digest"].hex() == ack.candidate_digest  # type: ignore[attr-defined]  # bytes
        status = gateway.status()
        assert (status["policy_version"], status["policy_source"]) == (2, "pushed")
        assert gateway.stop() == 0
        gateway.start()
        assert gateway.status()["policy_version"] == 2
        assert gateway.stop() == 0
        assert gateway.collector.problems() == []


def test_a_policy_that_breaks_the_uplink_takes_itself_back(tmp_path: Path) -> None:
    """Its records are sealed to somebody whom nobody here is: no receipt ever comes."""
    stranger = generate("stranger", dt.date(2026, 1, 1), dt.date(2030, 1, 1))
    text = POLICY.format(version=2, rules=REST)
    text = text.replace("oem-2026", "stranger").replace("brakes-gmbh", "stranger")
    with pushed_gateway(tmp_path) as (gateway, fleet):
        (gateway.folder / "cards" / "stranger.card.json").write_bytes(
            encode_card(stranger.card())
        )
        fleet.push(2, text=text, terms={"trial_s": 60, "uplink_s": 3})
        fleet.until(lambda ack: ack.state == "trial")
        ack = fleet.until(lambda ack: ack.state == "reverted")
        assert (ack.rule, ack.policy_version) == ("uplink", 1)
        assert ack.reason == "records sent and none receipted for 3 s"
        assert ack.candidate_version == 2
        assert "reverted: uplink" in gateway.problems()
        gateway.park()
        assert gateway.stop() == 0
        gateway.start()  # what was receipted by nobody it knew is sent again at once
        gateway.drained()
        assert gateway.stop() == 0
        assert gateway.collector.problems() == []


def test_a_bundle_that_drips_and_breaks_stops_neither_data_nor_status(
    tmp_path: Path,
) -> None:
    port = free_port()
    with (
        Drip(port) as drip,
        pushed_gateway(tmp_path, through=drip.port, broker_port=port) as (
            gateway,
            fleet,
        ),
    ):
        drip.bytes_per_s = 4000
        message = fleet.push(2, rules=REST, text=big_text())
        assert len(message) > 100_000
        for _ in range(3):
            cut_in_the_middle(gateway, drip)
        assert {ack.state for ack in fleet.acks} == {"local"}
        drip.bytes_per_s = 0
        drip.cut()
        fleet.until(lambda ack: (ack.state, ack.policy_version) == ("active", 2))
        gateway.park()
        gateway.drained()
        assert gateway.stop() == 0
        assert gateway.collector.problems() == []


def cut_in_the_middle(gateway: Gateway, drip: Drip) -> None:
    """Let some of the bundle drip, see that all else goes on, then break the link."""
    passed, samples = drip.passed, gateway.metric("samples_total")
    gateway.until(lambda: drip.passed > passed + 8000)
    gateway.until(lambda: gateway.metric("samples_total") > samples + 200)
    assert gateway.status()["policy_version"] == 1
    drip.cut()
    gateway.until(lambda: gateway.status()["online"])


def big_text() -> str:
    """A policy of some 150 kB: comments cost nothing but the way."""
    rng = random.Random(7)
    words = "\n".join(f"# {rng.getrandbits(512):x}" for _ in range(1200))
    return POLICY.format(version=2, rules=REST) + words + "\n"


def test_kills_at_every_step_leave_the_old_policy_or_the_new(tmp_path: Path) -> None:
    with pushed_gateway(tmp_path) as (gateway, fleet):
        version = 1
        for step in ("verified", "staged", "trial", "active") * ROUNDS:
            version += 1
            killed_at(step, version, gateway, fleet)
        gateway.park()
        gateway.drained()
        assert gateway.stop() == 0
        assert gateway.collector.problems() == []


def killed_at(step: str, version: int, gateway: Gateway, fleet: Fleet) -> None:
    fleet.push(version, rules=REST if version % 2 else SPEED + REST)
    fleet.until(lambda ack: (ack.candidate_version, ack.state) == (version, step))
    gateway.kill()
    gateway.start()
    assert gateway.status()["policy_version"] in {version - 1, version}
    fleet.until(lambda ack: (ack.state, ack.policy_version) == ("active", version))


def test_a_reload_reads_local_files_and_leaves_the_pushed_policy(
    tmp_path: Path,
) -> None:
    with pushed_gateway(tmp_path) as (gateway, fleet):
        fleet.push(2, rules=REST)
        fleet.until(lambda ack: ack.state == "active")
        gateway.write_policy("schema: wrong\n")  # the local one is not asked
        gateway.send(signal.SIGHUP)
        gateway.until(
            lambda: any(
                one.get("reason") == "reload"
                for one in gateway.collector.entries("cfg.change")
            )
        )
        assert gateway.status()["policy_version"] == 2
        assert "policy" not in gateway.problems()
        card = gateway.folder / "cards" / "oem-2026.card.json"
        card.write_text("{}", encoding="ascii")
        gateway.send(signal.SIGHUP)
        gateway.until(lambda: "policy: refused" in gateway.problems())
        assert gateway.status()["policy_version"] == 2
        gateway.park()
        assert gateway.stop() == 0
