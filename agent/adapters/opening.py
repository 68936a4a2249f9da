"""Opens the sources that the configuration names. One function per kind of bus."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from agent.adapters.modbus.link import LinkConfig
from agent.adapters.modbus.poll import ModbusPoller
from agent.adapters.pythoncan import open_pythoncan
from agent.adapters.socketcan import open_socketcan

if TYPE_CHECKING:
    from agent.adapters.pythoncan import PythonCanSource
    from agent.adapters.socketcan import SocketCanSource
    from agent.config import Can, Modbus
    from agent.ports import Clock
    from policies.compile import Compiled


def open_bus(can: Can, number: int) -> SocketCanSource | PythonCanSource:
    """Open one bus for listening; BadInput or Unavailable says what is wrong.

    Every frame is taken, not only those of bound identifiers: inspection must see what
    does not belong there.
    """
    channel = can.channel or can.name
    if can.interface == "socketcan":
        return open_socketcan(channel, number)
    options = dict(can.options)
    if can.fd:
        options["fd"] = True
    return open_pythoncan(can.interface, channel, number, options=options)


def open_link(
    modbus: Modbus, number: int, compiled: Compiled, clock: Clock
) -> ModbusPoller:
    """Return the poller of one Modbus link; it connects when something is due."""
    config = LinkConfig(
        name=modbus.name,
        kind=modbus.kind,
        host=modbus.host,
        port=modbus.port,
        device=modbus.device,
        baudrate=modbus.baudrate,
        parity=modbus.parity,
        stopbits=modbus.stopbits,
        timeout_s=modbus.timeout_s,
        pause_s=modbus.pause_s,
    )
    return ModbusPoller(
        number,
        config,
        compiled.modbus,
        clock=clock,
        chance=random.random,  # jitter of a retry, nothing secret
        sunspec=compiled.sunspec,
    )
