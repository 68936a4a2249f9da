"""Follows CAN interfaces over rtnetlink: what changes is known at once.

A controller's error state and counters are told to nobody: they are asked for every
`POLL_S`, of the watched interfaces only.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Final

from agent.errors import Unavailable
from protocols.can.links import LinkTable
from protocols.can.netlink import (
    DATAGRAM_BYTES_MAX,
    RTMGRP_LINK,
    LinkTold,
    parse,
    request_link,
    request_links,
)
from protocols.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from protocols.can.netlink import Told

POLL_S: Final = 1.0
BUFFER_BYTES: Final = 1024 * 1024


class CanWatch:
    """One netlink socket for all buses; opened by ``open``, for asking and listening.

    Without it buses are read all the same: they are only tried again in turn.
    """

    def __init__(self, names: Sequence[str], changed: Callable[[], None]) -> None:
        """Watch interfaces of these names; ``changed``: the table may be another."""
        self.table = LinkTable()
        self.known: set[str] = set()  # names of which the kernel has said anything
        self._names = tuple(names)
        self._changed = changed
        self._socket: socket.socket | None = None
        self._is_told = False  # that there is something new

    def open(self) -> None:
        """Subscribe; Unavailable says why that does not work."""
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:
            sock = socket.socket(socket.AF_NETLINK, kind, 0)
        except OSError as error:
            raise Unavailable("rtnetlink", error.strerror or "no socket") from None
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            sock.bind((0, RTMGRP_LINK))
        except OSError as error:
            sock.close()
            raise Unavailable("rtnetlink", error.strerror or "no socket") from None
        self._socket = sock
        self._begin()

    def close(self) -> None:
        """Follow no more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def follow(self) -> None:
        """Take what the kernel tells until cancelled; Unavailable when that ends."""
        loop = asyncio.get_running_loop()
        due_s = loop.time() + POLL_S
        while self._socket is not None:
            try:
                async with asyncio.timeout_at(due_s):
                    told = await loop.sock_recvfrom(self._socket, DATAGRAM_BYTES_MAX)
            except TimeoutError:
                due_s = loop.time() + POLL_S
                self.ask()
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # more was told than the buffer holds
                    raise Unavailable("rtnetlink", error.strerror or "ended") from None
                self._begin()
            else:
                datagram, (port, _) = told
                if port == 0:  # from the kernel
                    self._take(datagram)
                    if not self._is_told:  # once for all that waits
                        self._is_told = True
                        loop.call_soon(self._tell)

    def ask(self) -> None:
        """Ask for the watched interfaces; what the kernel answers comes to `follow`."""
        for number, name in enumerate(self._names, 1):
            self._put(request_link(name, number))

    def _put(self, request: bytes) -> None:
        assert self._socket is not None
        try:
            self._socket.sendto(request, (0, 0))
        except BlockingIOError:
            return  # the next round asks again
        except OSError as error:
            raise Unavailable("rtnetlink", error.strerror or "ended") from None

    def _take(self, datagram: bytes) -> None:
        try:
            told = parse(datagram)
        except WireError as error:
            raise Unavailable("rtnetlink", str(error)) from None
        for one in told:
            self._apply(one)

    def _tell(self) -> None:
        self._is_told = False
        self._changed()

    def _apply(self, told: Told) -> None:
        if isinstance(told, LinkTold):
            self.table.take(told)
            self.known |= {told.link.name, *told.link.names} & {*self._names}
        elif told.code == errno.ENODEV and 1 <= told.sequence <= len(self._names):
            name = self._names[told.sequence - 1]
            self.table.missing(name)
            self.known.add(name)

    def _begin(self) -> None:
        """Forget all, and ask for all: under which names CAN interfaces are now."""
        self.table.clear()
        self.known.clear()
        self._put(request_links(0))
        self.ask()
