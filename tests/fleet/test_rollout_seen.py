"""A rollout read from the broker alone, verified from the root."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from fleet.errors import BadInput, Unavailable
from fleet.link import BrokerOptions, connect
from fleet.rollout import seen as rollout_seen
from fleet.rollout.seen import seen_rollout
from protocols.topics import policy_topic
from tests.support.broker import Broker, needs_mosquitto
from tests.support.fleet_trust import FleetTrust

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from policies.rollout import Rollout

pytestmark = [needs_mosquitto, pytest.mark.broker]


@pytest.fixture
def options(tmp_path: Path) -> Iterator[BrokerOptions]:
    with Broker(tmp_path) as broker:
        yield BrokerOptions("127.0.0.1", broker.port, "reader")


def _seen(options: BrokerOptions, message: bytes, root: bytes) -> Rollout:
    async def run() -> Rollout:
        if message:
            link = await connect(options, session_s=0)
            await link.publish(policy_topic("north", "bundle"), message, retain=True)
            await link.close()
        return await seen_rollout(options, "north", root, "root.json")

    return asyncio.run(run())


def _fleet() -> FleetTrust:
    fleet = FleetTrust(now_s=int(time.time()))
    fleet.add_policy(1)
    return fleet


def test_the_published_rollout_is_read_and_verified(options: BrokerOptions) -> None:
    fleet = _fleet()
    fleet.roll_out(1, upto=250)
    assert _seen(options, fleet.message(), fleet.roots[0]).upto == 250


def test_what_is_not_to_be_trusted_says_why(
    options: BrokerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout_seen, "WAIT_S", 0.3)
    fleet = _fleet()
    with pytest.raises(Unavailable, match="nothing is published"):
        _seen(options, b"", fleet.roots[0])
    with pytest.raises(Unavailable, match="no rollout"):
        _seen(options, fleet.message(), fleet.roots[0])
    fleet.roll_out(1)
    other = FleetTrust(root_names=("a", "b", "c"), timestamp_name="other")
    with pytest.raises(Unavailable, match="not to be trusted"):
        _seen(options, fleet.message(), other.roots[0])
    with pytest.raises(BadInput, match=r"root\.json"):
        _seen(options, b"", b"{}")
