"""What `sluicegate doctor` looks at for Modbus: devices, listeners, taps, the firewall.

Nothing is sent but a connection to each device that we are to speak to; a listener and
a tap are opened and closed again.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.adapters.clock import SystemClock
from agent.adapters.modbus.proxy_tls import client_context, server_context
from agent.adapters.opening import open_tap, proxy_link
from agent.commands.doctor_trust import BAD, GOOD, WARN, Found
from agent.config_modbus import listen_address
from agent.errors import BadInput, Unavailable
from protocols.modbus.peers import Peers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.adapters.policy.loader import Paths
    from agent.config import Modbus, Tap
    from agent.control import Accepted

CONNECT_S: Final = 3.0


def modbus_checks(paths: Paths, accepted: Accepted | None) -> Iterator[Found]:
    """Yield what is found of every link and tap."""
    links, taps = paths.config.modbus, paths.config.tap
    for link in links:
        if link.mode == "watch":
            yield from _watched(link, taps)
        else:
            yield _device(link)
        if link.mode == "proxy":
            yield _listener(link)
            yield from _tls(link, paths)
    for tap in taps:
        yield _tap(tap, links)
    proxied = [link.name for link in links if link.mode == "proxy"]
    if proxied and accepted is not None and accepted.compiled.policy.firewall is None:
        yield Found(
            "firewall", WARN,
            f"the policy has no `modbus:` section: {', '.join(proxied)} refuse writes",
            "write rules (docs/modbus-proxy.md)",
        )  # fmt: skip


def _device(link: Modbus) -> Found:
    what = f"link {link.name}"
    if link.kind == "rtu":
        if Path(link.device).exists():
            return Found(what, GOOD, f"{link.device} is there")
        said = f"{link.device} is not there"
        return Found(what, BAD, said, "check the cable and modbus.device")
    try:
        with socket.create_connection((link.host, link.port), CONNECT_S):
            return Found(what, GOOD, f"{link.host}:{link.port} accepts")
    except OSError as error:
        return Found(what, BAD, str(error), "check modbus.host and modbus.port")


def _watched(link: Modbus, taps: list[Tap]) -> Iterator[Found]:
    rtu = link.kind == "rtu"
    heard = any(
        tap.device == link.device if rtu else link.port in tap.ports and tap.interface
        for tap in taps
    )
    what = f"link {link.name}"
    if heard:
        yield Found(what, GOOD, "only seen by taps")
    else:
        mend = "add a [[tap]] with its port, or another mode"
        yield Found(what, WARN, "no tap hears it", mend)


def _listener(link: Modbus) -> Found:
    host, port = listen_address(link)
    what, place = f"listener {link.name}", f"{host}:{port}"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
    except OSError as error:
        return _not_bound(what, place, error)
    if ipaddress.ip_address(host).is_loopback:
        return Found(what, GOOD, f"{place} is free, for masters of this machine")
    return Found(what, GOOD, f"{place} is free, for masters of other machines, too")


def _not_bound(what: str, place: str, error: OSError) -> Found:
    said = f"{place}: {error.strerror}"
    if error.errno == errno.EADDRINUSE:
        mend = "fine where the agent runs; else another program listens there"
        return Found(what, WARN, said, mend)
    if error.errno == errno.EACCES:
        mend = "ports below 1024 need CAP_NET_BIND_SERVICE"
        return Found(what, BAD, said, mend)
    return Found(what, BAD, said, "check modbus.listen: an address of this machine")


def _tls(link: Modbus, paths: Paths) -> Iterator[Found]:
    made = proxy_link(link, 0, paths.of)
    try:
        if made.listen_tls is not None:
            server_context(made.listen_tls)
        if made.device_tls is not None:
            client_context(made.device_tls)
    except BadInput as error:
        yield Found(f"certificates {link.name}", BAD, str(error), error.hint)
        return
    if made.listen_tls is not None or made.device_tls is not None:
        yield Found(f"certificates {link.name}", GOOD, "every file can be used")


def _tap(tap: Tap, links: list[Modbus]) -> Found:
    what = f"tap {tap.name}"
    try:
        open_tap(tap, links, Peers(), SystemClock()).open().close()
    except Unavailable as error:
        denied = os.strerror(errno.EPERM) in str(error)
        mend = "it needs CAP_NET_RAW" if denied else "check this [[tap]]"
        return Found(what, BAD, str(error), mend)
    return Found(what, GOOD, f"{tap.interface or tap.device} opens")
