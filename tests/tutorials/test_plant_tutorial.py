"""docs/tutorials/plant.md, run as it is written: see tests/support/tutorial.py."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.broker import free_port, needs_mosquitto
from tests.support.tutorial import prints_what_it_shows

if TYPE_CHECKING:
    from pathlib import Path

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
PORTS = 3  # of the PLCs, of the proxies, of the broker


def free_ports() -> int:
    """Return the first of ``PORTS`` ports in a row that nobody has."""
    while True:
        base = free_port()
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for host in HOSTS:
                for port in range(base, base + PORTS):
                    one = stack.enter_context(socket.socket())
                    one.bind((host, port))
            return base


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_the_tutorial_prints_what_it_shows(tmp_path: Path) -> None:
    prints_what_it_shows("plant.md", tmp_path, "PORT=15020\n", free_ports())
