"""Promise 7: power may fail at any instant.

SLUICEGATE_KILLS and SLUICEGATE_BROKER_KILLS set how often. The full measure is
``SLUICEGATE_KILLS=50 SLUICEGATE_BROKER_KILLS=10 pytest tests/promises/test_power*``
(about two minutes); the suite's own is half of it.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.broker import needs_mosquitto
from tests.support.gateway import Gateway
from tests.support.operators_side import Operator

if TYPE_CHECKING:
    from pathlib import Path

KILLS = int(os.environ.get("SLUICEGATE_KILLS", "25"))
BROKER_KILLS = int(os.environ.get("SLUICEGATE_BROKER_KILLS", "5"))
FEED_SPEED = 3.0  # times real time: about 3,000 frames/s on three buses


def live(gateway: Gateway, seconds: float) -> None:
    """Let the daemon live that long and no longer; it must not end by itself."""
    assert gateway.process is not None
    with contextlib.suppress(subprocess.TimeoutExpired):
        code = gateway.process.wait(seconds)
        raise AssertionError(f"ended with {code}: {gateway.log()}")


def one_life(gateway: Gateway, rng: random.Random) -> None:
    """Start the daemon and kill it: while it starts, or while it works."""
    if rng.random() < 0.25:
        gateway.launch()
        live(gateway, rng.uniform(0.3, 1.2))
    else:
        gateway.start()
        live(gateway, rng.uniform(0.0, 1.0))
    gateway.kill()


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_kills_of_agent_and_broker_lose_nothing_committed(tmp_path: Path) -> None:
    rng = random.Random(20260101)
    between = BROKER_KILLS // 2  # with the agent dead; the rest under a live one
    broker_dies = set(rng.sample(range(KILLS), min(between, KILLS)))
    with Gateway(tmp_path) as gateway:
        gateway.drive(FEED_SPEED)
        for life in range(KILLS):
            if life in broker_dies:
                gateway.broker.kill()
                if rng.random() < 0.5:
                    one_life(gateway, rng)  # and a life without any broker
                gateway.broker.start()
            one_life(gateway, rng)
        for _ in range(BROKER_KILLS - between):
            if gateway.process is None:
                gateway.start()
            live(gateway, rng.uniform(0.1, 0.6))
            gateway.broker.kill()
            live(gateway, rng.uniform(0.0, 0.2))
            gateway.broker.start()
        gateway.park()
        if gateway.process is not None:
            gateway.kill()
        gateway.start()  # its backoff begins anew
        gateway.drained()
        assert gateway.stop() == 0
        collector = gateway.collector
        boots = collector.entries("boot")
        problems = collector.problems()
        logs = len(collector.logs)
        envelopes = len(collector.entries("flow.out"))
        assert problems == []
        assert logs == 1  # never forked, never begun anew
        assert len({entry["boot"] for entry in boots}) == len(boots) >= KILLS // 2
        assert envelopes > KILLS
        assert collector.entries()[-1]["type"] == "stop"
        ends = [dict(entry["last"])["ended"] for entry in boots]  # type: ignore[call-overload]  # decoded msgpack
        assert ends[0] == "first start"
        assert set(ends[1:]) == {"killed"}


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_the_operators_own_audit_holds_after_kills(tmp_path: Path) -> None:
    """The same with `sluicectl collect` receipting and `sluicectl audit verify`."""
    rng = random.Random(5)
    with Gateway(tmp_path) as gateway:
        operator = Operator(gateway, tmp_path)
        with operator.collecting() as collector:
            gateway.drive(FEED_SPEED)
            for life in range(8):
                one_life(gateway, rng)
                if life % 3 == 2:
                    gateway.broker.kill()
                    gateway.broker.start()
            gateway.park()
            gateway.start()
            gateway.drained()
            assert gateway.stop() == 0
            collector.terminate()
            assert collector.wait(20) == 0
    code, said = operator.audit()
    assert code == 0, said
    assert "every check holds" in said
