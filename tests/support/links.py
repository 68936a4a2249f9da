"""Short ways to run a link to a broker within a bounded time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from agent.adapters.mqtt import MqttOptions

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from agent.ports import Link
    from agent.records import Incoming
    from tests.support.broker import Broker

T = TypeVar("T")


def run(work: Coroutine[object, object, T]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(30):
            return await work

    return asyncio.run(bounded())


def options(broker: Broker, name: str = "gw-1", **more: object) -> MqttOptions:
    return MqttOptions(broker.host, broker.port, name, **more)  # type: ignore[arg-type]  # checked by the dataclass's users


async def first(link: Link, count: int = 1) -> list[Incoming]:
    got: list[Incoming] = []
    async for message in link.messages():
        got.append(message)
        await link.acknowledge(message)
        if len(got) == count:
            break
    return got
