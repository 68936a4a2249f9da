"""The daemon beside masters and a PLC: it hears them, changes nothing, tells all."""

from __future__ import annotations

import os
import pty
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from protocols.modbus.rtu import build_rtu
from tests.support.broker import free_port
from tests.support.plant_gateway import audited, plant, policy, refusals, values
from tests.support.proxying import Client, Device, read, write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture
def raw() -> None:
    """Packet sockets need CAP_NET_RAW."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        pytest.skip("no CAP_NET_RAW: a tap cannot open an interface here")


def watched(port: int, mode: str = "watch") -> str:
    return (
        f'[[modbus]]\nname = "plc1"\nmode = "{mode}"\nport = {port}\n'
        f'[[tap]]\nname = "cell"\ninterface = "lo"\nports = [{port}]\n'
    )


@pytest.mark.usefixtures("raw")
def test_what_others_say_is_judged_and_becomes_readings(tmp_path: Path) -> None:
    with Device() as plc, plant(tmp_path, watched(plc.port), policy()) as gateway:
        gateway.start()
        gateway.until(lambda: gateway.metric("modbus_tap_open") == 1)
        with Client(plc.port) as master:
            assert master.ask(read(0, 10))[:2] == b"\x03\x14"
            assert master.ask(write(7, 300)) == write(7, 300)
            assert master.ask(write(7, 61_234)) == write(7, 61_234)  # only seen
        gateway.until(lambda: gateway.metric("firewall_exchanges_total") == 3)
        assert gateway.status()["taps"] == [
            {"name": "cell", "open": True, "exchanges": 3}
        ]
        assert gateway.stop() == 0
        assert values(gateway) == [7.0, 300.0, 61_234.0]
        assert refusals(gateway) == {
            ("plc1", "poll", "allowed", "none"): 1,
            ("plc1", "speed", "allowed", "none"): 1,
            ("plc1", "speed", "refused", "value"): 1,
        }
        assert audited(gateway).problems == []


@pytest.mark.usefixtures("raw")
def test_what_we_poll_ourselves_is_told_once(tmp_path: Path) -> None:
    config = watched(0, "poll")
    with Device() as plc:
        text = config.replace("port = 0", f"port = {plc.port}")
        text = text.replace("[0]", f"[{plc.port}]")
        with plant(tmp_path, text, policy()) as gateway:
            gateway.start()
            gateway.until(lambda: gateway.metric("modbus_tap_exchanges_total") >= 2)
            page = gateway.page("/metrics")
            assert 'modbus_tap_exchanges_total{tap="cell",whose="others"} 0' in page
            assert gateway.stop() == 0
            assert len(values(gateway)) <= len(plc.adus)


def test_an_interface_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    text = watched(free_port()).replace('"lo"', '"nowhere0"')
    with plant(tmp_path, text, policy()) as gateway:
        gateway.start()
        gateway.until(lambda: "cell: nowhere0" in gateway.problems())
        assert gateway.stop() == 0


def test_a_serial_line_is_heard(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    text = (
        f'[[modbus]]\nname = "plc1"\nmode = "watch"\nkind = "rtu"\ndevice = "{name}"\n'
        f'[[tap]]\nname = "line"\ndevice = "{name}"\nbaudrate = 115200\nparity = "N"\n'
    )
    reply = struct.pack(">BBH", 3, 2, 321)
    with plant(tmp_path, text, policy()) as gateway:
        gateway.start()
        gateway.until(lambda: gateway.metric("modbus_tap_open") == 1)
        os.write(master, build_rtu(1, read(7)))
        os.write(master, build_rtu(1, reply))
        gateway.until(lambda: gateway.metric("modbus_tap_exchanges_total") == 1)
        assert gateway.stop() == 0
        assert values(gateway) == [321.0]
    os.close(slave)
    os.close(master)
