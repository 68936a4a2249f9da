"""The runtime as a process: dead links, buses that come later, errors in one line."""

from __future__ import annotations

import asyncio
import os
import pty
import threading
from typing import TYPE_CHECKING

import pytest

from agent.adapters.clock import SystemClock
from agent.adapters.device_key import load_or_create
from agent.adapters.opening import open_bus
from agent.adapters.policy.loader import Paths, accept
from agent.adapters.uplink import Uplink
from agent.commands.parts import World
from agent.commands.run import serve
from agent.config import parse_config
from fleet.audit.sources import verify_store
from tests.support.broker import free_port, needs_mosquitto
from tests.support.gateway import Gateway, Settings

if TYPE_CHECKING:
    from pathlib import Path

    from agent.runtime import Agent

LATE_BUS = """
[[can]]
name = "can9"
interface = "slcan"
channel = "{tty}"
options = {{sleep_after_open = 0, bitrate = 500000}}
"""
DEAD_LINK = """
[[modbus]]
name = "plc1"
port = {port}
timeout_s = 0.2
"""
DEAD_BINDINGS = """\
schema: sluicegate/bindings/1
name: dead
modbus:
  - link: plc1
    unit: 1
    points:
      - {item: Plant.Line1.Tank.Level, table: 3, address: 0, type: f32, unit: m,
         period: 200ms}
"""


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_a_bus_that_is_away_at_start_is_read_once_it_appears(tmp_path: Path) -> None:
    tty = tmp_path / "tty"
    settings = Settings(more=LATE_BUS.format(tty=tty))
    with Gateway(tmp_path, settings) as gateway:
        gateway.drive()
        gateway.start()
        gateway.until(lambda: gateway.metric("samples_total") > 100)
        assert "can9: slcan" in gateway.problems()  # said, and the others are read
        master, slave = pty.openpty()
        tty.symlink_to(os.ttyname(slave))
        gateway.until(lambda: "can9" not in gateway.problems())
        gone = threading.Event()
        sender = threading.Thread(target=_frames, args=(master, gone))
        sender.start()
        gateway.until(lambda: gateway.metric("samples_total") > 500)
        gone.set()
        sender.join()
        os.close(slave)
        os.close(master)
        gateway.until(lambda: "can9" in gateway.problems())
        assert gateway.stop() == 0


def _frames(master: int, gone: threading.Event) -> None:
    while not gone.wait(0.02):
        os.write(master, b"t12320102\r")


def test_a_bad_policy_at_start_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    with Gateway(tmp_path, with_broker=False) as gateway:
        gateway.write_policy("schema: sluicegate/policy/1\nname: a\nwrong: 1\n")
        assert gateway.launch().wait(30) == 2
        gateway.process = None
        lines = gateway.log().splitlines()
        assert len(lines) == 1
        assert "policy.yaml:3" in lines[0]


def test_a_second_agent_on_one_store_is_refused(tmp_path: Path) -> None:
    with Gateway(tmp_path, with_broker=False) as gateway:
        gateway.start()
        first = gateway.process
        assert gateway.launch().wait(30) == 1
        gateway.process = first
        assert gateway.log().startswith("sluicegate: store: ")
        assert len(gateway.log().splitlines()) == 1
        assert gateway.stop() == 0


@pytest.mark.slow
@pytest.mark.alone
def test_a_dead_modbus_link_delays_nobody(tmp_path: Path) -> None:
    (tmp_path / "dead.bindings.yaml").write_text(DEAD_BINDINGS, encoding="ascii")
    settings = Settings(
        bindings='["sim-vehicle.bindings", "dead.bindings.yaml"]',
        more=DEAD_LINK.format(port=free_port()),
    )
    with Gateway(tmp_path, settings, with_broker=False) as gateway:
        gateway.drive()
        gateway.start()
        gateway.until(lambda: "plc1: no answer" in gateway.problems())
        seen = gateway.metric("samples_total")
        gateway.until(lambda: gateway.metric("samples_total") > seen + 1000)
        gateway.park()
        assert gateway.stop() == 0


def test_a_clean_stop_signs_the_whole_log_though_nobody_hears_of_it(
    tmp_path: Path,
) -> None:
    with Gateway(tmp_path, with_broker=False) as gateway:
        for _ in range(2):
            gateway.start()
            assert gateway.stop() == 0
            key = load_or_create(gateway.state / "device.key", gateway.device)
            report = verify_store(gateway.state / "store.db", key.public_key())
            assert report.problems == []
            assert report.covered == report.entries


def test_an_uplink_that_did_not_hear_the_stop_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a cancellation is lost in aiomqtt (agent/adapters/ending.py)."""
    monkeypatch.setattr("agent.adapters.ending.CANCEL_S", 0.01)
    told: list[int] = []

    async def run_deaf(_: Uplink) -> None:
        while len(told) < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told.append(1)
        raise asyncio.CancelledError

    monkeypatch.setattr(Uplink, "run", run_deaf)

    async def story(text: bytes) -> None:
        file = str(tmp_path / "gw.toml")
        paths = Paths(file, parse_config(text, file))

        def started(agent: Agent) -> None:
            asyncio.get_running_loop().call_soon(agent.stop)

        async with asyncio.timeout(60):
            await serve(paths, accept(paths), World(SystemClock(), open_bus, started))

    with Gateway(tmp_path, with_broker=False):
        asyncio.run(story((tmp_path / "gw.toml").read_bytes()))
    assert told == [1, 1]
