"""A pushed policy on a real broker and a real daemon: every step, seen from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.broker import needs_mosquitto
from tests.support.gateway import REST, Gateway
from tests.support.pushing import Fleet

if TYPE_CHECKING:
    from pathlib import Path


@needs_mosquitto
@pytest.mark.slow
def test_a_pushed_policy_is_verified_tried_and_confirmed(tmp_path: Path) -> None:
    fleet = Fleet()
    with Gateway(tmp_path, fleet.settings()) as gateway:
        fleet.attach(gateway)
        gateway.drive()
        gateway.start()
        first = fleet.until(lambda ack: ack.state == "local")
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
        assert fleet.steps() == ["verified", "staged", "trial", "active"]
        entries = gateway.collector.entries()
        assert entries[done.evidence_index]["step"] == "active"
        assert entries[done.evidence_index]["digest"].hex() == done.policy_digest
        assert gateway.status()["policy_version"] == 2
        assert gateway.stop() == 0
        gateway.start()
        assert gateway.status()["policy_version"] == 2
        assert gateway.stop() == 0
        assert gateway.collector.problems() == []
    fleet.detach()
