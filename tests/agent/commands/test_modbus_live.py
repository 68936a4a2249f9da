"""`sluicegate modbus map --interface lo`: what passes while it listens."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from pymodbus.client import ModbusTcpClient

from agent.main import run
from tests.support.proxying import Device

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def raw() -> None:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        pytest.skip("needs CAP_NET_RAW")


@pytest.fixture
def polled() -> Iterator[int]:
    """Poll a device on loopback until the test ends; yield its port."""
    over = threading.Event()
    with Device() as device:

        def poll() -> None:
            master = ModbusTcpClient("127.0.0.1", port=device.port)
            master.connect()
            while not over.wait(0.02):
                master.read_holding_registers(3, count=4, device_id=1)
            master.close()

        thread = threading.Thread(target=poll)
        thread.start()
        try:
            yield device.port
        finally:
            over.set()
            thread.join()


@pytest.mark.slow
@pytest.mark.alone
def test_a_minute_on_the_wire_is_a_map(
    raw: None, polled: int, capfd: pytest.CaptureFixture[str]
) -> None:
    told = ["--interface", "lo", "--seconds", "1.5", "--port", str(polled)]
    named = ["--link", f"plc1=127.0.0.1:{polled}", "--json"]
    assert run(["modbus", "map", *told, *named]) == 0
    found = json.loads(capfd.readouterr().out)
    (device,) = found["devices"]
    assert (device["address"], device["link"]) == ("127.0.0.1", "plc1")
    # Who begins to listen between a request and its reply hears only the reply.
    *half, request = sorted(found["requests"], key=lambda one: one["requests"])
    assert [(one["address"], one["requests"]) for one in half] in ([], [(None, 1)])
    assert (request["function"], request["address"], request["count"]) == (3, 3, 4)
    assert request["requests"] > 1


def test_an_interface_that_is_not_there_is_one_line(
    raw: None, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["modbus", "map", "--interface", "no-such0", "--seconds", "1"]) == 1
    err = capfd.readouterr().err
    assert len(err.splitlines()) == 1
    assert "no-such0" in err
