"""`doctor` on links and taps: what will not work is named, with what to do."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from agent.adapters.policy.loader import Paths
from agent.commands.doctor_modbus import modbus_checks
from agent.commands.doctor_trust import BAD, GOOD, WARN
from agent.config import parse_config

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = 'device = "gw"\nfleet = "f"\nstate_dir = "state"\n'


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def found(text: str) -> dict[str, tuple[str, str]]:
    paths = Paths("gw.toml", parse_config((HEAD + text).encode(), "gw.toml"))
    return {one.what: (one.verdict, one.said) for one in modbus_checks(paths, None)}


def link(mode: str, port: int, more: str = "") -> str:
    return f'[[modbus]]\nname = "plc1"\nmode = "{mode}"\nport = {port}\n{more}\n'


def test_a_port_that_is_taken_may_be_the_agents_own(taken: int) -> None:
    told = found(link("proxy", taken, f'listen = "127.0.0.1:{taken}"'))
    assert told["link plc1"] == (GOOD, f"127.0.0.1:{taken} accepts")
    assert told["listener plc1"][0] == WARN


def test_an_address_of_another_machine_is_bad(taken: int) -> None:
    told = found(link("proxy", taken, 'listen = "192.0.2.1:1502"'))
    assert told["listener plc1"][0] == BAD


def test_a_certificate_that_is_not_there_is_named(taken: int) -> None:
    tls = 'device_tls = {ca_file = "no-such-ca.pem"}'
    verdict, said = found(link("proxy", taken, tls))["certificates plc1"]
    assert verdict == BAD
    assert "no-such-ca.pem" in said


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ("", WARN),
        ('[[tap]]\nname = "t"\ninterface = "lo"\nports = [503]', WARN),
        ('[[tap]]\nname = "t"\ninterface = "lo"\nports = [1502, 502]', GOOD),
        ('[[tap]]\nname = "t"\ndevice = "/dev/no-such"', WARN),
    ],
)
def test_a_link_that_no_tap_hears_is_told(more: str, verdict: str) -> None:
    assert found(link("watch", 502, more))["link plc1"][0] == verdict


@pytest.mark.parametrize("place", ['interface = "nowhere0"', 'device = "/dev/no-such"'])
def test_a_tap_that_does_not_open_is_bad(place: str) -> None:
    assert found(f'[[tap]]\nname = "t"\n{place}\n')["tap t"][0] == BAD
