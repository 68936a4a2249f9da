"""The daemon between a master and a PLC: what the policy says, happens and is told."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest
from pymodbus.client import ModbusTcpClient

from agent.config import parse_config
from agent.main import run
from tests.support.broker import free_port
from tests.support.plant_gateway import audited, plant, policy, refusals, values
from tests.support.proxying import Client, Device, read, write

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.gateway import Gateway

pytestmark = [pytest.mark.slow, pytest.mark.alone]
ILLEGAL_FUNCTION, ILLEGAL_VALUE = b"\x86\x01", b"\x86\x03"


def proxied(device: int, listen: int, more: str = "") -> str:
    return (
        f'[[modbus]]\nname = "plc1"\nmode = "proxy"\nport = {device}\n'
        f'listen = "127.0.0.1:{listen}"\n{more}\n'
    )


def link(gateway: Gateway) -> dict[str, object]:
    links = gateway.status()["links"]
    assert isinstance(links, list)
    (one,) = links
    assert isinstance(one, dict)
    return one


def test_reads_become_readings_and_forbidden_writes_stop(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    with Device() as plc, plant(tmp_path, proxied(plc.port, port), policy()) as gateway:
        gateway.start()
        master = ModbusTcpClient("127.0.0.1", port=port)
        assert master.connect()
        assert master.read_holding_registers(0, count=10, device_id=1).registers == [
            *range(10)
        ]
        assert not master.write_register(7, 300, device_id=1).isError()
        assert master.write_register(7, 61_234, device_id=1).exception_code == 3
        assert master.write_coil(7, True, device_id=1).exception_code == 1
        gateway.until(lambda: gateway.metric("firewall_exchanges_total") == 4)
        assert gateway.metric("modbus_requests_total") == 4
        assert link(gateway) == {
            "name": "plc1", "mode": "proxy", "listening": True, "connected": True,
            "masters": 1, "forwarded": 2, "refused": 2, "last_reason": "no_rule",
        }  # fmt: skip
        assert "61234" not in gateway.page("/metrics") + gateway.page()
        run(["status", "-c", str(tmp_path / "gw.toml")])
        shown = capfd.readouterr().out
        assert "plc1 proxy, 1 masters, 2 forwarded, 2 refused, last: no_rule" in shown
        master.close()
        assert gateway.stop() == 0
        assert [pdu[0] for _, pdu in plc.adus] == [3, 6]
        assert values(gateway) == [7.0, 300.0]
        assert refusals(gateway) == {
            ("plc1", "poll", "allowed", "none"): 1,
            ("plc1", "speed", "allowed", "none"): 1,
            ("plc1", "speed", "refused", "value"): 1,
            ("plc1", "", "refused", "no_rule"): 1,
        }
        report = audited(gateway)
        assert report.problems == []
        assert (report.exchanges_passed, report.exchanges_refused) == (2, 2)


def test_a_change_of_policy_holds_for_the_next_request(tmp_path: Path) -> None:
    port = free_port()
    with Device() as plc, plant(tmp_path, proxied(plc.port, port), policy()) as gateway:
        gateway.start()
        with Client(port) as master:
            assert master.ask(write(7, 300)) == write(7, 300)
            gateway.write_policy(policy("read-only"))
            gateway.send(signal.SIGHUP)
            # The connection stays; some write is the first that the new policy sees.
            gateway.until(lambda: master.ask(write(7, 301)) == ILLEGAL_FUNCTION)
            gateway.until(lambda: link(gateway)["last_reason"] == "read_only")
            gateway.write_policy(policy("dry-run"))
            gateway.send(signal.SIGHUP)
            gateway.until(lambda: master.ask(write(7, 501)) == write(7, 501))
            gateway.write_policy(policy(""))  # no firewall: nobody decides
            gateway.send(signal.SIGHUP)
            gateway.until(lambda: master.ask(write(7, 300)) == ILLEGAL_FUNCTION)
            assert master.ask(read(7)) == b"\x83\x01"
        assert gateway.stop() == 0
        told = refusals(gateway)
        assert told["plc1", "speed", "allowed", "none"] >= 1
        assert told["plc1", "", "refused", "no_policy"] >= 2
        assert ("plc1", "speed", "refused", "value") in told  # dry-run says the same
        assert audited(gateway).problems == []


@pytest.mark.parametrize("reads", ["refuse", "pass-reads"])
def test_without_any_policy_writes_are_refused(tmp_path: Path, reads: str) -> None:
    port = free_port()
    more = f'without_policy = "{reads}"'
    with (
        Device() as plc,
        plant(tmp_path, proxied(plc.port, port, more), policy("")) as gateway,
    ):
        gateway.start()
        with Client(port) as master:
            assert master.ask(write(7, 300)) == ILLEGAL_FUNCTION
            passed = master.ask(read(7)) == b"\x03\x02\x00\x07"
            assert passed is (reads == "pass-reads")
        assert gateway.stop() == 0
        assert values(gateway) == ([7.0] if passed else [])


def test_masters_come_back_after_kill_9_and_no_refusal_is_forgotten(
    tmp_path: Path,
) -> None:
    port = free_port()
    with Device() as plc, plant(tmp_path, proxied(plc.port, port), policy()) as gateway:
        gateway.start()
        for _ in range(3):
            _ask_and_kill(gateway, port)
            gateway.start()
        with Client(port) as master:
            assert master.ask(read(0, 10))[:2] == b"\x03\x14"
        assert gateway.stop() == 0
        assert plc.wrong == []
        assert refusals(gateway)["plc1", "speed", "refused", "value"] == 60
        assert audited(gateway).problems == []


def _ask_and_kill(gateway: Gateway, port: int) -> None:
    """Have 20 writes refused and 20 reads pass, durably; then kill -9."""

    def counted() -> float:
        return gateway.metric("firewall_exchanges_total")

    before = counted()  # what was durable and not told yet
    with Client(port) as master:
        for _ in range(20):
            assert master.ask(write(7, 501)) == ILLEGAL_VALUE
            assert master.ask(read(0, 10))[:2] == b"\x03\x14"
        gateway.until(lambda: counted() == before + 40)
        gateway.kill()
        assert master.ended()


def test_what_is_wrong_with_a_link_is_a_problem_of_the_status(tmp_path: Path) -> None:
    port, nobody = free_port(), free_port()
    with plant(tmp_path, proxied(nobody, port), policy()) as gateway:
        gateway.start()
        gateway.until(lambda: "plc1: " in gateway.problems())
        with Client(port) as master:
            gateway.until(lambda: master.ask(read(0)) == b"\x83\x0a")
        with Device(port=nobody):
            gateway.until(lambda: "plc1" not in gateway.problems())
        assert gateway.stop() == 0


def test_a_certificate_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    tls = 'listen_tls = {cert_file = "no.pem", key_file = "no.key", ca_file = "ca.pem"}'
    config = proxied(free_port(), free_port(), tls)
    with plant(tmp_path, config, policy()) as gateway:
        assert gateway.launch().wait(30) == 2
        gateway.process = None
        assert "no.pem" in gateway.log()
        assert len(gateway.log().splitlines()) == 1
        assert parse_config((tmp_path / "gw.toml").read_bytes(), "gw.toml").modbus


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
