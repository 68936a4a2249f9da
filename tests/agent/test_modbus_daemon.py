"""The daemon between a master and a PLC: what the policy says, happens and is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pymodbus.client import ModbusTcpClient

from tests.support.broker import free_port
from tests.support.plant_gateway import plant, policy, values
from tests.support.proxying import Device

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.alone]


def proxied(device: int, listen: int, more: str = "") -> str:
    return (
        f'[[modbus]]\nname = "plc1"\nmode = "proxy"\nport = {device}\n'
        f'listen = "127.0.0.1:{listen}"\n{more}\n'
    )


def test_reads_become_readings_and_forbidden_writes_stop(tmp_path: Path) -> None:
    port = free_port()
    with Device() as plc, plant(tmp_path, proxied(plc.port, port), policy()) as gateway:
        gateway.start()
        master = ModbusTcpClient("127.0.0.1", port=port)
        assert master.connect()
        assert master.read_holding_registers(0, count=10, device_id=1).registers == [
            *range(10)
        ]
        assert not master.write_register(7, 300, device_id=1).isError()
        assert master.write_register(7, 501, device_id=1).exception_code == 3
        assert master.write_coil(7, True, device_id=1).exception_code == 1
        master.close()
        assert gateway.stop() == 0
        assert [pdu[0] for _, pdu in plc.adus] == [3, 6]
        assert values(gateway) == [7.0, 300.0]


def test_what_is_refused_stands_in_the_owners_log_without_its_value(
    tmp_path: Path,
) -> None:
    port, place = free_port(), tmp_path / "eve.json"
    more = proxied(0, port, f'[eve]\nfile = "{place}"\n')
    with (
        Device() as plc,
        plant(
            tmp_path, more.replace("port = 0", f"port = {plc.port}"), policy()
        ) as gateway,
    ):
        gateway.start()
        master = ModbusTcpClient("127.0.0.1", port=port)
        assert master.connect()
        assert master.write_register(7, 54_321, device_id=1).exception_code == 3
        master.close()
        assert gateway.stop() == 0
    text = place.read_text(encoding="utf-8")
    told = [json.loads(line) for line in text.splitlines()]
    kinds = {one["event_type"] for one in told}
    assert kinds == {"alert", "modbus"}
    (alert,) = [
        one["alert"]
        for one in told
        if one["event_type"] == "alert"
        and one["alert"]["metadata"]["detector"] == ["M3"]
    ]
    assert alert["action"] == "blocked"
    (write,) = [one["modbus"]["request"] for one in told if "modbus" in one]
    assert write["write"] == {"address": 7, "quantity": 1}
    assert "54321" not in text
