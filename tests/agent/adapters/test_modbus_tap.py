"""A tap through an interface that goes down and comes back, and what it leaves out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from agent.adapters.clock import SystemClock
from agent.adapters.modbus.tap import NetworkTap
from agent.adapters.modbus.tap_places import known_places
from agent.config import Modbus, Tap
from agent.errors import Unavailable
from agent.sources.losses import Losses
from protocols.modbus.peers import Peers
from tests.support.pair_rows import Row, pair_batch

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = f"sgtap{os.getpid() % 100_000}"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)  # where ever it is


@pytest.fixture
def interface() -> Iterator[str]:
    """An interface of our own that can be taken down."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("no root or no `ip`: no interface of our own can be made")
    try:
        ip("link", "add", NAME, "type", "bridge")
    except subprocess.CalledProcessError:
        pytest.skip("this kernel makes no interface for us")
    try:
        ip("link", "set", NAME, "up")
        yield NAME
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("link", "del", NAME)


async def first(tap: NetworkTap) -> None:
    source = tap.open()
    try:
        async for _ in source.batches():
            pass
    finally:
        source.close()


def test_an_interface_that_goes_down_is_opened_again(interface: str) -> None:
    async def story() -> None:
        tap = NetworkTap(
            Tap(name="cell", interface=interface), [], Peers(), SystemClock()
        )
        for _ in range(2):
            reading = asyncio.create_task(first(tap))
            while not tap.is_open:  # noqa: ASYNC110  # it opens at its first step
                await asyncio.sleep(0)
            ip("link", "set", interface, "down")
            async with asyncio.timeout(20):
                with pytest.raises(Unavailable, match=interface):
                    await reading
            assert not tap.is_open
            ip("link", "set", interface, "up")

    asyncio.run(story())


def test_every_loss_has_a_cause_of_its_own() -> None:
    losses = Losses()
    tap = NetworkTap(Tap(name="cell", interface="lo"), [], Peers(), SystemClock())
    tap.watch(losses)
    assert losses.totals() == {}
    tap._skipped["IPv4 fragment"] = 3
    assert losses.totals() == {"tap cell: IPv4 fragment": 3}


def test_what_we_say_ourselves_is_left_out_and_counted() -> None:
    peers = Peers()
    links = [Modbus(name="a", mode="proxy"), Modbus(name="b", mode="watch")]
    tap = NetworkTap(Tap(name="cell", interface="lo"), links, peers, SystemClock())
    own, other, device = map(peers.number, ("10.0.0.1", "10.0.0.2", "10.0.0.9"))
    tap._own = np.array([own], np.uint16)
    pdus = (b"\x03\x00\x00\x00\x01", b"\x03\x02\x00\x07")
    rows = [
        Row(*pdus, client=own, server=device, link=0),  # our proxy
        Row(*pdus, client=other, server=device, link=0),  # past the proxy
        Row(*pdus, client=own, server=device, link=1),  # of this machine, not our proxy
        Row(*pdus, client=other, server=own, link=255),  # a master, to our proxy
        Row(*pdus, client=other, server=device, link=255),
    ]
    left = tap._others(pair_batch(rows))
    assert left.client.tolist() == [other, own, other]
    assert left.link.tolist() == [0, 1, 255]
    assert (tap.own, tap.exchanges) == (2, 3)


def test_devices_are_known_by_address_and_port() -> None:
    links = [
        Modbus(name="a", host="localhost", mode="watch"),
        Modbus(name="b", kind="rtu", device="/dev/x", mode="watch"),
        Modbus(name="c", host="127.0.0.3", port=503, mode="proxy", listen="0.0.0.0:1"),
    ]
    known = known_places(links, "lo")
    assert known.devices[("127.0.0.3", 503)] == 2
    assert set(known.devices.values()) == {0, 2}
    assert "127.0.0.1" in known.own  # of lo, and on the way to 127.0.0.3
    missing = Modbus(name="d", host="no-such-host.invalid", mode="watch")
    with pytest.raises(Unavailable, match="no-such-host"):
        known_places([missing], "lo")
