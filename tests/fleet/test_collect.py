"""The collector's service against a real mosquitto, and the command in its process."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agent.adapters.mqtt import connect
from agent.records import Outgoing
from fleet.collect import Service
from fleet.errors import BadInput, Unavailable
from fleet.keys import save
from fleet.link import BrokerOptions, parse_broker, tls
from fleet.registry import add_device
from protocols.receipts import open_receipt
from protocols.topics import up_topic
from tests.support import sealing
from tests.support.broker import Broker, free_port, needs_mosquitto
from tests.support.fleet_side import FLEET, OEM, Gateway, Side
from tests.support.links import first, options, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from agent.adapters.mqtt import MqttLink
    from protocols.receipts import Receipt

pytestmark = pytest.mark.broker
DEVICE = sealing.DEVICE
RECEIPT_KEY = OEM.receipt.public_key().public_bytes_raw()
RECEIPTS = f"sg/1/{FLEET}/{DEVICE}/receipt"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path, persistence=True) as running:
        yield running


def service(broker: Broker, side: Side) -> Service:
    at = BrokerOptions(broker.host, broker.port, "collector")
    return Service(FLEET, at, side.ledger, side.collector)


async def running(made: Service, work: Callable[[], Awaitable[None]]) -> None:
    task = asyncio.create_task(made.run())
    try:
        while not made.online:
            await asyncio.wait([task], timeout=0.01)
            assert not task.done()
        await work()
    finally:
        made.stop()
        await task


async def publish(link: MqttLink, kind: str, body: bytes) -> None:
    assert await link.publish(Outgoing(up_topic(FLEET, DEVICE, kind), body)) == 0


async def receipts(link: MqttLink, epoch: bytes, last: int) -> list[Receipt]:
    """Return receipts up to the one that settles ``last``."""
    got: list[Receipt] = []
    while True:
        (message,) = await first(link)
        got.append(open_receipt(message.body, RECEIPT_KEY, DEVICE))
        settled = {e: spans for r in got for e, spans in r.epochs}
        if epoch in settled and settled[epoch][-1][1] >= last:
            return got


@needs_mosquitto
@pytest.mark.slow
def test_what_devices_publish_is_stored_and_receipted(
    broker: Broker, tmp_path: Path
) -> None:
    side = Side(tmp_path)
    gateway = Gateway()
    for value in range(300):
        gateway.seal([value])
    gateway.snapshot()
    epoch = gateway.records[0].epoch

    async def work() -> None:
        link = await connect(options(broker))
        await link.subscribe([RECEIPTS])
        await publish(link, "audit", gateway.page())
        await asyncio.gather(*(publish(link, r.kind, r.body) for r in gateway.records))
        got = await receipts(link, epoch, 300)
        assert max(r.evidence_size for r in got) == len(gateway.entries)
        await link.close()

    run(running(service(broker, side), work))
    assert side.one("SELECT COUNT(*) FROM samples") == 300
    assert side.one("SELECT COUNT(DISTINCT received_ns) FROM batches") < 150  # groups
    assert not side.rules()


@needs_mosquitto
@pytest.mark.slow
def test_a_broker_that_dies_and_comes_back_costs_nothing(
    broker: Broker, tmp_path: Path
) -> None:
    side = Side(tmp_path)
    gateway = Gateway()
    gateway.seal([1])
    epoch = gateway.records[0].epoch
    made = service(broker, side)

    async def work() -> None:
        link = await connect(options(broker))
        await link.subscribe([RECEIPTS])
        for record in gateway.records:
            await publish(link, record.kind, record.body)
        await receipts(link, epoch, 1)
        broker.kill()
        await link.close()
        broker.start()
        link = await connect(options(broker, "gw-1b"))
        await link.subscribe([RECEIPTS])
        while made.connections < 2 or not made.online:
            await asyncio.sleep(0)
            await asyncio.wait([asyncio.create_task(made._stop.wait())], timeout=0.02)
        gateway.seal([2])
        await publish(link, "data", gateway.records[-1].body)
        await receipts(link, epoch, 2)
        await link.close()

    run(running(made, work))
    assert side.one("SELECT COUNT(*) FROM samples") == 2


@needs_mosquitto
def test_what_comes_while_the_collector_is_away_waits_for_it(
    broker: Broker, tmp_path: Path
) -> None:
    side = Side(tmp_path)
    gateway = Gateway()
    gateway.seal([1])

    async def nothing() -> None:
        """Only subscribe."""

    async def send() -> None:
        link = await connect(options(broker))
        for record in gateway.records:
            await publish(link, record.kind, record.body)
        await link.close()

    async def wait() -> None:
        while side.collector.totals.samples == 0:
            await asyncio.wait([asyncio.create_task(asyncio.sleep(0.01))])

    run(running(service(broker, side), nothing))
    run(send())
    side.again()
    run(running(service(broker, side), wait))
    assert side.one("SELECT COUNT(*) FROM samples") == 1


@needs_mosquitto
def test_a_ledger_that_fails_ends_the_service_and_acknowledges_nothing(
    broker: Broker, tmp_path: Path
) -> None:
    side = Side(tmp_path)
    gateway = Gateway()
    gateway.seal([1])
    side.ledger.query("DROP TABLE epochs")

    async def work() -> None:
        link = await connect(options(broker))
        made = service(broker, side)
        task = asyncio.create_task(made.run())
        while not made.online:
            await asyncio.wait([task], timeout=0.01)
        await publish(link, "key", gateway.records[0].body)
        with pytest.raises(Unavailable, match="ledger"):
            await task
        await link.close()

    run(work())


def test_a_broker_that_is_not_there_is_a_problem_and_no_end(tmp_path: Path) -> None:
    side = Side(tmp_path)
    made = Service(
        FLEET, BrokerOptions("127.0.0.1", free_port(), "c"), side.ledger, side.collector
    )

    async def work() -> None:
        task = asyncio.create_task(made.run())
        while not made.problem:
            await asyncio.wait([task], timeout=0.01)
        made.stop()
        await task

    run(work())
    assert "127.0.0.1" in made.problem


def test_plaintext_beyond_this_machine_has_to_be_asked_for() -> None:
    assert parse_broker("[::1]:1883") == ("::1", 1883)
    assert tls(BrokerOptions("localhost", 1, "")) is None
    assert tls(BrokerOptions("192.0.2.1", 1, "", allow_plaintext=True)) is None
    with pytest.raises(BadInput, match="needs TLS"):
        tls(BrokerOptions("192.0.2.1", 1, ""))
    with pytest.raises(BadInput, match="No such file"):
        tls(BrokerOptions("192.0.2.1", 1, "", ca_file="absent.pem"))
    for bad in ("host", "host:", ":1", "host:0", "host:99999", "host:x"):
        with pytest.raises(BadInput, match="--broker"):
            parse_broker(bad)


@needs_mosquitto
@pytest.mark.slow
def test_the_command_collects_tells_json_and_ends_on_sigterm(
    broker: Broker, tmp_path: Path, root: Path
) -> None:
    save(OEM, tmp_path / "oem.keys.json")
    gateway = Gateway()
    gateway.seal([1, 2])
    add_device(tmp_path / "devices", DEVICE, gateway.signer.public_key())
    arguments = [
        "collect", "--fleet", FLEET, "--broker", f"127.0.0.1:{broker.port}",
        "--keys", str(tmp_path / "oem.keys.json"),
        "--devices", str(tmp_path / "devices"),
        "--ledger", str(tmp_path / "ledger"), "--json",
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "fleet.main", *arguments],
        cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip

    async def send() -> None:
        link = await connect(options(broker))
        await link.subscribe([RECEIPTS])
        while True:  # until somebody listens
            code = await link.publish(
                Outgoing(up_topic(FLEET, DEVICE, "key"), gateway.records[0].body)
            )
            if code == 0:
                break
        await publish(link, "data", gateway.records[1].body)
        await receipts(link, gateway.records[0].epoch, 1)
        await link.close()

    run(send())
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")
    last = json.loads(out.splitlines()[-1])
    assert (last["samples"], last["batches"], last["refused"]) == (2, 1, 0)
    assert last["by_destination"] == {"oem": 2}
    assert base64.b64encode(gateway.signer.public_key()) not in out
