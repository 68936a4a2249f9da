"""Modbus: devices, listeners, taps, certificates, the firewall.

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

from agent.adapters.modbus.proxy_tls import client_context, server_context
from agent.adapters.opening import open_tap, proxy_link
from agent.commands.doctor.model import (
    Check,
    bad,
    good,
    notice,
    put,
    run,
    skipped,
    warn,
)
from agent.config_modbus import listen_address
from agent.errors import BadInput, Unavailable
from protocols.modbus.peers import Peers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.commands.doctor.context import Context
    from agent.commands.doctor.model import Found, Look
    from agent.config import Modbus, Tap

CONNECT_S: Final = 3.0
DEVICES_S: Final = 60.0


def _section(link: Modbus) -> str:
    return f"[[modbus]] {link.name}"


def _device(context: Context) -> Iterable[Found]:
    for link in context.paths.config.modbus:
        if link.mode == "watch":
            continue
        yield _line(context, link) if link.kind == "rtu" else _host(link)


def _line(context: Context, link: Modbus) -> Found:
    device = Path(link.device)
    if not device.exists():
        fix = f'plug it in, or set `device = "FILE"` under `{_section(link)}`'
        return bad(f"{device} is not there", fix, link.name)
    if not os.access(device, os.R_OK | os.W_OK):
        user = context.user.name
        fix = run(f"usermod -aG dialout {user}", "systemctl restart sluicegate")
        return bad(f"{device}: {user} may not use it", fix, link.name)
    return good(f"{device} is there", link.name)


def _host(link: Modbus) -> Found:
    try:
        with socket.create_connection((link.host, link.port), CONNECT_S):
            return good(f"{link.host}:{link.port} accepts", link.name)
    except OSError as error:
        said = f"{link.host}:{link.port}: {error.strerror or 'no answer'}"
        fix = f"switch it on, or set `port = PORT` and `host` under `{_section(link)}`"
        return bad(said, fix, link.name)


def _watched(context: Context) -> Iterable[Found]:
    taps = context.paths.config.tap
    for link in context.paths.config.modbus:
        if link.mode != "watch":
            continue
        if any(_hears(tap, link) for tap in taps):
            yield good("a tap hears it", link.name)
        else:
            fix = (
                put("mode", "poll", _section(link))
                + ", or add a `[[tap]]` that hears it"
            )
            yield warn("no tap hears it", fix, link.name)


def _hears(tap: Tap, link: Modbus) -> bool:
    if link.kind == "rtu":
        return tap.device == link.device
    return link.port in tap.ports and bool(tap.interface)


def _proxies(context: Context) -> Iterator[Modbus]:
    return (link for link in context.paths.config.modbus if link.mode == "proxy")


def _listener(context: Context) -> Iterable[Found]:
    for link in _proxies(context):
        host, port = listen_address(link)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((host, port))
        except OSError as error:
            yield _not_bound(link, (host, port), error)
            continue
        whose = (
            "this machine" if ipaddress.ip_address(host).is_loopback else "others, too"
        )
        yield good(f"{host}:{port} is free, for masters of {whose}", link.name)


def _not_bound(link: Modbus, place: tuple[str, int], error: OSError) -> Found:
    said = f"{place[0]}:{place[1]}: {error.strerror}"
    if error.errno == errno.EADDRINUSE:
        fix = "end what listens there, if it is not the agent or its socket: " + run(
            f"ss -ltnp sport = :{place[1]}"
        )
        return notice(said, fix, link.name)
    if error.errno == errno.EACCES:
        return skipped(
            f"port {place[1]} is for systemd to open: see unit.sockets",
            link.name,
        )
    fix = put("listen", f"127.0.0.1:{place[1]}", _section(link)) + ", or an own address"
    return bad(said, fix, link.name)


def _tls(context: Context) -> Iterable[Found]:
    for link in _proxies(context):
        made = proxy_link(link, 0, context.paths.of)
        if made.listen_tls is None and made.device_tls is None:
            continue
        try:
            if made.listen_tls is not None:
                server_context(made.listen_tls)
            if made.device_tls is not None:
                client_context(made.device_tls)
        except BadInput as error:
            hint = f" ({error.hint})" if error.hint else ""
            yield bad(
                str(error), f"copy the right file to {error.file}{hint}", link.name
            )
        else:
            yield good("every file can be used", link.name)


def _tap(context: Context) -> Iterable[Found]:
    config, clock = context.paths.config, context.host.clock
    for tap in config.tap:
        try:
            open_tap(tap, config.modbus, Peers(), clock).open().close()
        except Unavailable as error:
            yield _not_tapped(context, tap, error)
        else:
            yield good(f"{tap.interface or tap.device} opens", tap.name)


def _not_tapped(context: Context, tap: Tap, error: Unavailable) -> Found:
    if os.strerror(errno.EPERM) in error.reason:
        return skipped(
            "an interface needs CAP_NET_RAW: run it by root, see unit.capabilities",
            tap.name,
        )
    if tap.device and Path(tap.device).exists():
        fix = run(
            f"usermod -aG dialout {context.user.name}", "systemctl restart sluicegate"
        )
        return bad(str(error), fix, tap.name)
    field = "interface" if tap.interface else "device"
    fix = f'set `{field} = "NAME"` under `[[tap]] {tap.name}` to one that is there'
    return bad(str(error), fix, tap.name)


def _firewall(context: Context) -> Iterable[Found]:
    proxied = [link.name for link in _proxies(context)]
    if not proxied:
        return
    if context.decides[0].firewall is None:
        said = (
            f"the policy has no `modbus:` section: {', '.join(proxied)} refuse writes"
        )
        fix = f"add a `modbus:` section to {context.paths.policy()} (docs/firewall.md)"
        yield warn(said, fix)
    else:
        yield good("the policy has rules for it")


def _check(name: str, looks: str, red: str, fix: str, look: Look, *needs: str) -> Check:
    return Check(name, looks, red, fix, look, ("config.parse", *needs), DEVICES_S)


CHECKS: Final = (
    _check(
        "modbus.device",
        "whether every device that we speak to is there and accepts",
        "it is not read, or its masters get no answer",
        "switch it on, mend `host`, `port` or `device`, `usermod -aG dialout`",
        _device,
    ),
    _check(
        "modbus.watched",
        'whether a tap hears every link with `mode = "watch"`',
        "nothing of it is seen",
        "add a `[[tap]]`",
        _watched,
    ),
    _check(
        "modbus.listener",
        "whether a proxy can listen at its address",
        "masters cannot connect",
        "set `listen` to an own address and a free port",
        _listener,
    ),
    _check(
        "modbus.tls",
        "certificates and keys of proxied links",
        "the agent does not start",
        "copy the right file to its place",
        _tls,
    ),
    _check(
        "modbus.tap",
        "whether every tap opens",
        "nothing of it is seen",
        "set `interface` or `device` to one that is there",
        _tap,
    ),
    _check(
        "modbus.firewall",
        "whether the policy has rules for proxied links",
        "they refuse every write",
        "add a `modbus:` section to the policy",
        _firewall,
        "policy.parse",
    ),
)
