"""docs/tutorials/policies.md, run as it is written: see tests/support/tutorial.py."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.broker import needs_mosquitto
from tests.support.gateway import free_udp_ports
from tests.support.tutorial import TUTORIALS, blocks, prints_what_it_shows

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT = "policies.md"
PORT_LINE = "PORT=18830\n"
BUSES = 3


def free_port() -> int:
    """Return a free TCP port before free UDP ports, one for each bus."""
    while True:
        port = free_udp_ports(BUSES) - 1
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.alone
def test_the_tutorial_prints_what_it_shows(tmp_path: Path) -> None:
    prints_what_it_shows(DOCUMENT, tmp_path, PORT_LINE, free_port())


def test_secrets_are_in_no_command() -> None:
    text = "".join(body for body, _ in blocks(TUTORIALS / DOCUMENT))
    assert not re.search(r"passphrase[ =]|password|BEGIN", text)
