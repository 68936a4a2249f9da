"""A PLC behind a real port: reads ADUs, answers as the world says, one after the other.

It is down while it restarts: it closes what was open and what comes.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from firmware_sim.errors import OutputError
from firmware_sim.network.asks import Ask
from firmware_sim.network.pdus import MBAP
from firmware_sim.schema import NS, nanoseconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from firmware_sim.network.model import PlcSpec
    from firmware_sim.network.world import World


class PlcServer:
    """One PLC of the network. ``tick`` moves the world's time to now."""

    def __init__(self, world: World, plc: PlcSpec, tick: Callable[[], None]) -> None:
        """Listen with ``start``."""
        self.world = world
        self.plc = plc
        self.requests = 0
        self._tick = tick
        self._one = asyncio.Lock()  # it answers one request at a time
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()  # one for each connection
        self._clients = {client.local: client.name for client in world.scenario.clients}

    async def start(self, port: int) -> int:
        """Listen on the PLC's local address; return the port. Raises OutputError."""
        host = self.plc.local
        try:
            self._server = await asyncio.start_server(self._serve, host, port)
        except OSError as error:
            raise OutputError(f"{host}:{port}: {error.strerror}") from None
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.close()
            await self._server.wait_closed()
            await asyncio.gather(*self._serving, return_exceptions=True)

    def _is_down(self) -> bool:
        self._tick()
        return self.world.down(self.plc.name, self.world.now_ns)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        source = self._clients.get(str(writer.get_extra_info("peername")[0]))
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                while not self._is_down() and await self._one_request(
                    reader, writer, source
                ):
                    pass
        finally:
            self._writers.discard(writer)
            self._serving.discard(task)
            writer.close()

    async def _one_request(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        source: str | None,
    ) -> bool:
        """Answer the next request; False where the connection is of no more use."""
        tid, protocol, size, unit = MBAP.unpack(await reader.readexactly(7))
        if not 2 <= size <= 254:
            return False
        pdu = await reader.readexactly(size - 1)
        self.requests += 1
        async with self._one:
            await asyncio.sleep(nanoseconds(self.plc.answers_in) / NS)
            if self._is_down():
                return False
            ask = Ask(0, source or "", self.plc.name, unit, pdu, protocol=protocol)
            for reply in self.world.respond(ask, tid, source):
                writer.write(reply.data)
        await writer.drain()
        return True
