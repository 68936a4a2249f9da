"""Proxied links of a running agent: the judge changes with the policy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent.adapters.clock import SystemClock
from agent.adapters.modbus.between import Between
from agent.adapters.modbus.proxy_line import Line
from agent.adapters.opening import open_bus
from agent.adapters.policy.loader import Paths, accept
from agent.commands.parts import World
from agent.commands.run import serve
from agent.config import parse_config
from agent.errors import Fatal
from policies.firewall.tables import CompiledFirewall, Default, Do, FirewallRule, Mode
from tests.support.broker import free_port
from tests.support.plant_gateway import plant, policy
from tests.support.proxying import Client, Device, link_to, read, write

if TYPE_CHECKING:
    from pathlib import Path

    from agent.runtime import Agent


def rules(*names: str, functions: frozenset[int] | None = None) -> CompiledFirewall:
    """Return a firewall that allows these functions by the first of its rules."""
    return CompiledFirewall(
        Default.DENY, Mode.ENFORCE, False, False, (),
        tuple(
            FirewallRule(name, Do.ALLOW, None, None, None, functions, None, None, None)
            for name in names
        ),
    )  # fmt: skip


def both(port: int) -> list[bytes]:
    with Client(port) as master:
        return [master.ask(read(7)), master.ask(write(7, 1))]


def test_each_exchange_is_told_by_the_rules_that_judged_it() -> None:
    async def story() -> None:
        with Device() as plc:
            between = Between([link_to(plc.port)], SystemClock())
            between.start(lambda: None)
            assert between._proxy is not None
            port = between._proxy.port("plc1")
            answers, told = [], []
            for firewall in (
                None,
                rules("reads", functions=frozenset({3})),
                rules("all", "reads"),
                None,
            ):
                between.adopt(firewall, clock_ok=True)
                answers += await asyncio.to_thread(both, port)
            await between.stop()
            for batch, names in between.take():
                told += [names[rule] if rule >= 0 else "" for rule in batch.rule]
            assert answers == [
                b"\x83\x01", b"\x86\x01", b"\x03\x02\x00\x07", b"\x86\x01",
                b"\x03\x02\x00\x07", write(7, 1), b"\x83\x01", b"\x86\x01",
            ]  # fmt: skip
            assert sorted(told) == ["", "", "", "", "", "all", "all", "reads"]
            assert between.take() == []

    asyncio.run(story())


def test_without_proxied_links_there_is_no_thread() -> None:
    async def story() -> None:
        between = Between([], SystemClock())
        between.adopt(rules("all"), clock_ok=True)
        between.start(lambda: None)
        assert (between.take(), between.states(), between.lost()) == ([], (), 0)
        await between.stop()

    asyncio.run(story())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.slow
@pytest.mark.alone
def test_an_agent_whose_proxies_die_of_a_bug_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(_: Line) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Line, "_sweep", die)

    def started(agent: Agent) -> None:
        """It ends by itself."""

    async def story() -> None:
        file = tmp_path / "gw.toml"
        paths = Paths(str(file), parse_config(file.read_bytes(), str(file)))
        async with asyncio.timeout(60):
            await serve(paths, accept(paths), World(SystemClock(), open_bus, started))

    config = (
        f'[[modbus]]\nname = "plc1"\nmode = "proxy"\nport = {free_port()}\n'
        f'listen = "127.0.0.1:{free_port()}"\n'
    )
    with (
        plant(tmp_path, config, policy()),
        pytest.raises(BaseExceptionGroup) as caught,
    ):
        asyncio.run(story())
    found = caught.value.subgroup(Fatal)
    assert found is not None
    assert "ExceptionGroup" in str(found.exceptions[0])
