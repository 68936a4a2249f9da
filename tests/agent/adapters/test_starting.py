"""A start that takes long: systemd waits while it gets on, and a reload is kept."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

from agent.adapters.starting import Hangups, Start
from agent.adapters.store_thread import StoreThread
from agent.adapters.systemd import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def told_while(folder: Path, call: Callable[[Callable[[], int]], str]) -> str:
    """Run a step; return what systemd was told. ``call`` gets how much was told."""
    path = str(folder / "notify")
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as heard:
        heard.bind(path)
        heard.setblocking(False)
        lines: list[str] = []

        def listen() -> int:
            with contextlib.suppress(BlockingIOError):
                while True:
                    lines.append(heard.recv(4096).decode())
            return len(lines)

        async def story() -> None:
            with StoreThread().working() as thread:
                start = Start(Notifier({"NOTIFY_SOCKET": path}), thread, 0.001)
                assert await start.step("opens the store", call, listen) == "opened"

        asyncio.run(story())
        listen()
        return "\n".join(lines)


def test_a_step_that_works_gets_more_time(tmp_path: Path) -> None:
    def works(listen: Callable[[], int]) -> str:
        while not listen():
            sum(range(10_000))
        return "opened"

    said = told_while(tmp_path, works).splitlines()
    assert said[0] == "EXTEND_TIMEOUT_USEC=30000000"
    assert said[1] == "STATUS=starting: opens the store"


def test_a_step_that_hangs_gets_none(tmp_path: Path) -> None:
    def hangs(_: Callable[[], int]) -> str:
        threading.Event().wait(0.05)  # a disk that does not answer
        return "opened"

    assert told_while(tmp_path, hangs) == ""


def test_a_reload_before_anybody_could_do_it_is_remembered() -> None:
    hangups = Hangups()
    before = signal.signal(signal.SIGHUP, hangups.note)
    try:
        assert not hangups.asked
        os.kill(os.getpid(), signal.SIGHUP)
        assert hangups.asked
    finally:
        signal.signal(signal.SIGHUP, before)
