"""Live: eight saturated buses into the daemon, and python-can's loop beside it.

This machine's kernel need not have CAN: each bus is a UDP socket on loopback that
carries can_frame structs. The calls are those of the real thing (recvmmsg, kernel time
stamps, SO_RXQ_OVFL), the sockets' own cost is UDP's. What is measured is CPU time, so
that other load on the machine changes little; `make vm-test` has real vcan.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from agent.adapters.opening import open_bus
from agent.adapters.socketcan import SocketCanSource
from agent.adapters.status_client import fetch_page
from bench.daemon import prepare, running
from bench.row import Row
from firmware_sim.scenario import VehicleScenario, load_scenario
from firmware_sim.traffic import Traffic
from protocols.can.socketcan import CAN_MTU, CANFD_MTU, pack

if TYPE_CHECKING:
    from agent.config import Can
    from agent.ports import FrameSource

BUSES: Final = 8
RATE: Final = 4000  # frames a second of a full 500 kbit/s bus
SECONDS: Final = 10.0
SETTLE_S: Final = 3.0
BURST_S: Final = 0.005
SHARE_MAX: Final = 0.25
TICKS: Final = os.sysconf("SC_CLK_TCK")


def rows(_: Path) -> list[Row]:
    """Return the CPU share of the daemon, and what python-can's loop needs alone."""
    share, lost, taken = _daemon()
    wanted = BUSES * RATE
    share *= wanted / taken  # a loaded machine sends less than it should
    theirs = _python_can() * wanted
    return [
        Row(
            f"live: {BUSES} buses x {RATE} frames/s, whole daemon",
            f"{share:.1%} of a core ({taken:,.0f} frames/s came, {lost} lost)",
            "python-can, receive only", f"{theirs:.1%} of a core",
            f"{theirs / share:.1f}x less", f"<= {SHARE_MAX:.0%}, none lost uncounted",
            share <= SHARE_MAX,
        )
    ]  # fmt: skip


# --- the daemon -----------------------------------------------------------------------


def _daemon() -> tuple[float, int, float]:
    """Return CPU share, frames lost, frames taken a second."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        receivers = _sockets()
        config = prepare(folder, None)
        text = config.read_text()
        head, _, tail = text.partition("[[can]]")
        buses = "".join(f'[[can]]\nname = "can{n}"\n' for n in range(BUSES))
        config.write_text(head + buses + tail[tail.index("[mqtt]") :])
        numbers = [str(one.fileno()) for one in receivers]
        command = [sys.executable, "-m", "bench.live", "daemon", ",".join(numbers)]
        with running(config, command, receivers) as daemon:
            ports = [one.getsockname()[1] for one in receivers]
            for one in receivers:
                one.close()
            with subprocess.Popen(
                [sys.executable, "-m", "bench.live", "send", *map(str, ports)]
            ) as sender:
                time.sleep(SETTLE_S)
                pid = daemon.process.pid
                before, begun = _cpu_s(pid), time.perf_counter()
                frames = _frames(folder)
                time.sleep(SECONDS)
                spent, seconds = _cpu_s(pid) - before, time.perf_counter() - begun
                after = _frames(folder)
                sender.terminate()
        return spent / seconds, after[1], (after[0] - frames[0]) / seconds


def _frames(folder: Path) -> tuple[int, int]:
    """Return frames taken, and everything lost."""
    page = fetch_page(str(folder / "status.sock"), 0, "/metrics").decode()
    found = [0, 0]
    for line in page.splitlines():
        for at, name in enumerate(("bus_frames_total", "lost_total")):
            if line.startswith(f"sluicegate_{name}{{"):
                found[at] += int(float(line.rsplit(" ", 1)[1]))
    return found[0], found[1]


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process with all its threads (proc(5), stat)."""
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / TICKS


def _sockets() -> list[socket.socket]:
    found = []
    for _ in range(BUSES):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.bind(("127.0.0.1", 0))
        one.set_inheritable(True)
        found.append(one)
    return found


def _serve(descriptors: list[int], arguments: list[str]) -> int:
    """Be the daemon, in a world where buses are these sockets."""
    from agent.adapters.clock import SystemClock
    from agent.commands import run
    from agent.commands.parts import World

    def opened(can: Can, number: int) -> FrameSource:
        if can.interface != "socketcan":
            return open_bus(can, number)
        return SocketCanSource(
            socket.socket(fileno=descriptors[number]), can.name, number
        )

    return run.main(arguments, World(SystemClock(), opened, run.on_signals))


# --- the other ends -------------------------------------------------------------------


def _structs() -> list[list[bytes]]:
    """Return what each bus carries again and again: a simulated vehicle's frames."""
    found = load_scenario("city-drive")
    assert isinstance(found, VehicleScenario)
    frames = Traffic(found).frames(0, 20_000_000_000)
    of_bus = []
    for bus in range(BUSES):
        mine = frames.take(np.flatnonzero(frames.bus == bus % 3))
        size = CAN_MTU if (mine.size <= 8).all() and not mine.flags.any() else CANFD_MTU
        raw = pack(mine, size)
        of_bus.append([raw[n : n + size] for n in range(0, len(raw), size)])
    return of_bus


def _send(ports: list[int]) -> None:
    """Keep every bus full: bursts of 5 ms, as controllers and drivers give them."""
    of_bus = _structs()
    ends = []
    for port in ports:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.connect(("127.0.0.1", port))
        ends.append(one)
    burst = int(RATE * BURST_S)
    due, at = time.perf_counter(), 0
    while True:
        for one, frames in zip(ends, of_bus, strict=True):
            for n in range(at, at + burst):
                one.send(frames[n % len(frames)])
        at += burst
        due += BURST_S
        time.sleep(max(0.0, due - time.perf_counter()))


def _python_can() -> float:
    """Return the CPU seconds that python-can's receive loop needs for a frame.

    Its socketcan reads one frame by one system call; so does this stand-in of
    ``can.interfaces.socketcan.capture_message`` on the same sockets.
    """
    receivers = _sockets()
    numbers = [str(one.fileno()) for one in receivers]
    ports = [str(one.getsockname()[1]) for one in receivers]
    peer_command = [sys.executable, "-m", "bench.live", "theirs", *numbers]
    with (
        subprocess.Popen(peer_command, close_fds=False, stdout=subprocess.PIPE) as peer,
        subprocess.Popen(
            [sys.executable, "-m", "bench.live", "send", *ports]
        ) as sender,
    ):
        said, _ = peer.communicate()
        sender.terminate()
    return float(said)


def _theirs(descriptors: list[int]) -> None:
    """Receive as python-can does, by select and a Message per frame; print the cost."""
    import select

    from can.interfaces.socketcan import socketcan

    socks: dict[int, Any] = {}
    for number in descriptors:
        one = socket.socket(fileno=number)
        one.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
        socks[number] = one
    frames, end = 0, time.perf_counter() + SETTLE_S
    while time.perf_counter() < end:  # what came before is not counted
        for number in select.select([*socks], [], [])[0]:
            socketcan.capture_message(socks[number])
    before, end = time.process_time(), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for number in select.select([*socks], [], [])[0]:
            socketcan.capture_message(socks[number])
            frames += 1
    print((time.process_time() - before) / frames)


def main(arguments: list[str]) -> int:
    """Be one of the processes, or measure and print."""
    match arguments:
        case ["daemon", numbers, *rest]:
            return _serve([int(one) for one in numbers.split(",")], rest[1:])
        case ["send", *ports]:
            _send([int(port) for port in ports])
        case ["theirs", *numbers]:
            _theirs([int(number) for number in numbers])
        case _:
            for row in rows(Path()):
                print(*row, sep=" | ")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
