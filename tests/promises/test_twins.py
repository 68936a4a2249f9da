"""A device that was cloned: no nonce twice, and the fleet sees two histories."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agent.adapters.device_key import load_or_create
from fleet.keys import save
from fleet.registry import add_device
from tests.support.broker import needs_mosquitto
from tests.support.gateway import Gateway

if TYPE_CHECKING:
    from pathlib import Path

OPERATOR = "import sys; from fleet.main import main; sys.exit(main())"


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
        gateway.collector.mute = True  # it watches; the operator's one receipts
        enrolled = tmp_path / "devices"
        enrolled.mkdir()
        signer = load_or_create(gateway.state / "device.key", gateway.device)
        add_device(enrolled, gateway.device, signer.public_key())
        ledger = ("--ledger", str(tmp_path / "ledger.db"), "-d", str(enrolled))
        keys = []
        for one in gateway.keys:
            save(one, tmp_path / f"{one.name}.key.json")
            keys += ["-k", str(tmp_path / f"{one.name}.key.json")]
        broker = f"127.0.0.1:{gateway.broker.port}"
        collect = ["collect", "--fleet", gateway.fleet, "--broker", broker, *keys]
        operator = subprocess.Popen(
            [sys.executable, "-c", OPERATOR, *collect, *ledger, "--json"],
            stdout=subprocess.DEVNULL,
        )
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
            operator.terminate()
        assert operator.wait(20) == 0
        collector = gateway.collector
        twice = [place for place, came in collector.digests.items() if len(came) > 1]
        logs = list(collector.logs.values())
        problems = collector.problems()
    assert not twice
    assert len(logs) == 1
    assert any("another root" in problem for problem in problems)
    audit = subprocess.run(
        [sys.executable, "-c", OPERATOR, "audit", "verify", *ledger],
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    assert audit.returncode == 1, audit.stdout + audit.stderr
    assert "the log was rewritten" in audit.stdout
    assert "DOES NOT HOLD" in audit.stdout
