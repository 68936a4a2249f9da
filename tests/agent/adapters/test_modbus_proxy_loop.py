"""The loop: sockets are served within its wait, and asyncio has its turn."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from agent.adapters.modbus.proxy_loop import ProxyLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def run(work: Callable[[ProxyLoop], Awaitable[None]]) -> None:
    loop = ProxyLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:

        async def bounded() -> None:
            async with asyncio.timeout(20):
                await work(loop)

        runner.run(bounded())


def test_what_a_handler_schedules_comes_though_nothing_else_does() -> None:
    async def work(loop: ProxyLoop) -> None:
        ours, theirs = socket.socketpair()
        soon, later = asyncio.Event(), asyncio.Event()

        def handler(event: int) -> None:
            del event
            ours.recv(100)
            loop.call_soon(soon.set)
            loop.call_later(0.001, later.set)

        with ours, theirs:
            loop.sockets.add(ours.fileno(), handler)
            theirs.send(b"1")
            await soon.wait()
            await later.wait()
            loop.sockets.remove(ours.fileno())

    run(work)


def test_a_timer_comes_though_sockets_are_always_ready() -> None:
    async def work(loop: ProxyLoop) -> None:
        ours, theirs = socket.socketpair()
        served: list[int] = []
        with ours, theirs:
            theirs.send(b"1")  # never read: ready for ever
            loop.sockets.add(ours.fileno(), served.append)
            await asyncio.sleep(0.01)
            await asyncio.to_thread(len, "")  # from another thread, too
            loop.sockets.remove(ours.fileno())
        assert len(served) > 1

    run(work)


def test_a_bug_in_a_handler_is_told_and_the_others_are_served() -> None:
    async def work(loop: ProxyLoop) -> None:
        told: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: told.append(context))
        done = asyncio.Event()
        pairs = [socket.socketpair() for _ in range(2)]

        def broken(event: int) -> None:
            loop.sockets.remove(pairs[0][0].fileno())
            raise KeyError(event)

        def sound(event: int) -> None:
            del event
            pairs[1][0].recv(100)
            done.set()

        for (ours, theirs), handler in zip(pairs, (broken, sound), strict=True):
            loop.sockets.add(ours.fileno(), handler)
            theirs.send(b"1")
        await done.wait()
        assert [type(context["exception"]) for context in told] == [KeyError]
        loop.sockets.remove(pairs[1][0].fileno())
        for pair in pairs:
            for one in pair:
                one.close()

    run(work)


def test_a_socket_that_another_handler_closed_is_left_alone() -> None:
    async def work(loop: ProxyLoop) -> None:
        pairs = [socket.socketpair() for _ in range(2)]
        served: list[int] = []

        def handler(index: int) -> Callable[[int], None]:
            def close_the_other(event: int) -> None:
                del event
                served.append(index)
                for ours, _ in pairs:
                    loop.sockets.remove(ours.fileno())
                    ours.close()
                loop.call_soon(done.set)

            return close_the_other

        done = asyncio.Event()
        for index, (ours, theirs) in enumerate(pairs):
            theirs.send(b"1")
            loop.sockets.add(ours.fileno(), handler(index))
        await done.wait()
        assert len(served) == 1
        for _, theirs in pairs:
            theirs.close()

    run(work)
