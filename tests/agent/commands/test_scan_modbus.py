"""`scan` of a network's capture: Modbus TCP goes the way that a CAN capture goes."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from agent.commands.scan_feeds import is_network
from agent.commands.scanning import Request, scan_one, try_scan
from agent.main import run
from firmware_sim.network.model import NetworkScenario
from firmware_sim.network.recording import write_network
from firmware_sim.scenario import load_scenario
from firmware_sim.schema import NS
from protocols.capture.pcap import link_type_of

if TYPE_CHECKING:
    from pathlib import Path

LINKS = ("plc1=10.20.0.11", "plc2=10.20.0.12", "plc3=10.20.0.13")
REQUEST = Request("sim-network", ("sim-network",), links=LINKS)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file: Path = tmp_path_factory.mktemp("scan") / "plant.pcap"
    scenario = load_scenario("plant-network-short")
    assert isinstance(scenario, NetworkScenario)
    write_network(scenario, file, 12 * NS, [])
    return file


def test_readings_and_verdicts_of_a_clean_network(capture: Path) -> None:
    truth = (capture.parent / "plant.pcap.truth.jsonl").read_text(encoding="utf-8")
    result = scan_one(capture, REQUEST)
    assert result.what == "exchanges"
    assert result.frames == sum('"tid"' in line for line in truth.splitlines())
    level = next(i for i in result.items if i.name == "Plant.Line1.Tank.Level")
    assert level.samples >= 12
    assert {(row.verdict, row.reason) for row in result.verdicts} == {
        ("allowed", "none")
    }
    assert sum(row.count for row in result.verdicts) == result.frames
    assert result.skipped == ()
    assert result.alerts == 0


def test_addresses_may_come_from_a_configuration(capture: Path, tmp_path: Path) -> None:
    config = tmp_path / "gw.toml"
    links = "".join(
        f'[[modbus]]\nname = "{name}"\nmode = "watch"\nhost = "{host}"\n'
        for name, _, host in (link.partition("=") for link in LINKS)
    )
    config.write_text(
        f'device = "g"\nfleet = "f"\nstate_dir = "s"\n{links}', encoding="ascii"
    )
    request = Request("sim-network", ("sim-network",), config=str(config))
    plain, named = scan_one(capture, REQUEST), scan_one(capture, request)
    assert plain.items == named.items
    assert plain.verdicts == named.verdicts


def test_a_packed_capture_is_the_same(capture: Path, tmp_path: Path) -> None:
    packed = tmp_path / "plant.pcap.gz"
    packed.write_bytes(gzip.compress(capture.read_bytes()))
    assert scan_one(packed, REQUEST).items == scan_one(capture, REQUEST).items


def test_without_an_address_one_line_says_what_to_do(
    capture: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["--policy", "sim-network", "-b", "sim-network"]
    assert run(["scan", str(capture), *options]) == 2
    assert "--link plc" in capfd.readouterr().err


def test_what_breaks_off_is_told_with_what_was_read(
    capture: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(capture.read_bytes()[:-20])
    result = try_scan(cut, REQUEST)
    assert result.failed is not None
    assert "cut.pcap" in str(result.failed)


def test_json_tells_what_the_firewall_said(
    capture: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    links = [word for link in LINKS for word in ("--link", link)]
    options = ["--policy", "sim-network", "-b", "sim-network", "--json", *links]
    assert run(["scan", str(capture), *options]) == 0
    (told,) = json.loads(capfd.readouterr().out)
    assert told["what"] == "exchanges"
    assert {row["link"] for row in told["verdicts"]} == {"plc1", "plc2", "plc3"}


def test_a_capture_of_can_buses_is_none_of_a_network(tmp_path: Path) -> None:
    head = b"\xd4\xc3\xb2\xa1" + bytes(16)
    for link, has_links, expected in [
        (227, True, False),
        (113, False, False),
        (113, True, True),
        (1, False, True),
    ]:
        file = tmp_path / f"{link}-{has_links}.pcap"
        file.write_bytes(head + link.to_bytes(4, "little"))
        assert is_network(file, has_links=has_links) is expected


def test_the_link_type_of_pcapng_stands_in_its_first_interface() -> None:
    section = b"\x0a\x0d\x0d\x0a" + (28).to_bytes(4, "little") + b"\x4d\x3c\x2b\x1a"
    section += bytes(12) + (28).to_bytes(4, "little")
    interface = (1).to_bytes(4, "little") + (20).to_bytes(4, "little")
    interface += (1).to_bytes(2, "little") + bytes(6) + (20).to_bytes(4, "little")
    assert link_type_of(section + interface) == 1
    assert link_type_of(section) is None
    assert link_type_of(section[:11]) is None
    assert link_type_of(b"\x0a\x0d\x0d\x0a" + bytes(20)) is None
    assert link_type_of(b"") is None
