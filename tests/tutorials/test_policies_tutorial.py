"""docs/tutorials/policies.md, run as it is written: see tests/support/tutorial.py."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.broker import free_port, needs_mosquitto
from tests.support.tutorial import TUTORIALS, blocks, prints_what_it_shows

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT = "policies.md"
PORT_LINE = "PORT=18830\n"
BUSES = 3


def free_ports() -> int:
    """Return a free TCP port before free UDP ports, one for each bus."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for number in range(1, BUSES + 1):
                one = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
                one.bind(("127.0.0.1", port + number))
            return port


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_the_tutorial_prints_what_it_shows(tmp_path: Path) -> None:
    prints_what_it_shows(DOCUMENT, tmp_path, PORT_LINE, free_ports())


def test_secrets_are_in_no_command() -> None:
    text = "".join(body for body, _ in blocks(TUTORIALS / DOCUMENT))
    assert not re.search(r"passphrase[ =]|password|BEGIN", text)
