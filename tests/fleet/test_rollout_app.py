"""`sluicectl rollout` as typed: exit codes, one line for what is wrong, JSON."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from fleet.errors import Unavailable
from fleet.link import BrokerOptions, connect
from fleet.main import run
from fleet.registry import add_device
from fleet.rollout import desk as rollout_desk
from fleet.rollout import site as rollout_site
from policies.rollout import Rollout, encode_rollout
from protocols.topics import up_topic
from tests.support.ack_sender import a_fleet, a_rollout
from tests.support.broker import Broker, needs_mosquitto

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = [needs_mosquitto, pytest.mark.broker]


@pytest.fixture(autouse=True)
def _shown_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout_desk, "SHOW_S", 0.05)  # how often a watcher is told


class Stand:
    """Repository and journal in memory."""

    def __init__(self) -> None:
        self.signed: list[Rollout] = []
        self.entries: list[str] = []

    def rollout(self) -> Rollout | None:
        return self.signed[-1] if self.signed else None

    def sign(self, rollout: Rollout, before: Rollout | None) -> bytes:
        now = self.rollout()
        if now != before:
            raise Unavailable("rollout", "another desk changed it meanwhile")
        self.signed.append(rollout)
        return encode_rollout(rollout)

    def record(self, action: str, facts: Mapping[str, object]) -> None:
        self.entries.append(f"{action} {facts['state']} {facts['upto']}")


class World:
    def __init__(self, folder: Path, broker: Broker, stand: Stand) -> None:
        self.devices = a_fleet(10)
        self.stand = stand
        self.port = broker.port
        self.registry = folder / "devices"
        for one in self.devices:
            add_device(self.registry, one.device, one.public_key)
        self.options = [
            "--fleet", "f", "--broker", f"127.0.0.1:{broker.port}",
            "--devices", str(self.registry), "--repository", str(folder),
            "--keys", str(folder),
        ]  # fmt: skip

    def run(self, *words: str) -> int:
        return run(["rollout", *words, *self.options])

    def say(self, states: list[str], rollout: Rollout) -> None:
        async def go() -> None:
            options = BrokerOptions("127.0.0.1", self.port, "fleet")
            link = await connect(options, session_s=0)
            for device, state in zip(self.devices, states, strict=False):
                topic = up_topic("f", device.device, "ack")
                await link.publish(topic, device.says(rollout, state), retain=True)
            await link.close()

        asyncio.run(go())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    stand = Stand()
    monkeypatch.setattr(rollout_site, "signing", lambda _: (stand, stand))
    with Broker(tmp_path) as broker:
        yield World(tmp_path, broker, stand)


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_rollout_from_start_to_end(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [
        (["start", "--candidate", "43", "--upto", "1%"], "running 100"),
        (["widen", "--upto", "50%"], "running 5000"),
        (["pause", "--reason", "lunch"], "paused 5000"),
        (["resume", "--retry"], "running 5000"),
        (["abort", "--reason", "bad"], "aborted 5000"),
        (["start", "--candidate", "43", "--device", "gw-00001"], "running 0"),
    ]
    for words, expected in steps:
        assert world.run(*words) == 0
        assert world.stand.entries[-1] == f"rollout {words[0]} {expected}"
    told = capsys.readouterr().out
    assert "published: policy-43, attempt 2: policy 43 for 50 % of the fleet" in told
    assert "aborted, bad" in told
    assert world.stand.signed[-1].attempt == 3
    assert len({one.salt for one in world.stand.signed}) == 2


def test_watching_ends_with_0_when_all_have_answered(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.stand.signed.append(a_rollout(upto=10_000))
    world.say(["active"] * 10, a_rollout())
    assert world.run("watch", "--json", "--seconds", "30") == 0
    *_, line = _lines(capsys)
    assert (line["done"], line["outcomes"]) == (True, {"active": 10})
    assert world.run("watch") == 0
    told = capsys.readouterr().out  # in a pipe: nothing but how it ended
    assert told == "winter, attempt 1: done: 10 active of 10\n"


def test_a_limit_that_is_passed_halts_with_one_line_and_1(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.stand.signed.append(a_rollout(upto=10_000))
    world.say(["active"] * 9 + ["refused"], a_rollout())
    assert world.run("watch") == 1
    assert capsys.readouterr().err == (
        "sluicectl: winter: halted: 1 of 10 refused (10 %, the limit is 2 %): floor 1\n"
    )
    assert world.stand.entries == ["rollout halt paused 10000"]
    assert world.run("watch") == 1
    assert "winter: is paused: 1 of 10 refused" in capsys.readouterr().err
    assert world.run("status") == 1
    assert "over the limit: 1 of 10 refused" in capsys.readouterr().out


def test_no_halt_only_tells(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.stand.signed.append(a_rollout(upto=10_000))
    world.say(["refused"] * 10, a_rollout())
    assert world.run("watch", "--no-halt") == 1
    assert "over the limit: 10 of 10 refused" in capsys.readouterr().err
    assert world.stand.entries == []


def test_time_that_is_up_is_1(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.stand.signed.append(a_rollout(upto=10_000))
    assert world.run("watch", "--seconds", "0.1") == 1
    assert "0 of 10 after the time was up" in capsys.readouterr().err


def test_status_tells_a_table_and_json(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.stand.signed.append(a_rollout(upto=10_000))
    world.say(["active", "trial"], a_rollout())
    assert world.run("status") == 0
    assert "1 of 10 (10 %)" in capsys.readouterr().out
    assert world.run("status", "--json") == 0
    (line,) = _lines(capsys)
    assert line["outcomes"] == {"active": 1, "silent": 8, "trial": 1}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["start", "--candidate", "43", "--upto", "2"], "--upto: is not a share"),
        (["start", "--candidate", "0"], "--candidate"),
        (["start"], "Missing option '--candidate'"),
        (["widen", "--upto", "2%"], "rollout: none was started"),
        (["start", "--candidate", "43", "--window", "now"], "not a time window"),
        (["status", "--broker", "nowhere"], "--broker: is not host:port"),
        (["status", "--fleet", "a/b"], "--fleet: must match"),
        (["status", "--devices", "/nonexistent"], "no such folder of devices"),
        (["status", "--broker", "192.0.2.1:1883"], "needs TLS"),
    ],
)
def test_bad_input_is_one_line_and_2(
    world: World, words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rollout", words[0], *world.options, *words[1:]]) == 2
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1
