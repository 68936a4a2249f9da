"""An uplink without a broker keeps trying, which is progress; a hung one is not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from agent.adapters.mqtt import MqttOptions
from agent.adapters.store_thread import StoreThread
from agent.adapters.uplink import PATIENCE_S, Uplink
from agent.errors import Unavailable
from agent.uplink.backoff import Backoff
from agent.vitals import Vitals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.ports import Link

DAY_S = 86_400.0


class Nothing:
    """Store, publisher and journal of an uplink that never connects."""

    def will(self) -> None:
        """No last will."""


class Jump:
    """A clock that jumps over every sleep."""

    def __init__(self) -> None:
        self.s = 0.0

    def now_ns(self) -> int:
        return int(self.s * 1e9)

    def monotonic_ns(self) -> int:
        return int(self.s * 1e9)

    async def sleep(self, seconds: float) -> None:
        self.s += seconds
        await asyncio.sleep(0)


def uplink(clock: Jump, connect: Callable[[MqttOptions], Awaitable[Link]]) -> Uplink:
    nothing = cast(Any, Nothing())
    return Uplink(
        ("test", "gw-1"), MqttOptions("127.0.0.1", 1, "id"), nothing, StoreThread(),
        nothing, Backoff(lambda: 0.999), nothing, clock, nothing, nothing, connect,
    )  # fmt: skip


def test_a_broker_that_is_away_for_a_day_is_no_stall() -> None:
    clock, vitals, stalled = Jump(), Vitals(DAY_S), list[str]()

    async def refused(_: MqttOptions) -> Link:
        clock.s += 10.0  # CONNECT_TIMEOUT_S
        signs = ours.signs()
        stalled.extend(one.part for one in vitals.look(clock.monotonic_ns(), signs))
        if clock.s > DAY_S:
            raise asyncio.CancelledError
        raise Unavailable("mqtt", "no route")

    ours = uplink(clock, refused)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(ours.run())
    assert clock.s > DAY_S
    assert not stalled


def test_a_connection_that_never_ends_its_attempt_is_one() -> None:
    clock, vitals = Jump(), Vitals(DAY_S)

    async def hangs(_: MqttOptions) -> Link:
        return await asyncio.get_running_loop().create_future()

    async def story() -> list[tuple[str, ...]]:
        ours = uplink(clock, hangs)
        task = asyncio.create_task(ours.run())
        found = []
        for _ in range(20):
            await clock.sleep(10.0)
            told = vitals.look(clock.monotonic_ns(), ours.signs())
            found.append(tuple(one.part for one in told))
        task.cancel()
        await asyncio.wait((task,))
        return found

    found = asyncio.run(story())
    assert found[: int(PATIENCE_S / 10)] == [()] * 18
    assert found[-1] == ("uplink",)
