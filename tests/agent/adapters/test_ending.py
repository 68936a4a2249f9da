"""A task that did not hear is told again; fleet's helper is the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import agent.adapters.ending
import fleet.ending

if TYPE_CHECKING:
    from types import ModuleType


class Deaf:
    """Loses so many cancellations, as wait_for of Python 3.11 may."""

    def __init__(self, times: int, error: Exception | None = None) -> None:
        self.told = 0
        self._times, self._error = times, error

    async def run(self) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.told += 1
                if self.told > self._times:
                    raise self._error or asyncio.CancelledError from None


@pytest.mark.parametrize(
    "module", [agent.adapters.ending, fleet.ending], ids=["agent", "fleet"]
)
@pytest.mark.parametrize("error", [None, ValueError("x")], ids=["heard", "raised"])
def test_a_task_is_cancelled_until_it_has_ended(
    module: ModuleType, error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CANCEL_S", 0.01)

    async def story() -> None:
        deaf = Deaf(2, error)
        task = asyncio.create_task(deaf.run())
        await asyncio.sleep(0)
        await module.ended(task)
        assert deaf.told == 3
        if error is None:
            assert task.cancelled()
        else:
            assert task.exception() is error
        await module.ended(task)  # nothing is left to do
        assert deaf.told == 3

    asyncio.run(story())


def test_a_step_is_done_whole_though_its_caller_is_cancelled() -> None:
    noted: list[str] = []

    async def story() -> None:
        going = asyncio.Event()

        async def step() -> str:
            await going.wait()
            return "done"

        async def call() -> None:
            noted.append(await agent.adapters.ending.unbroken(step()))
            await asyncio.sleep(0)  # here the cancellation comes
            noted.append("not cancelled")

        task = asyncio.create_task(call())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        going.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
    assert noted == ["done"]
