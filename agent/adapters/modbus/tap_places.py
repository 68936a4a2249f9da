"""Which devices a tap knows by their addresses, and which addresses are our own."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.config_modbus import listen_address
from agent.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.config import Modbus

SIOCGIFADDR: Final = 0x8915  # netdevice(7)
_ADDRESS_AT: Final = 20  # in struct ifreq: name 16, family 2, port 2
_WILDCARDS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  # told apart, not bound


@dataclass(frozen=True, slots=True)
class Known:
    """Places at one moment."""

    devices: Mapping[tuple[str, int], int]  # (address, port) -> link number
    own: frozenset[str]  # addresses of this machine, as devices and masters see it


def known_places(links: Sequence[Modbus], interface: str) -> Known:
    """Return them; Unavailable where a device's name stands for nothing now."""
    devices: dict[tuple[str, int], int] = {}
    own: set[str] = set()
    for number, link in enumerate(links):
        if link.kind != "rtu":
            address = _resolved(link)
            devices[address, link.port] = number
            if link.mode != "watch":
                own |= _towards(address)
        if link.mode == "proxy":
            host, _ = listen_address(link)
            own |= _of_interface(interface) if host in _WILDCARDS else {host}
    return Known(devices, frozenset(own))


def _resolved(link: Modbus) -> str:
    try:
        found = socket.getaddrinfo(link.host, link.port, type=socket.SOCK_STREAM)
    except OSError as error:
        reason = f"{link.host}: {error.strerror or 'no such name'}"
        raise Unavailable(link.name, reason) from None
    return str(found[0][4][0]).partition("%")[0]


def _towards(address: str) -> set[str]:
    """Return our address on the way there; nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as one:
        one.connect((address, 9))
        return {str(one.getsockname()[0]).partition("%")[0]}
    return set()


def _of_interface(name: str) -> set[str]:
    """Return the interface's first IPv4 address."""
    asked = struct.pack("256s", name.encode()[:15])
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
    ):
        told = fcntl.ioctl(one.fileno(), SIOCGIFADDR, asked)
        return {socket.inet_ntoa(told[_ADDRESS_AT : _ADDRESS_AT + 4])}
    return set()
