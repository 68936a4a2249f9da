"""The network on real sockets: addresses, answers, attacks, faults, the command."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest
from typer.testing import CliRunner

from firmware_sim.command import app
from firmware_sim.errors import OutputError, ScenarioError
from firmware_sim.network.choosing import chosen_attacks
from firmware_sim.network.command import device_places
from firmware_sim.network.live import Live
from firmware_sim.network.model import NetworkFault, NetworkScenario
from firmware_sim.scenario import load_scenario
from firmware_sim.schema import NS


def network(name: str = "plant-attacks-short") -> NetworkScenario:
    scenario = load_scenario(name)
    assert isinstance(scenario, NetworkScenario)
    return scenario


def run_live(live: Live) -> list[dict]:
    async def run() -> None:
        try:
            listening = await live.serve(0)
            plcs = zip(live.world.plcs, listening, strict=True)
            await live.talk(dict(plcs))
        finally:
            await live.close()

    asyncio.run(run())
    return [json.loads(line) for line in live.truth()]


@pytest.mark.slow
@pytest.mark.alone
def test_polls_and_an_attack_over_tcp() -> None:
    scenario = network()
    (attack,) = chosen_attacks(scenario, ["write-unknown"])
    attack = msgspec.structs.replace(attack, at="5s")
    live = Live(scenario, [attack], (12 * NS, 8.0))
    first, *rows = run_live(live)
    assert first["hosts"]["hmi"] == "127.0.0.7"
    assert {row["client"] for row in rows} >= {"127.0.0.7", "127.0.0.8", "127.0.0.66"}
    hostile = [row for row in rows if row["attack"]]
    assert len(hostile) == 5
    assert all(row["client"] == "127.0.0.66" and row["is_write"] for row in hostile)
    assert all(row["reply_ns"] for row in hostile)
    sump = live.world.device("plc3", 1)
    assert sump is not None
    assert sump.read(4, 100, 1) == [405]  # it was not protected
    assert live.rows_count == len(rows)


@pytest.mark.slow
@pytest.mark.alone
def test_a_plc_that_restarts_is_silent_and_comes_back() -> None:
    fault = NetworkFault(at="4s", kind="reboot", plc="plc3", lasts="4s")
    scenario = msgspec.structs.replace(network(), faults=(fault,))
    live = Live(scenario, [], (16 * NS, 4.0))
    rows = [row for row in run_live(live)[1:] if row["server"] == "127.0.0.3"]
    base = live.base_ns
    answered = [(row["reply_ns"] - base) * 4 / NS for row in rows if row["reply_ns"]]
    assert not [at for at in answered if 4.5 < at < 8.0]
    assert [at for at in answered if at < 4.0]
    assert [at for at in answered if at > 8.0]


def test_clients_can_be_sent_to_a_proxy() -> None:
    places = device_places(network(), ["plc1=127.0.0.1:1502"], 5020)
    assert places["plc1"] == ("127.0.0.1", 1502)
    assert places["plc2"] == ("127.0.0.2", 5020)
    for wrong in ("plc9=127.0.0.1:1", "plc1=1502", "plc1", "plc1=h:x"):
        with pytest.raises(OutputError, match="NAME=HOST:PORT"):
            device_places(network(), [wrong], 5020)


def test_named_attacks_follow_each_other_after_ten_seconds() -> None:
    scenario = network()
    chosen = chosen_attacks(scenario, ["dangerous", "scan"])
    assert [(one.name, one.at) for one in chosen] == [
        ("dangerous", "10000ms"), ("scan", "30000ms"),
    ]  # fmt: skip
    assert chosen_attacks(scenario, ["none"]) == []
    assert len(chosen_attacks(scenario, [])) == len(scenario.attacks)
    with pytest.raises(ScenarioError, match="no attack is called x: scan, "):
        chosen_attacks(scenario, ["x"])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["plant-network-short"], "give --out or --live"),
        (["plant-network-short", "--out", "x.log"], "suffix must be .pcap"),
        (["tank-line", "--out", "x.pcap"], "is no network"),
        (["plant-network-short", "--out", "x.pcap", "--truth", "y"], "go with --live"),
        (["plant-network-short", "--out", "/nowhere/x.pcap"], "No such file"),
    ],
)
def test_the_command_ends_in_one_line(arguments: list[str], reason: str) -> None:
    done = CliRunner().invoke(app, ["network", *arguments, "--seconds", "1"])
    assert isinstance(done.exception, ScenarioError | OutputError)
    assert reason in str(done.exception)
    assert len(str(done.exception).splitlines()) == 1
