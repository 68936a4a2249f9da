"""The network for real: PLCs listen on 127.0.0.x, clients bind 127.0.0.x and connect.

The same generators and devices as in captures. A client's place for a PLC may be
somebody else's (``--device``): a proxy that stands between them.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from firmware_sim.network.actors import legitimate
from firmware_sim.network.attacks import attacking
from firmware_sim.network.client import Line
from firmware_sim.network.recording import header, transaction_line
from firmware_sim.network.server import PlcServer
from firmware_sim.network.simulation import Run
from firmware_sim.network.world import World
from firmware_sim.schema import NS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from firmware_sim.network.asks import Ask
    from firmware_sim.network.model import AttackSpec, NetworkScenario

Place: TypeAlias = tuple[str, int]
Key: TypeAlias = tuple[str, str, int]
LAST_S: Final = 1.2  # for the answers to the last requests


class Live:
    """One run. ``pace``: scenario time in ns, and speed."""

    def __init__(
        self,
        scenario: NetworkScenario,
        attacks: Sequence[AttackSpec],
        pace: tuple[int, float],
    ) -> None:
        """Build the world; ``serve`` opens the ports."""
        self.world = World(scenario, attacks)
        self.duration_ns, self.speed = pace
        self.servers = [PlcServer(self.world, plc, self.tick) for plc in scenario.plcs]
        self._lines: dict[Key, Line] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._begin = 0.0
        self.base_ns = 0

    @property
    def rows_count(self) -> int:
        """Requests sent so far."""
        return sum(len(line.rows) for line in self._lines.values())

    def elapsed_ns(self) -> int:
        """Return real time since the start."""
        return int((time.monotonic() - self._begin) * NS)

    def tick(self) -> None:
        """Move the world to now."""
        self.world.move(int(self.elapsed_ns() * self.speed))

    async def serve(self, port: int) -> list[Place]:
        """Open every PLC's port (0: any free one); return where they listen."""
        self._begin = time.monotonic()
        self.base_ns = time.time_ns()
        return [(server.plc.local, await server.start(port)) for server in self.servers]

    async def talk(self, places: dict[str, Place]) -> None:
        """Let everybody send what is due until the time is over."""
        heap: list[tuple[int, int, Ask, Iterator[Ask]]] = []
        sources = [*legitimate(self.world), *attacking(self.world)]
        for number, source in enumerate(sources):
            self._pull(heap, number, source)
        while heap:
            at, number, ask, source = heapq.heappop(heap)
            wait = at / self.speed / NS - self.elapsed_ns() / NS
            if wait > 0:
                await asyncio.sleep(wait)
            self.tick()
            self._line(ask, places).put(ask)
            self._pull(heap, number, source)
        rest = self.duration_ns / self.speed / NS - self.elapsed_ns() / NS
        await asyncio.sleep(max(rest, 0.0) + LAST_S)

    def _pull(
        self,
        heap: list[tuple[int, int, Ask, Iterator[Ask]]],
        number: int,
        source: Iterator[Ask],
    ) -> None:
        ask = next(source, None)
        if ask is not None and ask.at_ns < self.duration_ns:
            heapq.heappush(heap, (ask.at_ns, number, ask, source))

    def _line(self, ask: Ask, places: dict[str, Place]) -> Line:
        key = (ask.source, ask.plc, ask.channel)
        line = self._lines.get(key)
        if line is None:
            hosts = {
                client.name: client.local for client in self.world.clients.values()
            }
            hosts |= {plc.name: plc.local for plc in self.world.plcs.values()}
            line = Line(hosts[ask.source], places[ask.plc], self.elapsed_ns)
            self._lines[key] = line
            task = asyncio.create_task(line.run(), name=f"line {key}")
            self._tasks.append(task)
        return line

    async def close(self) -> None:
        """End connections, then ports."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in self.servers:
            await server.close()

    def truth(self) -> Iterator[bytes]:
        """Yield the truth of what was sent: local addresses, wall-clock times."""
        run = Run(self.world, min(self.elapsed_ns(), self.duration_ns))
        for line in self._lines.values():
            run.transactions += line.rows
            run.skipped += line.skipped
        run.transactions.sort(key=lambda row: row.time_ns)
        hosts = {plc.name: plc.local for plc in self.world.plcs.values()}
        hosts |= {client.name: client.local for client in self.world.clients.values()}
        encoder = msgspec.json.Encoder()
        yield encoder.encode(header(run, self.base_ns, hosts, self.speed)) + b"\n"
        for row in run.transactions:
            yield encoder.encode(transaction_line(row, hosts, self.base_ns)) + b"\n"


async def run_live(
    scenario: NetworkScenario,
    attacks: Sequence[AttackSpec],
    places: dict[str, Place],
    pace: tuple[int, float, int],
    truth: BinaryIO | None,
    say: Callable[[str], None],
) -> str:
    """Run by the clock until the time is over or cancelled; return one line about it.

    ``places``: where clients find each PLC. ``pace``: scenario time in ns, speed, port.
    Raises OutputError.
    """
    duration_ns, speed, port = pace
    live = Live(scenario, attacks, (duration_ns, speed))
    try:
        for server, (host, number) in zip(
            live.servers, await live.serve(port), strict=True
        ):
            units = ", ".join(str(device.unit) for device in server.plc.devices)
            met = (
                ""
                if places[server.plc.name] == (host, number)
                else ("; clients go to {}:{}".format(*places[server.plc.name]))
            )
            say(f"{server.plc.name} on {host}:{number}, unit {units}{met}")
        await live.talk(places)
    except asyncio.CancelledError:
        pass  # SIGTERM, Ctrl-C: what was sent is told all the same
    finally:
        await live.close()
        if truth is not None:
            truth.writelines(live.truth())
    answered = sum(server.requests for server in live.servers)
    return f"{live.rows_count} requests sent, {answered} reached a PLC"
