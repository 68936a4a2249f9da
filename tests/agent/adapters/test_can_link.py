"""Facts of links on this machine: whatever its kernel has, `ip` says the same."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from agent.adapters.can_link import can_links, link_facts, receive_buffer
from agent.errors import BadInput

needs_ip = pytest.mark.skipif(shutil.which("ip") is None, reason="needs iproute2")


@needs_ip
def test_every_interface_here_reads_as_iproute2_reads_it() -> None:
    shown = subprocess.run(
        ["ip", "-details", "-json", "link", "show"], capture_output=True, check=True
    ).stdout
    for theirs in json.loads(shown):
        ours = link_facts(theirs["ifname"])
        assert ours.exists
        assert (ours.index, ours.mtu) == (theirs["ifindex"], theirs["mtu"])
        assert ours.up == ("UP" in theirs["flags"])
        assert ours.operstate == theirs["operstate"].lower()
        assert ours.is_can == (theirs["link_type"] == "can")


def test_an_interface_that_is_not_there_is_no_error() -> None:
    for name in ("sgnone9", "a-name-that-only-an-alternative-name-can-have"):
        facts = link_facts(name)
        assert (facts.exists, facts.name, facts.condition) == (False, name, "absent")


@pytest.mark.parametrize("name", ["", "x" * 128, "can\0"])
def test_what_no_interface_can_be_called_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="is no interface name"):
        link_facts(name)


def test_only_can_interfaces_are_listed() -> None:
    here = {name for _, name in socket.if_nameindex()}
    assert {link.name for link in can_links()} <= here
    assert all(link.is_can for link in can_links())


def test_the_buffer_is_what_the_kernel_grants() -> None:
    small = receive_buffer(4096)
    assert small.is_enough
    assert small.granted_bytes >= 4096
    large = receive_buffer(1 << 30)
    limit = int(Path("/proc/sys/net/core/rmem_max").read_text())
    assert large.rmem_max == limit
    # Doubled for the kernel's own bookkeeping; bounded where we may not force it.
    assert large.granted_bytes in {2 * limit, 2**31 - 2}
