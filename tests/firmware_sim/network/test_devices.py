"""Devices answer as V1.1b3 says; pymodbus' decoder is the judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.pdu import DecodePDU

from firmware_sim.network import pdus
from firmware_sim.network.answers import answer
from firmware_sim.network.malformed import probe
from firmware_sim.network.model import NetworkScenario
from firmware_sim.network.world import World
from firmware_sim.scenario import load_scenario
from firmware_sim.schema import NS

if TYPE_CHECKING:
    from firmware_sim.network.devices import Device


def world() -> World:
    scenario = load_scenario("plant-network-short")
    assert isinstance(scenario, NetworkScenario)
    return World(scenario)


def device(plc: str, unit: int = 1, at_s: int = 30) -> Device:
    made = world()
    made.now_ns = at_s * NS
    found = made.device(plc, unit)
    assert found is not None
    return found


@pytest.mark.parametrize("plc", ["plc1", "plc2", "plc3"])
def test_every_public_probe_is_answered_and_decoded(plc: str) -> None:
    one = device(plc)
    decoder = DecodePDU(False)
    for function in range(1, 128):
        reply = answer(one, probe(function))
        assert reply is not None
        assert reply[0] & 0x7F == function
        if function in {1, 2, 3, 4, 5, 6, 8, 15, 16, 17, 22, 23, 43}:
            assert decoder.decode(reply) is not None
    assert answer(one, bytes((99,))) == bytes((99 | 0x80, 1))


@pytest.mark.parametrize(
    ("pdu", "code"),
    [
        (pdus.read(3, 0, 0), 3),
        (pdus.read(3, 0, 126), 3),
        (pdus.read(1, 0, 2001), 3),
        (pdus.read(3, 65530, 10), 2),
        (pdus.read(3, 5000, 1), 2),
        (pdus.read(3, 100, 1)[:3], 3),
        (pdus.write_one(5, 0, 0x1234), 3),
        (pdus.write_one(6, 9, 1), 2),
        (pdus.write_one(6, 100, 601), 2),
        (pdus.write_registers(100, [1])[:-1], 3),
        (bytes((43, 13, 1, 0)), 1),
        (bytes((43, 14, 9, 0)), 3),
        (pdus.diagnostics(3), 1),
    ],
)
def test_what_is_wrong_is_refused(pdu: bytes, code: int) -> None:
    assert answer(device("plc3"), pdu) == bytes((pdu[0] | 0x80, code))


def test_writes_are_read_back() -> None:
    pumps = device("plc3")
    for pdu, echo in (
        (pdus.write_one(6, 100, 410), 5),
        (pdus.write_registers(101, [390, 1700]), 5),
        (pdus.write_coils(0, [0, 1]), 5),
        (bytes.fromhex("160064fff00003"), 7),
    ):
        assert answer(pumps, pdu) == pdu[:echo]
    held = answer(pumps, pdus.read(3, 100, 3))
    assert held == bytes.fromhex("03060193018606a4")
    both = answer(pumps, bytes.fromhex("170064000100650001020190"))
    assert both == bytes.fromhex("17020193")
    assert answer(pumps, pdus.read(3, 101, 1)) == bytes.fromhex("03020190")


def test_listen_only_is_silent_until_the_restart() -> None:
    meter = device("plc3", 5)
    assert answer(meter, pdus.diagnostics(4)) is None
    assert answer(meter, pdus.read(4, 0, 10)) is None
    assert answer(meter, pdus.diagnostics(0, 7)) is None
    assert answer(meter, pdus.diagnostics(1)) is None
    assert answer(meter, pdus.read(4, 0, 10)) is not None


@given(st.binary(min_size=1, max_size=40))
def test_any_bytes_get_an_answer_of_their_function_or_none(data: bytes) -> None:
    reply = answer(METER, data)
    assert reply is None or (reply[0] & 0x7F == data[0] & 0x7F and len(reply) <= 253)
    assert pdus.asked(data).function == data[0]


METER = device("plc3", 5)


def test_the_station_moves_and_stays_within_its_walls() -> None:
    made = world()
    levels = []
    for second in range(0, 3600, 60):
        made.now_ns = second * NS
        sump = made.device("plc3", 1)
        assert sump is not None
        (level,) = sump.read(3, 0, 1) or [0]
        levels.append(level)
    assert 900 < min(levels) < max(levels) < 3000
    assert len(set(levels)) > 20
