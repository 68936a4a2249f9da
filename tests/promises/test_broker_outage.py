"""The broker is away: at boot, for ten minutes at full load.

SLUICEGATE_OUTAGE_FPS sets the load of the long outage (3,200 frames/s; 32,000 are eight
classic buses at 100 %).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from agent.adapters.device_key import load_or_create
from agent.adapters.journal import Journal
from agent.adapters.keeper import Keeper
from agent.adapters.policy.loader import Paths, accept
from agent.adapters.sqlite_open import StoreOptions, open_store
from agent.adapters.store_thread import StoreThread
from agent.assembly import Identity, assemble
from agent.config import parse_config
from agent.evidence import Evidence
from agent.protection.keyring import KeyRing
from agent.records import Arrival
from agent.telemetry.state import Autonomy
from tests.support.broker import needs_mosquitto
from tests.support.gateway import Gateway
from tests.support.worlds import BATCH, at, frames_of

if TYPE_CHECKING:
    from pathlib import Path

    from agent.records import Eviction

FPS = int(os.environ.get("SLUICEGATE_OUTAGE_FPS", "3200"))
OUTAGE_S = 600
CAP = 100 * FPS  # bytes: about a third of what the outage makes
START_NS = 1_795_000_000 * 10**9  # 2026-11-18


class FakeClock:
    """Time that only the test moves."""

    def __init__(self) -> None:
        self.ns = START_NS

    def now_ns(self) -> int:
        return self.ns

    def monotonic_ns(self) -> int:
        return self.ns

    async def sleep(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)
        await asyncio.sleep(0)


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_what_was_captured_before_the_first_connect_is_delivered(
    tmp_path: Path,
) -> None:
    with Gateway(tmp_path, with_broker=False) as gateway:
        gateway.drive()
        gateway.start()
        gateway.until(lambda: gateway.metric("spool_records") > 10)
        assert "mqtt: 127.0.0.1" in gateway.problems()
        first = gateway.metric("evidence_entries")
        gateway.broker.start()
        gateway.until(lambda: gateway.metric("online"), 60)
        gateway.park()
        gateway.drained()
        assert gateway.problems() == ""
        assert gateway.stop() == 0
        assert gateway.collector.problems() == []
        assert gateway.collector.lost() == set()
        assert len(gateway.collector.digests) > 10 < first
        assert gateway.collector.states[-1].online is False  # it said goodbye


async def ten_minutes_alone(gateway: Gateway) -> tuple[Eviction, ...]:
    """Drive flow, keeper and store by a fake clock into the gateway's own state."""
    file = str(gateway.folder / "gw.toml")
    text = (gateway.folder / "gw.toml").read_bytes()
    accepted = accept(Paths(file, parse_config(text, file)))
    clock, boot = FakeClock(), bytes(16)
    signer = load_or_create(gateway.state / "device.key", gateway.device)
    evidence = Evidence(gateway.device, boot, "test")
    journal = Journal(evidence, clock)
    ring = KeyRing(bytes(32), os.urandom)
    identity = Identity(gateway.device, boot, "test", signer, os.urandom, ring)
    options = StoreOptions(CAP, CAP, journal.witness, journal.broken)
    store = open_store(gateway.state / "store.db", options)
    flow = assemble(accepted.compiled, identity, accepted.cards, evidence)
    frames, policy = frames_of(), accepted.compiled.policy
    with StoreThread().working() as thread, contextlib.closing(store):
        journal.attach(store)
        keeper = Keeper(
            store, thread, journal, evidence, signer, boot, clock, Autonomy(),
            lambda: None,
        )  # fmt: skip
        await keeper.testify(evidence.policy(clock.ns, policy, "active", "start"))
        span_ns = BATCH * 10**9 // FPS
        batches = OUTAGE_S * FPS // BATCH
        for number in range(batches):
            clock.ns += span_ns
            batch = at(frames, number * BATCH, BATCH, clock.ns, span_ns)
            await keeper.keep(flow.process(Arrival(clock.ns, batch)))
            if number % 50 == 49:
                await keeper.snapshot(policy, {}, clock.ns)
            assert store.statistics().bytes_used <= CAP
        await keeper.keep(flow.finish(clock.ns, "the test ends it"))
        await keeper.snapshot(policy, {}, clock.ns)
        return tuple(store.losses())


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_ten_minutes_of_outage_at_full_load(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway:
        losses = asyncio.run(ten_minutes_alone(gateway))
        evicted = sum(one.records for one in losses if one.cause == "evicted")
        assert evicted > 100
        gateway.drive()
        gateway.start()
        gateway.until(lambda: _live(gateway))
        gateway.park()
        gateway.drained()
        assert gateway.stop() == 0
        collector = gateway.collector
        assert collector.problems() == []
        told = [e for e in collector.entries("loss.rec") if e["cause"] == "evicted"]
        assert sum(int(str(entry["count"])) for entry in told) == evicted
        assert len(collector.lost()) <= evicted  # telemetry has no epoch
        # Live data overtakes: it does not wait for the last of the backlog.
        kinds = [created > START_NS + 700 * 10**9 for _, _, created in collector.order]
        assert kinds.index(True) < len(kinds) - 1 - kinds[::-1].index(False)


def _live(gateway: Gateway) -> bool:
    limit = START_NS + 700 * 10**9
    return sum(created > limit for _, _, created in gateway.collector.order) > 5
