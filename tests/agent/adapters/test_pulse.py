"""The watchdog is fed while all parts move, and not when one is hung."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from agent.adapters.moves import Moves, begin
from agent.adapters.pulse import LOOK_S, Pulse
from agent.adapters.store_thread import PATIENCE_S, StoreThread
from agent.adapters.systemd import Notifier
from agent.vitals import Sign

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTS = ("source can0", "modbus proxy", "flow", "store", "uplink", "evidence")


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.setblocking(False)

    def told(self) -> list[str]:
        lines: list[str] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                lines += self._socket.recv(4096).decode().splitlines()
        return lines

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    with contextlib.closing(Systemd(tmp_path)) as systemd:
        yield systemd


def notifier(systemd: Systemd, usec: str = "30000000", pid: str = "") -> Notifier:
    told = {"NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}
    return Notifier(told)


class Steps:
    """A clock that stands between two looks."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        return self.ns

    def monotonic_ns(self) -> int:
        return self.ns

    async def sleep(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)
        await asyncio.sleep(0)


@pytest.mark.parametrize("hung", PARTS)
def test_each_part_that_hangs_starves_the_watchdog(
    systemd: Systemd, hung: str, caplog: pytest.LogCaptureFixture
) -> None:
    counts, clock = dict.fromkeys(PARTS, 0), Steps()

    def signs() -> list[Sign]:
        return [Sign(part, count, True, 60.0) for part, count in counts.items()]

    pulse = Pulse(notifier(systemd), clock, signs, lambda: "fine")
    assert pulse.every_s == LOOK_S
    with caplog.at_level(logging.WARNING, "sluicegate.pulse"):
        for n in range(40):
            for part in counts:
                counts[part] += part != hung or n < 10 or n > 30
            pulse.beat()
            clock.ns += int(LOOK_S * 1e9)
            told = systemd.told()
            is_stalled = 22 <= n <= 30
            assert ("WATCHDOG=1" in told) is not is_stalled, n
            if is_stalled:
                assert told[0].startswith(f"STATUS=no progress: {hung} (")
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2  # once for the stall, once for its end
    assert hung in said[0]


def test_it_looks_twice_within_the_time_of_the_watchdog(systemd: Systemd) -> None:
    told: list[float] = []

    class AMinute(Steps):
        async def sleep(self, seconds: float) -> None:
            told.extend(self.ns / 1e9 for x in systemd.told() if x == "WATCHDOG=1")
            await super().sleep(seconds)
            if self.ns > 60e9:
                raise asyncio.CancelledError

    pulse = Pulse(notifier(systemd, "2000000"), AMinute(), list, lambda: "fine")
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(pulse.run())
    assert told == [float(n) for n in range(61)]


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("30000000", "", 30.0),
        ("30000000", str(os.getpid()), 30.0),
        ("30000000", "1", 0.0),
        ("", "", 0.0),
        ("-1", "", 0.0),
        ("soon", "", 0.0),
    ],
    ids=["for anybody", "ours", "another's", "none", "negative", "no number"],
)
def test_whose_watchdog_it_is(
    systemd: Systemd, usec: str, pid: str, seconds: float
) -> None:
    assert notifier(systemd, usec, pid).watchdog_s == seconds


def test_children_do_not_inherit_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.setenv(name, "1")
    Notifier()
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & set(os.environ)


def test_a_status_is_one_line(systemd: Systemd) -> None:
    notifier(systemd).alive("a\nREADY=1\x1b[0m" + "b" * 999)
    told = systemd.told()
    assert told[0] == "WATCHDOG=1"
    assert told[1].startswith(r"STATUS=a\nREADY=1\x1b[0mbbb")
    assert len(told) == 2
    assert len(told[1]) < 420


def test_a_socket_that_is_gone_stops_nobody(systemd: Systemd) -> None:
    ours = notifier(systemd)
    os.unlink(systemd.path)  # noqa: PTH108  # as systemd's own restart does
    ours.ready("fine")
    again = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    again.bind(systemd.path)
    ours.ready("fine")  # and it is found again
    assert again.recv(100).startswith(b"READY=1")
    again.close()


# --- the marks that parts leave ------------------------------------------------------


def test_who_waits_for_the_store_is_not_judged_and_the_store_is() -> None:
    async def story() -> None:
        with StoreThread().working() as thread:
            let_go, began = threading.Event(), threading.Event()

            async def flow() -> None:
                begin("flow")

                def hang() -> None:
                    began.set()
                    let_go.wait()

                await thread.run(hang)

            task = asyncio.create_task(flow())
            await asyncio.to_thread(began.wait)
            assert not thread.moves.sign("flow", 60.0).due
            assert thread.moves.sign("uplink", 60.0).due
            first, again = thread.sign(), thread.sign()
            assert first == again  # neither a call nor work: nothing moves
            assert first.due
            assert first.patience_s == PATIENCE_S
            let_go.set()
            await task
            assert thread.sign().count > first.count
            assert not thread.sign().due
            assert thread.moves.sign("flow", 60.0).due

    asyncio.run(story())


def test_a_long_call_that_computes_makes_progress() -> None:
    async def story() -> None:
        with StoreThread().working() as thread:
            before = thread.sign().count
            seen: list[int] = []

            def compute() -> None:
                while len(set(seen)) < 3:  # the clock of this thread goes on
                    sum(range(10_000))
                    seen.append(thread.sign().count)

            await thread.run(compute)
            assert before <= seen[0] < seen[-1] < thread.sign().count

    asyncio.run(story())


def test_tasks_are_the_part_of_who_started_them() -> None:
    moves = Moves()

    async def child() -> None:
        moves.step()

    async def parent() -> None:
        begin("uplink")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(child())
            tasks.create_task(child())

    async def story() -> None:
        await asyncio.create_task(parent())
        moves.step()  # nobody's

    asyncio.run(story())
    assert moves.sign("uplink", 1.0).count == 2
