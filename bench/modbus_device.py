"""A typical Modbus TCP device for bench/modbus_proxy.py: pymodbus' server.

Prints its port and serves until killed.
"""

from __future__ import annotations

import asyncio
import sys

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


async def serve() -> None:
    """Serve 2,000 of everything as unit 1."""
    bits = [SimData(0, values=[False] * 2000, datatype=DataType.BITS)]
    words = [SimData(0, count=2000, values=0, datatype=DataType.REGISTERS)]
    devices = [SimDevice(1, (bits, bits, words, words))]
    server = ModbusTcpServer(devices, address=("127.0.0.1", 0))
    await server.listen()
    listener = server.transport
    assert isinstance(listener, asyncio.Server)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(serve()))
