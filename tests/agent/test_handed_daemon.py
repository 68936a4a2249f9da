"""The daemon with a socket that was opened for it: it outlives the daemon."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.broker import free_port
from tests.support.plant_gateway import plant, policy
from tests.support.proxying import Client, Device, adu, read

if TYPE_CHECKING:
    from tests.support.gateway import Gateway

pytestmark = [pytest.mark.slow, pytest.mark.alone]

# What systemd does between fork and exec, sd_listen_fds(3).
HAND_OVER = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
told = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "modbus"}
os.execve(sys.argv[2], sys.argv[2:], os.environ | told)
"""
LOW_PORT = 700
FIRST_UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
ANSWER = b"\x03\x02\x00\x07"


def proxied(device: int, listen: int) -> str:
    return (
        f'[[modbus]]\nname = "plc1"\nmode = "proxy"\nport = {device}\n'
        f'listen = "127.0.0.1:{listen}"\n'
    )


def start_with(gateway: Gateway, sock: socket.socket) -> None:
    """Start the daemon as systemd does that holds ``sock``."""
    gateway.passed = (sock.fileno(),)
    gateway.start((sys.executable, "-c", HAND_OVER, f"{sock.fileno()}"))


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_masters_wait_while_the_daemon_is_away(tmp_path: Path, how: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as held,
        Device() as plc,
        plant(tmp_path, proxied(plc.port, held.getsockname()[1]), policy()) as gateway,
    ):
        port = held.getsockname()[1]
        start_with(gateway, held)
        with Client(port) as master:
            assert master.ask(read(7)) == ANSWER
            assert "listens there" not in gateway.problems()
            getattr(gateway, how)()
            assert master.ended()
        with Client(port) as master:  # not refused: nobody is there, and it waits
            master.send(adu(1, 1, read(7)))
            start_with(gateway, held)
            assert master.receive() == (1, 1, ANSWER)
        assert gateway.stop() == 0
        assert not plc.wrong


def test_a_socket_that_no_link_wants_and_a_port_without_one_are_told(
    tmp_path: Path,
) -> None:
    if int(FIRST_UNPRIVILEGED.read_text("ascii")) <= LOW_PORT:
        pytest.skip("low ports are open to everybody here")
    drop = ("setpriv", "--bounding-set=-net_bind_service")
    with (
        socket.create_server(("127.0.0.1", 0)) as held,
        Device() as plc,
        plant(tmp_path, proxied(plc.port, LOW_PORT), policy()) as gateway,
    ):
        other, number = held.getsockname()[1], held.fileno()
        gateway.passed = (number,)
        hand_over = (sys.executable, "-c", HAND_OVER, f"{number}")
        gateway.start((*(() if os.geteuid() else drop), *hand_over))
        lacks = (
            "plc1: listen: ports below 1024 are opened by systemd, and 127.0.0.1:700"
            " was not handed over: run sluicegate-proxy.service, with"
            " ListenStream=127.0.0.1:700 in its socket"
        )
        gateway.until(lambda: lacks in gateway.problems())
        unwanted = f"127.0.0.1:{other}: was handed over by systemd, and no [[modbus]]"
        assert unwanted in gateway.problems()
        assert gateway.stop() == 0
        log = gateway.log()
        assert log.count("plc1: listen: ports below 1024") == 1
        assert log.count(f"127.0.0.1:{other} was handed over by systemd") == 1


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None,
    reason="needs systemd-socket-activate (systemd)",
)
def test_systemds_own_activator_is_understood(tmp_path: Path) -> None:
    port = free_port()
    with Device() as plc, plant(tmp_path, proxied(plc.port, port), policy()) as gateway:
        gateway.launch((
            "systemd-socket-activate", f"--listen=127.0.0.1:{port}",
            "--fdname=modbus", "--setenv=PYTHONPATH",
        ))  # fmt: skip

        def answered() -> bool:  # the first connection starts the daemon, and waits
            with suppress(ConnectionRefusedError), Client(port) as master:
                return master.ask(read(7)) == ANSWER
            return False

        gateway.until(answered)
        assert "plc1" not in gateway.problems()
        assert gateway.stop() == 0
