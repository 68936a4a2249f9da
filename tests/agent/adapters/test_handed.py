"""Sockets that systemd hands over: taken by their address, or told."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from agent.adapters import handed as module
from agent.adapters.handed import VARIABLES, Handed

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE = 500  # descriptors that nobody here uses
NO_TCP = "was handed over by systemd, and is no TCP socket that listens"


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[ExitStack]:
    monkeypatch.setattr(module, "FIRST", BASE)
    with ExitStack() as found:
        yield found


def at(number: int, sock: socket.socket) -> None:
    os.dup2(sock.fileno(), BASE + number, inheritable=True)


def told(count: object, names: str = "", pid: object = None) -> dict[str, str]:
    who = os.getpid() if pid is None else pid
    return {
        "LISTEN_PID": f"{who}", "LISTEN_FDS": f"{count}", "LISTEN_FDNAMES": names,
        "OTHER": "1",
    }  # fmt: skip


def listener(stack: ExitStack, host: str = "127.0.0.1") -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return stack.enter_context(socket.create_server((host, 0), family=family))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1"])
def test_a_socket_is_taken_once_by_its_address(stack: ExitStack, host: str) -> None:
    sock = listener(stack, host)
    port = sock.getsockname()[1]
    at(0, sock)
    environment = told(1, "modbus")
    handed = Handed.by_systemd(environment)
    assert environment == {"OTHER": "1"}
    assert not os.get_inheritable(BASE)
    assert handed.take((host, port + 1)) is None
    taken = handed.take((host, port))
    assert taken is not None
    assert handed.take((host, port)) is None
    assert not [*handed.dismiss()]
    with taken:
        there = "127.0.0.1" if host == "0.0.0.0" else host
        with socket.create_connection((there, port)):
            taken.accept()[0].close()


def test_what_nobody_wants_is_told_and_closed(stack: ExitStack) -> None:
    sock, six = listener(stack), listener(stack, "::1")
    at(0, sock)
    at(1, six)
    handed = Handed.by_systemd(told(2, "modbus:other"))
    ports = sock.getsockname()[1], six.getsockname()[1]
    names = [what for what, _ in handed.dismiss()]
    assert names == [f"127.0.0.1:{ports[0]}", f"[::1]:{ports[1]}"]
    for number in (0, 1):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(BASE + number)
    assert not [*handed.dismiss()]


def test_what_is_no_tcp_socket_that_listens_is_told(stack: ExitStack) -> None:
    unix = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    deaf = stack.enter_context(socket.socket())
    datagrams = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
    for number, sock in enumerate((unix, deaf, datagrams)):
        at(number, sock)
    with open(os.devnull, "rb") as file:  # noqa: PTH123  # its descriptor is wanted
        os.dup2(file.fileno(), BASE + 3)
    handed = Handed.by_systemd(told(5, "unix:deaf:\x1b[2J"))  # the fifth is not open
    assert [*handed.dismiss()] == [
        (f"descriptor {BASE} (unix)", NO_TCP),
        (f"descriptor {BASE + 1} (deaf)", NO_TCP),
        (f"descriptor {BASE + 2} (\\x1b[2J)", NO_TCP),
        (f"descriptor {BASE + 3} (unnamed)", NO_TCP),
        (f"descriptor {BASE + 4} (unnamed)", NO_TCP),
    ]
    os.close(BASE + 3)


@pytest.mark.parametrize(
    "environment",
    [{}, told(1, pid=1), told(1, pid=""), told("x"), told("-1"), told(""), told("²")],
)
def test_what_was_said_to_another_process_or_badly_is_nothing(
    stack: ExitStack, environment: dict[str, str]
) -> None:
    at(0, listener(stack))
    handed = Handed.by_systemd(environment)
    assert not [*handed.dismiss()]
    assert not {*VARIABLES} & {*environment}
    os.close(BASE)
