"""Listening sockets that systemd hands over: sd_listen_fds(3) without libsystemd.

To bind a port below 1024 takes a capability; to accept on a socket that was bound takes
none. systemd keeps the socket open while we are away, so that masters wait meanwhile.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import TYPE_CHECKING, Final

from protocols.plain import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    Place = tuple[str, int]  # an IP address and a port

FIRST: Final = 3  # SD_LISTEN_FDS_START
SOCKETS_MAX: Final = 255  # as many as there may be links
VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
UNWANTED: Final = (
    "was handed over by systemd, and no [[modbus]] listens there: set `listen`, or take"
    " it out of ListenStream= of the socket's unit"
)


class Handed:
    """The sockets that were handed over; each is taken once, by its address."""

    def __init__(self) -> None:
        """Nothing was handed over."""
        self.odd: list[str] = []  # what cannot be used, a line each
        self._sockets: list[socket.socket] = []

    @classmethod
    def by_systemd(cls, environment: MutableMapping[str, str] | None = None) -> Handed:
        """Take what systemd says out of the environment: no child is to believe it."""
        environ = os.environ if environment is None else environment
        pid, count, names = (environ.pop(name, "") for name in VARIABLES)
        handed = cls()
        if pid != str(os.getpid()) or not (count.isascii() and count.isdigit()):
            return handed
        told = names.split(":")
        for number in range(min(int(count[:9]), SOCKETS_MAX)):
            name = told[number] if number < len(told) else ""
            handed._add(FIRST + number, printable(name) or "unnamed")
        return handed

    def take(self, place: Place) -> socket.socket | None:
        """Return the socket that listens there, which is the caller's from now on."""
        for sock in self._sockets:
            if _place(sock) == place:
                self._sockets.remove(sock)
                return sock
        return None

    def dismiss(self) -> Iterator[tuple[str, str]]:
        """Close what nobody took; yield what and why of all that is of no use."""
        for sock in self._sockets:
            with sock:
                yield written(_place(sock)), UNWANTED
        self._sockets.clear()
        for line in self.odd:
            yield line, "was handed over by systemd, and is no TCP socket that listens"

    def _add(self, descriptor: int, name: str) -> None:
        try:
            os.set_inheritable(descriptor, False)  # systemd could not: we are its child
            sock = socket.socket(fileno=descriptor)
        except OSError:  # not open, or no socket
            self.odd.append(f"descriptor {descriptor} ({name})")
            return
        is_tcp = sock.family in {socket.AF_INET, socket.AF_INET6}
        if is_tcp and sock.type == socket.SOCK_STREAM and _listens(sock):
            self._sockets.append(sock)
        else:
            sock.close()
            self.odd.append(f"descriptor {descriptor} ({name})")


def written(place: Place) -> str:
    """Return an address and a port as configurations and units write them."""
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _place(sock: socket.socket) -> Place:
    host, port = sock.getsockname()[:2]
    return str(ipaddress.ip_address(host)), port


def _listens(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
