"""What the kernel knows of a CAN interface, over rtnetlink; asks, and changes nothing.

An unprivileged netlink socket does (systemd: RestrictAddressFamilies=AF_NETLINK).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.adapters.datagrams import SO_RCVBUFFORCE
from agent.errors import BadInput, Unavailable
from protocols.can.netlink import (
    DATAGRAM_BYTES_MAX,
    Answer,
    CanLink,
    LinkTold,
    parse,
    request_link,
    request_links,
)
from protocols.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protocols.can.netlink import Told

__all__ = ["CanLink", "ReceiveBuffer", "can_links", "link_facts", "receive_buffer"]

WAIT_S: Final = 1.0  # the kernel answers at once, or there is no answer
ALTERNATIVE_BYTES_MAX: Final = 127  # ALTIFNAMSIZ is 128
RMEM_MAX: Final = Path("/proc/sys/net/core/rmem_max")


def link_facts(interface: str) -> CanLink:
    """Return what the kernel says of one interface; ``exists`` is False for no such.

    BadInput for what no interface can be called, Unavailable where the kernel cannot
    be asked.
    """
    if not 1 <= len(interface.encode()) <= ALTERNATIVE_BYTES_MAX or "\0" in interface:
        raise BadInput("bus", interface, "is no interface name")
    with _asking() as sock:
        for told in _answers(sock, request_link(interface, 1)):
            if isinstance(told, LinkTold):
                return told.link
            if told.code not in {0, errno.ENODEV}:
                raise Unavailable("rtnetlink", os.strerror(told.code))
            break
    return CanLink(name=interface, exists=False)


def can_links() -> list[CanLink]:
    """Return all CAN interfaces, by index; Unavailable where they cannot be asked."""
    with _asking() as sock:
        told = _answers(sock, request_links(1))
        links = [one.link for one in told if isinstance(one, LinkTold)]
    return sorted((link for link in links if link.is_can), key=lambda one: one.index)


@contextlib.contextmanager
def _asking() -> Iterator[socket.socket]:
    try:
        with socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0
        ) as sock:
            sock.settimeout(WAIT_S)
            sock.bind((0, 0))
            yield sock
    except TimeoutError:
        raise Unavailable("rtnetlink", "the kernel does not answer") from None
    except OSError as error:
        raise Unavailable("rtnetlink", error.strerror or "cannot be asked") from None
    except WireError as error:
        raise Unavailable("rtnetlink", str(error)) from None


def _answers(sock: socket.socket, request: bytes) -> Iterator[Told]:
    """Yield what answers ``request``, to the end of a dump."""
    sock.sendto(request, (0, 0))
    end_s = time.monotonic() + WAIT_S
    while time.monotonic() < end_s:
        datagram, (port, _) = sock.recvfrom(DATAGRAM_BYTES_MAX)
        if port != 0:
            continue  # another process, not the kernel
        for told in parse(datagram):
            yield told
            if isinstance(told, Answer):
                return
    raise TimeoutError


# --- how much the kernel keeps for us -------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReceiveBuffer:
    """What one bus's socket gets. Bytes as the kernel counts them (sk_rcvbuf)."""

    wanted_bytes: int
    granted_bytes: int
    rmem_max: int  # net.core.rmem_max; -1 where it cannot be read

    @property
    def is_enough(self) -> bool:
        """Tell whether the kernel grants what is wanted."""
        return self.granted_bytes >= self.wanted_bytes


def receive_buffer(wanted_bytes: int) -> ReceiveBuffer:
    """Return what this process gets when it asks for ``wanted_bytes``.

    The kernel doubles what is asked for, and bounds it by net.core.rmem_max where the
    process has no CAP_NET_ADMIN; tried on a socket that is closed again.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, wanted_bytes)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted_bytes)
        granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    return ReceiveBuffer(wanted_bytes, granted, _rmem_max())


def _rmem_max() -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(RMEM_MAX.read_text(encoding="ascii"))
    return -1
