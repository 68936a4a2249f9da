"""The live network with our proxy before every PLC, and the slow firewall as judge.

What belongs there works as without a proxy; no write of an attack reaches a PLC where
the rules are enforced, and all do in dry-run, with the same verdicts.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
import yaml

from agent.adapters.modbus.link import LinkConfig
from agent.adapters.modbus.proxy import ModbusProxy
from agent.adapters.modbus.proxy_settings import ProxyLink
from agent.firewall.decision import Decision
from firmware_sim.network import pdus
from firmware_sim.network.live import Live
from firmware_sim.network.model import NetworkScenario
from firmware_sim.network.world import World
from firmware_sim.scenario import load_scenario
from firmware_sim.schema import NS
from protocols.modbus.exchanges import Reason, Verdict
from protocols.modbus.peers import Peers
from tests.reference.slow_firewall import Rules, bound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.firewall.decision import Caller
    from firmware_sim.network.asks import Ask, Reply
    from protocols.modbus.pdu import Request
    from protocols.modbus.pdu_reply import Reply as Answer

pytestmark = [pytest.mark.slow, pytest.mark.alone]
SECONDS, SPEED = 30, 4.0
TIMES = {"write-unknown": "8s", "beyond-limits": "14s", "dangerous": "20s"}
LINKS = ("plc1", "plc2", "plc3")


def bytes_of(request: Request) -> bytes:
    """Write a request anew: the slow firewall reads bytes only."""
    function = request.function
    if function in {1, 2, 3, 4}:
        return pdus.read(function, request.address, request.count)
    if function in {5, 6, 15, 16}:
        return pdus.write(function, request.address, request.write_values)
    if function == 8:
        return pdus.diagnostics(request.sub)
    if function == 43:
        return pdus.identification(request.sub & 0xFF)
    return bytes((function,))


class SlowJudge:
    """The slow firewall in the proxy's words; ``forwards``: dry-run."""

    def __init__(self, rules: Rules, forwards: bool) -> None:
        self.rules = rules
        self.forwards = forwards

    def judge(
        self, caller: Caller, link: int, unit: int, request: Request, now_ns: int,
        *, clock_ok: bool,
    ) -> Decision:  # fmt: skip
        assert clock_ok
        good, why = self.rules.judge(
            now_ns, caller.address, LINKS[link], unit, bytes_of(request)
        )
        if good:
            return Decision(Verdict.ALLOWED, 0, Reason.NONE, forward=True, exception=0)
        return Decision(
            Verdict.REFUSED, -1, Reason[why], forward=self.forwards, exception=1
        )

    def answered(
        self, link: int, unit: int, request: Request, reply: Answer | None
    ) -> None:
        if reply is None or reply.exception or reply.problems:
            return
        for i, value in enumerate(reply.values or request.write_values):
            place = (LINKS[link], unit, request.table, request.address + i)
            self.rules.last[place] = value


def scenario() -> NetworkScenario:
    """Return the short attacks with an operator in a hurry."""
    loaded = load_scenario("plant-attacks-short")
    assert isinstance(loaded, NetworkScenario)
    clients = tuple(
        msgspec.structs.replace(
            client,
            setpoints=tuple(
                msgspec.structs.replace(one, offset="6s", every="12s")
                for one in client.setpoints
                if one.name == "speed1"
            ),
        )
        for client in loaded.clients
    )
    attacks = tuple(
        msgspec.structs.replace(attack, at=TIMES[attack.name])
        for attack in loaded.attacks
        if attack.name in TIMES
    )
    return msgspec.structs.replace(loaded, clients=clients, attacks=attacks)


def rules(root: Path) -> Rules:
    here = root / "policies" / "examples" / "sim-network.yaml"
    section = yaml.safe_load(here.read_text(encoding="utf-8"))["modbus"]
    examples = root / "policies" / "examples"
    text = (examples / "sim-network.bindings.yaml").read_text(encoding="utf-8")
    return Rules(section, bound(yaml.safe_load(text)))


def run_behind_proxies(judge: SlowJudge) -> tuple[Live, list[tuple[int, int]]]:
    """Return the run, and (function, verdict) of everything that the proxies saw."""
    told = scenario()
    live = Live(told, told.attacks, (SECONDS * NS, SPEED))
    seen: list[tuple[int, int]] = []

    async def run() -> None:
        devices = await live.serve(0)
        proxy = ModbusProxy(
            [
                ProxyLink(
                    name, number, LinkConfig(name, host=host, port=port), listen_port=0
                )
                for number, (name, (host, port)) in enumerate(
                    zip(LINKS, devices, strict=True)
                )
            ],
            Peers(),
        )
        proxy.use(judge, clock_ok=True)
        proxy.start()
        try:
            await live.talk({name: ("127.0.0.1", proxy.port(name)) for name in LINKS})
        finally:
            await live.close()
            proxy.stop()
        while (batch := proxy.take()) is not None and len(batch):
            at = batch.request_at[batch.request_at >= 0]
            seen.extend(
                zip(batch.chars[at].tolist(), batch.verdict.tolist(), strict=True)
            )

    asyncio.run(run())
    return live, seen


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every request that came as far as a PLC."""
    found: list[bytes] = []
    respond = World.respond

    def noting(self: World, ask: Ask, tid: int, source: str | None) -> Sequence[Reply]:
        found.append(ask.pdu)
        return respond(self, ask, tid, source)

    monkeypatch.setattr(World, "respond", noting)
    return found


def hostile(live: Live) -> list[bytes]:
    rows = [row for line in live._lines.values() for row in line.rows]
    return [row.pdu for row in rows if row.attack and row.asked.is_write]


def test_enforced_rules_let_no_write_of_an_attack_through(
    root: Path, reached: list[bytes]
) -> None:
    live, seen = run_behind_proxies(SlowJudge(rules(root), forwards=False))
    rows = [row for line in live._lines.values() for row in line.rows]
    bad = hostile(live)
    assert len(bad) == 5 + 5 + 3
    assert not set(bad) & set(reached)
    legitimate = [row for row in rows if not row.attack]
    assert any(row.asked.is_write for row in legitimate)
    # 1: refused by a rule; a loaded machine may time out (11).
    assert not [row for row in legitimate if row.exception == 1]
    assert sum(verdict == Verdict.REFUSED for _, verdict in seen) == len(bad)
    told = [row for row in rows if row.attack]
    assert all(row.exception for row in told if row.reply_ns)


def test_dry_run_forwards_what_it_would_refuse(
    root: Path, reached: list[bytes]
) -> None:
    live, seen = run_behind_proxies(SlowJudge(rules(root), forwards=True))
    bad = hostile(live)
    assert set(bad) <= set(reached)
    assert sum(verdict == Verdict.REFUSED for _, verdict in seen) == len(bad)
