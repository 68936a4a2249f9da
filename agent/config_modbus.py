"""What may not stand in `[[modbus]]` and `[[tap]]` together. Pure.

The sections themselves are in ``agent/config.py``.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.config import Modbus, Tap

LINKS_MAX: Final = 255  # ``PairBatch.link`` is a byte, and 255 means no link at all
PORTS_MAX: Final = 16  # of a tap: its kernel filter (agent/adapters/modbus/tap_filter)
INTERFACE_BYTES_MAX: Final = 15  # linux/if.h: IFNAMSIZ, with a zero behind
LISTEN_DEFAULT: Final = ("127.0.0.1", 1502)  # a port that needs no privilege
_OF_A_PROXY: Final = (
    ("listen", ""), ("without_policy", "refuse"), ("in_flight", 1), ("masters", 64),
    ("listen_tls", None), ("device_tls", None),
)  # fmt: skip


def listen_address(link: Modbus) -> tuple[str, int]:
    """Return where a proxied link listens; ValueError says what is wrong with it.

    An IP address and a port, an IPv6 address in brackets: ``[::1]:1502``. No name: what
    a name stands for may change, and this is who may reach a machine.
    """
    if not link.listen:
        return LISTEN_DEFAULT
    host, colon, port = link.listen.rpartition(":")
    is_six = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if is_six else host)
    except ValueError:
        raise ValueError("not an IP address and a port, as in 0.0.0.0:502") from None
    if not colon or is_six is not (address.version == 6):
        raise ValueError("an IPv6 address stands in brackets: [::1]:1502")
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= 65_535):
        raise ValueError("the port is 1 to 65535")
    return str(address), int(port)


def modbus_problems(
    links: Sequence[Modbus], taps: Sequence[Tap]
) -> Iterator[tuple[str, str]]:
    """Yield (place, reason) of what cannot be."""
    if len(links) > LINKS_MAX:
        yield "modbus", f"more than {LINKS_MAX} links"
    listening: dict[tuple[str, int], str] = {}
    for number, link in enumerate(links):
        place = f"modbus[{number}]"
        for field, reason in _link_problems(link):
            yield f"{place}.{field}", reason
        if link.mode == "proxy":
            first = listening.setdefault(listen_address(link), link.name)
            if first != link.name:
                yield f"{place}.listen", f"{first} listens there already"
    for number, tap in enumerate(taps):
        for field, reason in _tap_problems(tap, links):
            yield f"tap[{number}].{field}", reason


def _link_problems(link: Modbus) -> Iterator[tuple[str, str]]:
    if link.mode != "proxy":
        for field, default in _OF_A_PROXY:
            if getattr(link, field) != default:
                yield field, f'belongs to mode = "proxy", and the mode is {link.mode}'
        return
    try:
        listen_address(link)
    except ValueError as error:
        yield "listen", str(error)
    if link.kind != "tcp" and link.in_flight != 1:
        yield "in_flight", "RTU knows one request at a time"
    if link.kind == "rtu" and link.device_tls is not None:
        yield "device_tls", "a serial line has no TLS"
    tls = link.device_tls
    if tls is not None and tls.key_file and not tls.cert_file:
        yield "device_tls", "cert_file and key_file go together"


def _tap_problems(tap: Tap, links: Sequence[Modbus]) -> Iterator[tuple[str, str]]:
    if bool(tap.interface) == bool(tap.device):
        yield "interface", "a tap has an interface or a serial device, and not both"
    if len(tap.interface.encode()) > INTERFACE_BYTES_MAX or "/" in tap.interface:
        yield "interface", "is no interface name (1 to 15 characters)"
    if not 1 <= len({*tap.ports}) <= PORTS_MAX:
        yield "ports", f"1 to {PORTS_MAX} ports can be tapped"
    for link in links:
        used = link.kind == "rtu" and link.mode != "watch"
        if tap.device and used and link.device == tap.device:
            yield "device", f"link {link.name} itself speaks on this line"
