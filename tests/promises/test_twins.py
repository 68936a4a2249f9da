"""A device that was cloned: no nonce twice, and the fleet sees two histories."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.broker import needs_mosquitto
from tests.support.gateway import Gateway
from tests.support.operators_side import Operator

if TYPE_CHECKING:
    from pathlib import Path


def live(gateway: Gateway, batches: int = 10) -> None:
    gateway.start()
    gateway.drive(3.0)
    came = gateway.collector.counts["data"]
    gateway.until(lambda: gateway.collector.counts["data"] >= came + batches)
    gateway.park()
    gateway.kill()  # nothing says goodbye


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_two_copies_of_one_state_use_no_nonce_twice_and_are_noticed(
    tmp_path: Path,
) -> None:
    with Gateway(tmp_path) as gateway:
        operator = Operator(gateway, tmp_path)
        collecting = operator.collecting()
        try:
            live(gateway)
            twin = tmp_path / "twin"
            shutil.copytree(gateway.state, twin)  # key, store, log: all of it
            live(gateway)
            shutil.rmtree(gateway.state)
            twin.rename(gateway.state)
            live(gateway)
            gateway.start()
            gateway.until(lambda: gateway.metric("spool_records") == 0)
            assert gateway.stop() == 0
        finally:
            collecting.terminate()
        assert collecting.wait(20) == 0
        collector = gateway.collector
        twice = [place for place, came in collector.digests.items() if len(came) > 1]
        logs = list(collector.logs.values())
        problems = collector.problems()
    assert not twice
    assert len(logs) == 1
    assert any("another root" in problem for problem in problems)
    code, said = operator.audit()
    assert code == 1, said
    assert "the log was rewritten" in said
    assert "DOES NOT HOLD" in said
