"""Opens what the configuration names, one function per kind: buses, links, proxies.

What only some gateways have (python-can's interfaces, polled links, taps) is imported
where one is opened: a gateway starts as fast as what it has.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from agent.adapters.modbus.proxy_settings import (
    ClientTls,
    ProxyLimits,
    ProxyLink,
    ServerTls,
)
from agent.adapters.socketcan import open_socketcan
from agent.config_modbus import listen_address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.adapters.modbus.link import LinkConfig
    from agent.adapters.modbus.poll import ModbusPoller
    from agent.adapters.modbus.tap import NetworkTap
    from agent.adapters.modbus.tap_line import LineTap
    from agent.adapters.pythoncan import PythonCanSource
    from agent.adapters.socketcan import SocketCanSource
    from agent.config import Can, DeviceTls, ListenTls, Modbus, Tap
    from agent.ports import Clock
    from policies.compile import Compiled
    from protocols.modbus.peers import Peers

PAUSE_S: Final = 0.01  # of polled links: after a reply, before the next request


def open_bus(can: Can, number: int) -> SocketCanSource | PythonCanSource:
    """Open one bus for listening; BadInput or Unavailable says what is wrong.

    Every frame is taken, not only those of bound identifiers: inspection must see what
    does not belong there.
    """
    channel = can.channel or can.name
    if can.interface == "socketcan":
        return open_socketcan(channel, number)
    from agent.adapters.pythoncan import open_pythoncan

    options = dict(can.options)
    if can.fd:
        options["fd"] = True
    return open_pythoncan(can.interface, channel, number, options=options)


def open_link(
    modbus: Modbus, number: int, compiled: Compiled, clock: Clock
) -> ModbusPoller:
    """Return the poller of one Modbus link; it connects when something is due."""
    from agent.adapters.modbus.poll import ModbusPoller

    return ModbusPoller(
        number,
        _device(modbus),
        compiled.modbus,
        clock=clock,
        chance=random.random,  # jitter of a retry, nothing secret
        sunspec=compiled.sunspec,
    )


def proxy_link(modbus: Modbus, number: int, resolve: Callable[[str], str]) -> ProxyLink:
    """Return what a proxied link is told; ``resolve`` finds its files."""
    host, port = listen_address(modbus)
    masters = modbus.masters
    return ProxyLink(
        name=modbus.name,
        number=number,
        device=_device(modbus),
        listen_host=host,
        listen_port=port,
        in_flight=modbus.in_flight,
        pause_s=modbus.pause_s or 0.0,
        without_policy=modbus.without_policy,
        listen_tls=_towards_masters(modbus.listen_tls, resolve),
        device_tls=_towards_device(modbus.device_tls, resolve),
        limits=ProxyLimits(clients=masters, clients_an_address=min(masters, 32)),
    )


def open_tap(
    tap: Tap, links: Sequence[Modbus], peers: Peers, clock: Clock
) -> NetworkTap | LineTap:
    """Return a tap; it opens its interface or line when it is read."""
    if tap.interface:
        from agent.adapters.modbus.tap import NetworkTap

        return NetworkTap(tap, links, peers, clock)
    from agent.adapters.modbus.tap_line import LineTap

    return LineTap(tap, links, peers, clock)


def _towards_masters(
    tls: ListenTls | None, resolve: Callable[[str], str]
) -> ServerTls | None:
    if tls is None:
        return None
    return ServerTls(
        resolve(tls.cert_file), resolve(tls.key_file), resolve(tls.ca_file)
    )


def _towards_device(
    tls: DeviceTls | None, resolve: Callable[[str], str]
) -> ClientTls | None:
    if tls is None:
        return None
    return ClientTls(
        resolve(tls.ca_file),
        resolve(tls.cert_file),
        resolve(tls.key_file),
        tls.server_name,
    )


def _device(modbus: Modbus) -> LinkConfig:
    from agent.adapters.modbus.link import LinkConfig

    return LinkConfig(
        name=modbus.name,
        kind=modbus.kind,
        host=modbus.host,
        port=modbus.port,
        device=modbus.device,
        baudrate=modbus.baudrate,
        parity=modbus.parity,
        stopbits=modbus.stopbits,
        timeout_s=modbus.timeout_s,
        pause_s=PAUSE_S if modbus.pause_s is None else modbus.pause_s,
    )
