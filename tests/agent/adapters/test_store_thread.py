"""One thread, in order; errors pass; patience only with what may pass."""

from __future__ import annotations

import asyncio
import threading

import pytest

from agent.adapters.clock import SystemClock
from agent.adapters.store_thread import StoreThread
from agent.errors import Fatal, Unavailable


class Quick(SystemClock):
    """A clock whose sleeps are over at once."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds * 0)


def test_calls_run_in_one_thread_in_the_order_in_which_they_were_made() -> None:
    seen: list[tuple[int, int]] = []

    def note(number: int) -> None:
        seen.append((number, threading.get_ident()))

    async def story() -> None:
        with StoreThread().working() as thread:
            await asyncio.gather(*(thread.run(note, n) for n in range(50)))

    asyncio.run(story())
    assert [number for number, _ in seen] == list(range(50))
    assert len({ident for _, ident in seen}) == 1
    assert seen[0][1] != threading.get_ident()


def test_what_may_pass_is_tried_again_and_what_may_not_is_told() -> None:
    calls = {"count": 0}

    def fail(error: Exception, times: int) -> int:
        calls["count"] += 1
        if calls["count"] <= times:
            raise error
        return calls["count"]

    async def story() -> None:
        with StoreThread().working() as thread:
            away = Unavailable("store", "full")
            assert await thread.patient(Quick(), fail, away, 3) == 4
            with pytest.raises(Fatal):
                await thread.patient(Quick(), fail, Fatal("unknown"), 99)
            with pytest.raises(Unavailable):
                await thread.run(fail, away, 99)

    asyncio.run(story())
