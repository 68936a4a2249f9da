"""kill -9 of a process that runs a proxy: nothing half has ever reached the device."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.broker import free_port
from tests.support.proxying import Client, Device, adu, write

ROOT = Path(__file__).resolve().parents[3]
KILLS = 4
MASTERS = 4


class Pest:
    """A master that writes as fast as it can, in pieces, and reconnects for ever."""

    def __init__(self, port: int, seed: int) -> None:
        self._port = port
        self._random = random.Random(seed)
        self._ended = threading.Event()
        self.connections = 0
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with Client(self._port) as master:
                    self._write(master)
            except (EOFError, OSError):
                self._ended.wait(0.01)  # nobody there: another may want the core

    def _write(self, master: Client) -> None:
        counted = False
        while not self._ended.is_set():
            count = self._random.randint(1, 5)
            stream = b"".join(adu(n, 1, write(n, n)) for n in range(count))
            cut = self._random.randint(0, len(stream))
            master.send(stream[:cut])
            master.send(stream[cut:])
            for _ in range(count):
                master.receive()
            self.connections += not counted
            counted = True

    def end(self) -> None:
        self._ended.set()
        self.thread.join()


def started(device: int, port: int) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.proxy_child", str(device), str(port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    return child


@pytest.mark.slow
@pytest.mark.alone
def test_kill_9_forwards_nothing_half_and_masters_come_back() -> None:
    port, chance = free_port(), random.Random(4)
    with Device() as device:
        pests = [Pest(port, seed) for seed in range(MASTERS)]
        try:
            for _ in range(KILLS):
                child = started(device.port, port)
                device.wait(len(device.adus) + chance.randint(20, 500))
                child.kill()
                child.wait()
            child = started(device.port, port)
            before = [pest.connections for pest in pests]
            device.wait(len(device.adus) + 200)
        finally:
            for pest in pests:
                pest.end()
        child.kill()
        child.wait()
        assert not device.wrong
        assert all(len(pdu) == 5 and pdu[0] == 6 for _, pdu in device.adus)
        assert sum(pest.connections for pest in pests) > sum(before) or min(before) > 0
